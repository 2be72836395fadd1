"""What a dataset holds, split by split: images, boxes of each class, and the share of each surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as rle_codec

from mayhem_train.datasets.index import DatasetIndex

_ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class SplitSummary:
    """One split's counts.

    Attributes:
        split: its name.
        recordings: stems of the recordings its images come from, sorted.
        images: how many.
        boxes: thing name -> number of boxes.
        surface_shares: surface name -> its share of all the split's pixels, 0 to 1.
    """

    split: str
    recordings: tuple[str, ...]
    images: int
    boxes: dict[str, int]
    surface_shares: dict[str, float]


def summarise(index: DatasetIndex) -> tuple[SplitSummary, ...]:
    """One summary a split, in the order train, val, test, others by name."""
    present = {image.split for image in index.images}
    names = [name for name in _ORDER if name in present] + sorted(present - set(_ORDER))
    return tuple(_summary(index.split(name), name) for name in names)


def _summary(part: DatasetIndex, name: str) -> SplitSummary:
    pixels = sum(image.width * image.height for image in part.images)
    boxes = dict.fromkeys((category.id for category in part.things), 0)
    areas = dict.fromkeys((category.id for category in part.surfaces), 0)
    for image in part.images:
        for box in image.boxes:
            boxes[box.category_id] += 1
        for surface in image.surfaces:
            areas[surface.category_id] += int(np.asarray(rle_codec.area(surface.rle)))
    return SplitSummary(
        split=name,
        recordings=tuple(sorted({image.recording for image in part.images})),
        images=len(part.images),
        boxes={category.name: boxes[category.id] for category in part.things},
        surface_shares={category.name: areas[category.id] / pixels for category in part.surfaces},
    )
