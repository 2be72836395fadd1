"""Counts of a dataset: what the pictures show, how large it is, and what is seen together."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as rle_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import Params

from mayhem_train.datasets.description.summary import BoxSizes, cooccurrence, ordered_categories, split_names, summarise
from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex, LabelledImage, SurfaceLabel

AGV, PERSON, FLOOR, GRASS = 3, 5, 7, 2  # ids in another order than things first


def square(category: int, side: float, crowd: bool = False) -> BoxLabel:
    return BoxLabel(category, (10, 10, 10 + side, 10 + side), crowd)


def surface(category: int, rows: int) -> SurfaceLabel:
    """The lowest rows of 100x200."""
    mask = np.zeros((100, 200), np.uint8, order="F")
    mask[100 - rows :] = 1
    rle = rle_codec.encode(mask)
    return SurfaceLabel(category, {"size": rle["size"], "counts": rle["counts"].decode()})


def image(number: int, split: str, recording: str, *labels: BoxLabel | SurfaceLabel) -> LabelledImage:
    return LabelledImage(
        number,
        200,
        100,
        recording,
        "/t",
        number,
        number,
        number,
        split,
        tuple(label for label in labels if isinstance(label, BoxLabel)),
        tuple(label for label in labels if isinstance(label, SurfaceLabel)),
    )


@pytest.fixture
def index() -> DatasetIndex:
    return DatasetIndex(
        (
            Category(GRASS, "grass", False),
            Category(AGV, "agv", True),
            Category(PERSON, "person", True),
            Category(FLOOR, "floor", False),
        ),
        (
            image(1, "train", "b", square(AGV, 31), square(AGV, 32), square(PERSON, 96), surface(FLOOR, 50)),
            image(2, "train", "a", square(AGV, 95.9), surface(FLOOR, 25), surface(GRASS, 10)),
            image(3, "train", "a"),
            image(4, "val", "c", square(PERSON, 20), square(PERSON, 40, crowd=True), surface(GRASS, 0)),
            image(5, "holiday", "d", surface(GRASS, 100)),
            image(6, "test", "e", square(PERSON, 200)),
        ),
    )


def test_each_split_is_counted_in_its_order(index: DatasetIndex) -> None:
    assert split_names(index) == ("train", "val", "test", "holiday")
    train, val, _, holiday = summarise(index)
    assert (train.split, train.images, train.empty, train.recordings) == ("train", 3, 1, ("a", "b"))
    assert train.boxes == {"agv": 3, "person": 1}
    assert train.images_with_thing == {"agv": 2, "person": 1}
    assert train.images_with_surface == {"floor": 2, "grass": 1}
    assert train.surface_shares == pytest.approx({"floor": 0.25, "grass": 1 / 30})
    assert (val.boxes, val.crowds) == ({"agv": 0, "person": 1}, {"agv": 0, "person": 1})
    assert val.images_with_surface == {"floor": 0, "grass": 0}, "a label without a pixel shows nothing"
    assert holiday.surface_shares == {"floor": 0.0, "grass": 1.0}


def test_boxes_are_small_medium_and_large_as_coco_says(index: DatasetIndex) -> None:
    train, val, test, _ = summarise(index)
    assert train.sizes == {"agv": BoxSizes(small=1, medium=2), "person": BoxSizes(large=1)}
    assert val.sizes["person"] == BoxSizes(small=1), "a crowd is no object"
    assert test.sizes["person"] == BoxSizes(large=1)
    # COCO's own ranges of areas, applied to what the index exports.
    coco = COCO()
    coco.dataset = index.to_coco()
    coco.createIndex()
    labels = dict(zip(Params(iouType="bbox").areaRngLbl, Params(iouType="bbox").areaRng, strict=True))
    for size in ("small", "medium", "large"):
        low, high = labels[size]
        ids = coco.getAnnIds(catIds=[AGV, PERSON], areaRng=[low, high - 1e-6], iscrowd=False)
        ours = sum(getattr(part.sizes[name], size) for part in summarise(index) for name in ("agv", "person"))
        # getAnnIds leaves both limits out, and one box is exactly at the lower limit of each of medium and large.
        assert ours == len(ids) + (size in ("medium", "large"))


def test_what_occurs_together_is_counted_by_images(index: DatasetIndex) -> None:
    assert [category.name for category in ordered_categories(index)] == ["agv", "person", "grass", "floor"]
    assert cooccurrence(index).tolist() == [
        [2, 1, 1, 2],
        [1, 3, 0, 1],
        [1, 0, 2, 1],
        [2, 1, 1, 2],
    ]


def test_an_index_without_images_or_classes_has_no_splits() -> None:
    assert summarise(DatasetIndex((), ())) == ()
    assert cooccurrence(DatasetIndex((), ())).shape == (0, 0)
    only = DatasetIndex((), (image(1, "train", "a"),))
    assert summarise(only)[0].empty == 1
