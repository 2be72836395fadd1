"""What people drew on images, whatever tool they drew it with: boxes, polygons and painted masks with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BoxShape:
    """A rectangle: `box` is (x1, y1, x2, y2) in image pixels as drawn; a rotated one is its upright hull."""

    label: str
    box: tuple[float, float, float, float]
    z_order: int = 0


@dataclass(frozen=True)
class PolygonShape:
    """A closed polygon: `points` is float64 [P, 2], (x, y) in image pixels, (0, 0) the top left pixel's outer edge."""

    label: str
    points: NDArray[np.float64]
    z_order: int = 0


@dataclass(frozen=True)
class MaskShape:
    """A painted mask: `runs` is int64 [R], alternating lengths of 0s and 1s (0s first) along the rows of `window`.

    `window` is (left, top, width, height) in image pixels and lies within the image.
    """

    label: str
    runs: NDArray[np.int64]
    window: tuple[int, int, int, int]
    z_order: int = 0


@dataclass(frozen=True)
class OtherShape:
    """A shape that says neither box nor surface (points, polyline, ellipse, cuboid, skeleton)."""

    label: str
    kind: str


AreaShape = BoxShape | PolygonShape | MaskShape
Shape = AreaShape | OtherShape


@dataclass(frozen=True)
class AnnotatedImage:
    """One listed image; `shapes` in document order, sizes in pixels."""

    name: str
    width: int
    height: int
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class AnnotationFile:
    """One annotation file: the labels its task declares, in their order, and its images."""

    path: Path
    labels: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]
