"""Surface metrics come from one confusion matrix over the dataset, and background counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from mayhem_train.evaluation.metrics.segmentation import SegmentationScorer, confusion_matrix

NAMES = ("background", "floor", "ramp")


def masks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.choice(np.array([0, 1, 2, 255], np.uint8), (48, 64), p=[0.5, 0.3, 0.1, 0.1])
    predicted = np.where((random.random((48, 64)) < 0.7) & (truth != 255), truth, random.integers(0, 3, (48, 64)))
    return truth, predicted.astype(np.uint8)


def test_the_confusion_matrix_equals_that_of_torchmetrics_over_several_images() -> None:
    oracle = MulticlassConfusionMatrix(num_classes=3, ignore_index=255)
    scorer = SegmentationScorer(NAMES)
    for seed in range(6):
        truth, predicted = masks(seed)
        scorer.add(truth, predicted)
        oracle.update(torch.from_numpy(predicted.astype(np.int64)), torch.from_numpy(truth.astype(np.int64)))
    assert np.array_equal(scorer.compute().confusion, oracle.compute().numpy())


def test_figures_worked_out_by_hand() -> None:
    scorer = SegmentationScorer(["background", "floor"])
    of_the_mask = scorer.add(np.array([[0, 0, 1, 1, 255]], np.uint8), np.array([[0, 1, 1, 1, 0]], np.uint8))
    assert of_the_mask.tolist() == [[1, 1], [0, 2]]
    scorer.add(np.array([[1, 1, 1, 0, 0]], np.uint8), np.array([[1, 0, 1, 0, 0]], np.uint8))
    metrics = scorer.compute()
    assert metrics.confusion.tolist() == [[3, 1], [1, 4]]
    assert metrics.iou == {"background": 3 / 5, "floor": 4 / 6}
    assert metrics.mean_iou == pytest.approx((3 / 5 + 4 / 6) / 2)
    assert metrics.pixel_accuracy == pytest.approx(7 / 9)


def test_predicting_floor_everywhere_is_not_perfect() -> None:
    truth = np.zeros((10, 10), np.uint8)
    truth[5:] = 1
    scorer = SegmentationScorer(["background", "floor"])
    scorer.add(truth, np.ones_like(truth))
    metrics = scorer.compute()
    assert (metrics.iou, metrics.mean_iou) == ({"background": 0.0, "floor": 0.5}, 0.25)


def test_the_false_floor_rate_is_the_share_of_what_is_no_floor_that_is_called_floor() -> None:
    scorer = SegmentationScorer(NAMES)
    truth = np.array([[0, 0, 0, 0, 0, 0, 2, 2, 1, 255]], np.uint8)
    scorer.add(truth, np.array([[1, 0, 0, 0, 0, 2, 1, 2, 0, 1]], np.uint8))
    metrics = scorer.compute()
    # 8 labelled pixels are no floor, of which 2 are called floor; 7 are no ramp, of which 1 is.
    assert metrics.false_rate == {"floor": 2 / 8, "ramp": 1 / 7}


def test_where_all_is_floor_there_is_no_false_floor_to_be_measured() -> None:
    scorer = SegmentationScorer(["background", "floor"])
    scorer.add(np.ones((4, 4), np.uint8), np.zeros((4, 4), np.uint8))
    assert scorer.compute().false_rate == {"floor": None}


@pytest.mark.parametrize("classes", [2, 3])
def test_the_recall_like_miou_is_torchmetrics_with_the_background_ignored(classes: int) -> None:
    oracle = MulticlassJaccardIndex(num_classes=classes, ignore_index=0, average="macro")
    scorer = SegmentationScorer(NAMES[:classes])
    for seed in range(6):
        truth, predicted = (np.where(mask == 255, 0, np.minimum(mask, classes - 1)) for mask in masks(seed))
        scorer.add(truth.astype(np.uint8), predicted.astype(np.uint8))
        oracle.update(torch.from_numpy(predicted.astype(np.int64)), torch.from_numpy(truth.astype(np.int64)))
    assert scorer.compute().recall_like_miou == pytest.approx(float(oracle.compute()), abs=1e-6)


def test_floor_everywhere_is_perfect_by_the_recall_like_miou_and_by_no_other_figure() -> None:
    truth = np.zeros((10, 10), np.uint8)
    truth[5:] = 1
    scorer = SegmentationScorer(["background", "floor"])
    scorer.add(truth, np.ones_like(truth))
    metrics = scorer.compute()
    assert (metrics.recall_like_miou, metrics.mean_iou, metrics.false_rate) == (1.0, 0.25, {"floor": 1.0})


def test_without_a_surface_in_truth_the_recall_like_miou_is_not_applicable() -> None:
    scorer = SegmentationScorer(["background", "floor"])
    scorer.add(np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8))
    assert scorer.compute().recall_like_miou is None


def test_an_image_without_floor_that_is_predicted_without_floor_is_right() -> None:
    scorer = SegmentationScorer(["background", "floor"])
    empty = np.zeros((4, 4), np.uint8)
    scorer.add(empty, empty)
    metrics = scorer.compute()
    assert (metrics.iou, metrics.mean_iou) == ({"background": 1.0, "floor": None}, 1.0)


def test_a_class_that_is_predicted_and_nowhere_true_scores_zero() -> None:
    scorer = SegmentationScorer(NAMES)
    scorer.add(np.zeros((1, 4), np.uint8), np.array([[0, 0, 0, 2]], np.uint8))
    assert scorer.compute().iou == {"background": 0.75, "floor": None, "ramp": 0.0}


def test_without_a_labelled_pixel_nothing_is_applicable() -> None:
    scorer = SegmentationScorer(NAMES)
    scorer.add(np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8))
    metrics = scorer.compute()
    assert (metrics.mean_iou, metrics.pixel_accuracy) == (None, None)


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and the prediction's \(3, 2\)"):
        confusion_matrix(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)
    with pytest.raises(ValueError, match=r"\[0, 7\], and there are 2 classes"):
        confusion_matrix(np.zeros((2, 3), np.uint8), np.full((2, 3), 7, np.uint8), 2)
