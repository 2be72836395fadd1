"""What a dataset holds, split by split: images, boxes and their sizes, surfaces, and what is seen together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

from mayhem_train.datasets.index import Category, DatasetIndex, LabelledImage

_ORDER = ("train", "val", "test")
# COCO's limits between small, medium and large, as the side of a square in pixels.
_SMALL, _MEDIUM = 32, 96


@dataclass(frozen=True)
class BoxSizes:
    """How many boxes are small (area below 32x32 source pixels), medium (below 96x96) and large, as COCO counts."""

    small: int = 0
    medium: int = 0
    large: int = 0


@dataclass(frozen=True)
class SplitSummary:
    """One split's counts.

    Attributes:
        split: its name.
        recordings: stems of the recordings its images come from, sorted.
        images: how many.
        empty: how many of them show neither a box nor a surface.
        boxes: thing name -> number of boxes, crowds not counted.
        crowds: thing name -> number of boxes that stand for a crowd.
        sizes: thing name -> its boxes by size.
        images_with_thing: thing name -> number of images that show it.
        images_with_surface: surface name -> number of images that show it.
        surface_shares: surface name -> its share of all the split's pixels, 0 to 1.
    """

    split: str
    recordings: tuple[str, ...]
    images: int
    empty: int
    boxes: dict[str, int]
    crowds: dict[str, int]
    sizes: dict[str, BoxSizes]
    images_with_thing: dict[str, int]
    images_with_surface: dict[str, int]
    surface_shares: dict[str, float]


def summarise(index: DatasetIndex) -> tuple[SplitSummary, ...]:
    """One summary a split, in the order train, val, test, others by name."""
    return tuple(_summary(index.split(name), name) for name in split_names(index))


def split_names(index: DatasetIndex) -> tuple[str, ...]:
    """The splits that have images: train, val, test, then others by name."""
    present = {image.split for image in index.images}
    return (*(name for name in _ORDER if name in present), *sorted(present - set(_ORDER)))


def ordered_categories(index: DatasetIndex) -> tuple[Category, ...]:
    """Things, then surfaces, each in the order of their ids."""
    return (*index.things, *index.surfaces)


def cooccurrence(index: DatasetIndex) -> NDArray[np.int64]:
    """int64 [C, C]: how many images show two of the `ordered_categories`; on the diagonal, how many show one."""
    places = {category.id: place for place, category in enumerate(ordered_categories(index))}
    shown = np.zeros((len(index.images), len(places)), np.int64)
    for row, image in enumerate(index.images):
        for category_id in shown_classes(image):
            shown[row, places[category_id]] = 1
    return shown.T @ shown


def _summary(part: DatasetIndex, name: str) -> SplitSummary:
    pixels = sum(image.width * image.height for image in part.images)
    sizes = {category.id: [0, 0, 0] for category in part.things}
    crowds = dict.fromkeys(sizes, 0)
    areas = dict.fromkeys((category.id for category in part.surfaces), 0)
    for image in part.images:
        for label in image.boxes:
            if label.is_crowd:
                crowds[label.category_id] += 1
            else:
                x1, y1, x2, y2 = label.box
                area = (x2 - x1) * (y2 - y1)
                sizes[label.category_id][(area >= _SMALL**2) + (area >= _MEDIUM**2)] += 1
        for surface in image.surfaces:
            areas[surface.category_id] += int(np.asarray(rle_codec.area(surface.rle)))
    images_with = dict(
        zip((c.id for c in ordered_categories(part)), cooccurrence(part).diagonal().tolist(), strict=True)
    )
    return SplitSummary(
        split=name,
        recordings=tuple(sorted({image.recording for image in part.images})),
        images=len(part.images),
        empty=sum(not shown_classes(image) for image in part.images),
        boxes={category.name: sum(sizes[category.id]) for category in part.things},
        crowds={category.name: crowds[category.id] for category in part.things},
        sizes={category.name: BoxSizes(*sizes[category.id]) for category in part.things},
        images_with_thing={category.name: images_with[category.id] for category in part.things},
        images_with_surface={category.name: images_with[category.id] for category in part.surfaces},
        surface_shares={category.name: areas[category.id] / pixels for category in part.surfaces},
    )


def shown_classes(image: LabelledImage) -> set[int]:
    """Ids of the categories that an image shows; a surface label without a pixel shows nothing."""
    return {label.category_id for label in image.boxes} | {
        label.category_id for label in image.surfaces if np.asarray(rle_codec.area(label.rle)) > 0
    }
