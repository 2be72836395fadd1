"""What a graph gives that cannot be meant is refused in a sentence, and costs no other image its prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from robot_small_model import BOXES, FAULTS, LABELS, SCORES, card, expected_mask, faulty_model

from mayhem_ros.errors import MayhemError
from mayhem_ros.graph_outputs import read_outputs
from mayhem_ros.model_card import SegmentationClass
from mayhem_ros.onnx_model import OnnxModel
from mayhem_ros.prediction import Prediction

HEIGHT, WIDTH = 3, 5
NAN, INF = float("nan"), float("inf")
CASES = Path(__file__).resolve().parents[1].parent / "shared" / "cases" / "models"


def outputs(**changed: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What a graph gives for two images, as it should be but for what is changed."""
    twice = {name: np.stack([array] * 2) for name, array in (("boxes", BOXES), ("scores", SCORES), ("labels", LABELS))}
    masks = {name: np.ones((2, HEIGHT, WIDTH), np.uint8) for name in ("mask", "mask_confidence")}
    return {**twice, "count": np.array([4, 3]), **masks, **changed}


def with_value(array: NDArray[Any], place: Any, value: float) -> NDArray[Any]:
    """Two images' array with another value in the first one's."""
    changed = np.stack([array] * 2)
    changed[(0, *np.atleast_1d(place))] = value
    return changed


def read(given: dict[str, NDArray[Any]]) -> list[Prediction | MayhemError]:
    return read_outputs(given, (2, HEIGHT, WIDTH, 3), card(), "m.onnx")


def test_what_can_be_meant_is_read_up_to_the_count() -> None:
    first, second = read(outputs())
    assert isinstance(first, Prediction) and isinstance(second, Prediction)
    np.testing.assert_array_equal(first.boxes, BOXES)
    np.testing.assert_array_equal(second.scores, SCORES[:3])
    assert second.mask.shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"boxes": with_value(BOXES, (2, 1), NAN)}, r"the box \[4.0, nan, 8.0, 8.0\]"),
        ({"boxes": with_value(BOXES, (0, 2), INF)}, r"the box \[1.0, 2.0, inf, 22.0\]"),
        ({"boxes": with_value(BOXES, (0, 2), 0.5)}, r"the box \[1.0, 2.0, 0.5, 22.0\]"),
        ({"scores": with_value(SCORES, 0, NAN)}, "the score nan"),
        ({"scores": with_value(SCORES, 0, INF)}, "the score inf"),
        ({"scores": with_value(SCORES, 0, 87)}, "the score 87"),
        ({"scores": with_value(SCORES, 3, -0.25)}, "the score -0.25"),
        ({"labels": with_value(LABELS, 0, 9)}, "the detection class 9, but its card knows 1 person, 2 agv, 3 box"),
        ({"labels": with_value(LABELS, 0, 0)}, "the detection class 0, but its card knows"),
        ({"labels": with_value(LABELS, 0, 2**40)}, "the detection class 1099511627776, but its card knows"),
        ({"count": np.array([5, 3])}, "the count 5 for 4 boxes"),
        ({"count": np.array([-1, 3])}, "the count -1 for 4 boxes"),
        ({"count": np.array([2**31, 3])}, "the count 2147483648 for 4 boxes"),
        ({"mask": with_value(np.ones((HEIGHT, WIDTH), np.uint8), (2, 4), 7)}, "the segmentation class 7, but its card"),
        ({"mask": with_value(np.ones((HEIGHT, WIDTH), np.uint8), (2, 4), 255)}, "the segmentation class 255, but"),
    ],
)
def test_nonsense_is_refused_by_name_and_the_other_image_keeps_its_prediction(
    changed: dict[str, NDArray[Any]], reason: str
) -> None:
    first, second = read(outputs(**changed))
    assert isinstance(second, Prediction)
    with pytest.raises(MayhemError, match=rf"^m.onnx gave {reason}.*: train or export it again\.$"):
        raise first  # type: ignore[misc]


def test_nonsense_behind_the_count_counts_for_nothing() -> None:
    boxes, scores, labels = with_value(BOXES, 3, NAN), with_value(SCORES, 3, NAN), with_value(LABELS, 3, 9)
    first, _ = read(outputs(boxes=boxes, scores=scores, labels=labels, count=np.array([3, 3])))
    np.testing.assert_array_equal(first.boxes, BOXES[:3])  # type: ignore[union-attr]


def test_a_score_that_is_rounded_past_one_is_a_score() -> None:
    first, _ = read(outputs(scores=with_value(SCORES, 0, 1.0001)))
    assert isinstance(first, Prediction)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"scores": np.stack([SCORES[:2]] * 2)}, r"boxes \[4, 4\], scores \[2\], labels \[4\] for one image"),
        ({"labels": np.zeros((2, 4, 1), np.int64)}, r"labels \[4, 1\] for one image"),
        ({"boxes": np.zeros((2, 4, 5), np.float32)}, r"boxes \[4, 5\], scores"),
        ({"boxes": np.zeros(2, np.float32)}, r"boxes \[\], scores"),
        ({"count": np.array([[4], [3]])}, "the count .* for 4 boxes"),
        ({"mask": np.zeros((2, WIDTH, HEIGHT), np.uint8)}, r"mask \[5, 3\] for an image of 5x3 pixels"),
        ({"mask_confidence": np.zeros((2, HEIGHT), np.uint8)}, r"mask_confidence \[3\] for an image of 5x3 pixels"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changed: dict[str, NDArray[Any]], reason: str) -> None:
    with pytest.raises(MayhemError, match=reason):
        raise read(outputs(**changed))[0]  # type: ignore[misc]


@pytest.mark.parametrize("count", [np.array([4]), np.array(4), np.array([4, 3, 2])])
def test_outputs_that_are_not_one_an_image_belong_to_none(count: NDArray[Any]) -> None:
    with pytest.raises(MayhemError, match=r"m.onnx gave count \[[13]?\] for 2 images: train or export it again"):
        read(outputs(count=count))


def test_surfaces_may_be_numbered_with_gaps() -> None:
    gaps = replace(card(), segmentation_classes=(SegmentationClass(0, "background"), SegmentationClass(5, "floor")))
    for value, known in ((5, True), (0, True), (1, False), (4, False)):
        mask = np.full((2, HEIGHT, WIDTH), value, np.uint8)
        (first, _) = read_outputs(outputs(mask=mask), (2, HEIGHT, WIDTH, 3), gaps, "m.onnx")
        assert isinstance(first, Prediction) == known


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    return OnnxModel(faulty_model(tmp_path_factory.mktemp("faulty") / "faulty.onnx"), provider="cpu")


def images_with_faults() -> Iterator[NDArray[np.uint8]]:
    for fault in range(len(FAULTS)):
        image = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
        image[0, 0] = (fault, 0, 4)
        yield image


def test_whoever_runs_a_model_gets_predictions_or_a_sentence(faulty: OnnxModel) -> None:
    images = np.stack(list(images_with_faults()))
    sound, *refused = faulty.predict_each(images)
    np.testing.assert_array_equal(sound.mask, expected_mask(images[0]))  # type: ignore[union-attr]
    assert [type(prediction) for prediction in refused] == [MayhemError] * (len(FAULTS) - 1)
    for image in images[1:]:
        with pytest.raises(MayhemError, match=r"faulty.onnx gave .*: train or export it again\.$"):
            faulty.predict(image[None])


def test_a_model_that_gives_nonsense_still_warms_up(faulty: OnnxModel) -> None:
    assert faulty.warm_up(batch=2) > 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nanbox", r"the box \[.*nan.*\]"), ("nanscore", "the score nan"), ("label9", "the detection class 9, but")],
)
def test_models_of_others_that_give_nonsense_are_refused_by_name(name: str, reason: str) -> None:
    path = CASES / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    image = np.full((1, 24, 32, 3), 255, np.uint8)
    with pytest.raises(MayhemError, match=rf"{name}.onnx gave {reason}"):
        OnnxModel(path, provider="cpu").predict(image)
