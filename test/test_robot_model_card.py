"""A model card that says something impossible is refused, and the reason is one clause."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from robot_small_model import card

from mayhem_ros.intensity_range import IntensityRange
from mayhem_ros.model_card import DetectionClass, InputSpecification, ModelCard, SegmentationClass

BACKGROUND = SegmentationClass(0, "background")


def test_a_card_survives_being_written_and_read() -> None:
    assert ModelCard.from_json(card().to_json()) == card()


def test_numbers_up_to_one_byte_and_thresholds_up_to_one_are_fine() -> None:
    things = (DetectionClass(1, "person", 0.0), DetectionClass(255, "agv", 1.0))
    model = replace(card(), detection_classes=things, segmentation_classes=(BACKGROUND, SegmentationClass(255, "x")))
    assert ModelCard.from_json(model.to_json()) == model


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"detection_classes": (DetectionClass(0, "a", 0.5),)}, "the detection class id 0 is not from 1 to 255"),
        ({"detection_classes": (DetectionClass(256, "a", 0.5),)}, "the detection class id 256 is not"),
        (
            {"detection_classes": (DetectionClass(1, "a", 0.5), DetectionClass(1, "b", 0.5))},
            "two detection classes have the id 1",
        ),
        (
            {"detection_classes": (DetectionClass(1, "a", 0.5), DetectionClass(2, "a", 0.5))},
            "two detection classes are called a",
        ),
        ({"detection_classes": (DetectionClass(1, " ", 0.5),)}, "a detection class has no name"),
        ({"detection_classes": (DetectionClass(1, "a", 1.5),)}, "the score threshold of a is 1.5, not from 0 to 1"),
        ({"detection_classes": (DetectionClass(1, "a", float("nan")),)}, "the score threshold of a is nan"),
        ({"segmentation_classes": (SegmentationClass(0, "floor"),)}, "segmentation class 0 is 'floor'"),
        ({"segmentation_classes": (SegmentationClass(1, "floor"),)}, "segmentation class 0 is None"),
        ({"segmentation_classes": (BACKGROUND, SegmentationClass(-1, "x"))}, "the segmentation class id -1 is not"),
    ],
)
def test_classes_that_cannot_be_told_apart_or_published_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(card(), **change)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: InputSpecification(0, 32), "the input's height is 0, no number of pixels"),
        (lambda: InputSpecification(24, 32.5), "the input's width is 32.5"),  # type: ignore[arg-type]
        (lambda: InputSpecification(24, 32, layout="NCHW"), "the input is .'NCHW', 'uint8', 'RGB'., not .'NHWC'"),
        (lambda: InputSpecification(24, 32, dtype="float32"), "float32"),
        (lambda: InputSpecification(24, 32, colour="BGR"), "BGR"),
    ],
)
def test_an_input_that_the_node_does_not_give_is_refused(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make()


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_only_finite_numbers_are_read_and_written(constant: str) -> None:
    with pytest.raises(ValueError, match=f"^{constant} is no number$"):
        ModelCard.from_json(card().to_json().replace('"mAP50": 0.5', f'"mAP50": {constant}'))
    origin = replace(card().origin, metrics={"mAP50": float(constant)})
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(card(), origin=origin).to_json()


def test_a_card_says_the_precision_and_one_that_does_not_is_of_float32() -> None:
    quantised = replace(card(), precision="int8")
    assert ModelCard.from_json(quantised.to_json()) == quantised != card()
    older = json.loads(card().to_json())
    del older["precision"]
    assert ModelCard.from_json(json.dumps(older)) == card()
    with pytest.raises(ValueError, match="precision is 'fp8', not one of fp32, fp16, int8"):
        replace(card(), precision="fp8")


def test_a_card_says_the_intensity_range_or_null() -> None:
    ranged = replace(card(), input=replace(card().input, intensity_range=IntensityRange(7000, 9000)))
    assert json.loads(ranged.to_json())["input"]["intensity_range"] == [7000, 9000]
    assert json.loads(card().to_json())["input"]["intensity_range"] is None
    assert ModelCard.from_json(ranged.to_json()) == ranged != card()


def test_a_card_of_the_version_that_knew_no_range_is_read() -> None:
    older = json.loads(card().to_json())
    older["format_version"] = 1
    del older["input"]["intensity_range"]
    assert ModelCard.from_json(json.dumps(older)) == replace(card(), format_version=1)


@pytest.mark.parametrize("version", [0, 3])
def test_a_card_of_a_version_that_is_not_known_is_refused(version: int) -> None:
    other = json.loads(card().to_json())
    other["format_version"] = version
    with pytest.raises(ValueError, match=f"^format_version is {version}, and this software reads 1 and 2$"):
        ModelCard.from_json(json.dumps(other))


@pytest.mark.parametrize("numbers", [[9000, 7000], [0, 65536], [7000], "7000 9000", {"low": 7000, "high": 9000}])
def test_a_card_of_a_range_that_is_none_is_refused(numbers: object) -> None:
    broken = json.loads(card().to_json())
    broken["input"]["intensity_range"] = numbers
    with pytest.raises(ValueError, match=r"^the intensity range "):
        ModelCard.from_json(json.dumps(broken))
