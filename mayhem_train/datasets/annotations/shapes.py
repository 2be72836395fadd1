"""What people drew on images, whatever tool they drew it with: boxes, polygons and painted masks with their labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mayhem_train.datasets.annotations.counts import ImportCounts


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """What every shape says besides its label and its outline.

    Attributes:
        occluded: something stands before it.
        source: who drew it ("manual", "auto", ...), empty where the file does not say.
        attributes: (name, value) of each attribute, in document order.
    """

    occluded: bool = False
    source: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class BoxShape(_Drawn):
    """A rectangle: `box` is (x1, y1, x2, y2) in image pixels as drawn; a rotated one is its upright hull.

    `is_crowd`: it stands for several objects at once, as COCO and CVAT's attribute of that name have it.
    """

    label: str
    box: tuple[float, float, float, float]
    z_order: int = 0
    is_crowd: bool = False


@dataclass(frozen=True)
class PolygonShape(_Drawn):
    """A closed polygon: `points` is float64 [P, 2], (x, y) in image pixels, (0, 0) the top left pixel's outer edge."""

    label: str
    points: NDArray[np.float64]
    z_order: int = 0


@dataclass(frozen=True)
class MaskShape(_Drawn):
    """A painted mask: `runs` is int64 [R], alternating lengths of 0s and 1s (0s first) along the rows of `window`.

    `window` is (left, top, width, height) in image pixels and lies within the image.
    """

    label: str
    runs: NDArray[np.int64]
    window: tuple[int, int, int, int]
    z_order: int = 0


@dataclass(frozen=True)
class OtherShape(_Drawn):
    """A shape that says neither box nor surface (points, polyline, cuboid, skeleton)."""

    label: str
    kind: str


AreaShape = BoxShape | PolygonShape | MaskShape
Shape = AreaShape | OtherShape


@dataclass(frozen=True)
class AnnotatedImage:
    """One listed image; `shapes` in document order, sizes in pixels.

    Attributes:
        name: the frame's name.
        original: the image as its file says it, for an exporter that is to say it again; empty where none does.
        is_deleted: it was taken out of what is to be labelled, so that it has no shapes says nothing.
        is_incomplete: something of it was faulty and left out, so that it has no shapes says nothing either.
        split: "train", "val" or "test" where the labels themselves say it, else empty.
    """

    name: str
    width: int
    height: int
    shapes: tuple[Shape, ...]
    original: str = ""
    is_deleted: bool = False
    is_incomplete: bool = False
    split: str = ""

    def is_labelled(self, *, empty_means_empty: bool) -> bool:
        """Whether people said what it shows: by shapes, or (`empty_means_empty`) by drawing none."""
        return bool(self.shapes) or (empty_means_empty and not self.is_deleted and not self.is_incomplete)


@dataclass(frozen=True)
class AnnotationFile:
    """One annotation file: the labels its task declares, in their order, and its images.

    Attributes:
        original: the file as it is, without what its images say themselves; empty where no exporter needs it.
        is_video: its images are frames of a video, which is taken for the recording of its name.
        counts: what its reader left out or took for something else.
    """

    path: Path
    labels: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]
    original: str = ""
    is_video: bool = False
    counts: ImportCounts = field(default_factory=ImportCounts)
