"""Boundary F1 is that of Csurka et al. 2013, checked against scikit-image's borders and SciPy's distances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.segmentation import find_boundaries

from mayhem_train.evaluation.metrics.boundary import TOLERANCE, BoundaryScorer, boundary, boundary_f1

NAMES = ("background", "floor", "ramp")


def blobs(seed: int, shape: tuple[int, int] = (90, 120)) -> np.ndarray:
    """uint8 [H, W] of three classes in smooth patches."""
    random = np.random.default_rng(seed)
    fields = [gaussian_filter(random.normal(size=shape), 8) for _ in range(3)]
    return np.argmax(fields, axis=0).astype(np.uint8)


def shifted_blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    truth = blobs(seed)
    return truth, np.roll(truth, (seed % 3, 2 - seed % 5), (0, 1))


def reference_f1(truth: np.ndarray, predicted: np.ndarray, distance: float) -> float:
    precision = (distance_transform_edt(~truth)[predicted] <= distance).mean()
    recall = (distance_transform_edt(~predicted)[truth] <= distance).mean()
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("value", [1, 2])
def test_borders_are_those_of_scikit_image(seed: int, value: int) -> None:
    mask = blobs(seed)
    assert np.array_equal(boundary(mask, value), find_boundaries(mask == value, connectivity=1, mode="inner"))


def test_the_mean_over_images_equals_the_reference() -> None:
    scorer = BoundaryScorer(NAMES)
    expected: dict[str, list[float]] = {"floor": [], "ramp": []}
    for seed in range(5):
        truth, predicted = shifted_blobs(seed)
        scorer.add(truth, predicted)
        for value, name in ((1, "floor"), (2, "ramp")):
            borders = (find_boundaries(mask == value, connectivity=1, mode="inner") for mask in (truth, predicted))
            expected[name].append(reference_f1(*borders, TOLERANCE * 150))  # the diagonal of 90x120
    metrics = scorer.compute()
    assert metrics.f1 == pytest.approx({name: np.mean(scores) for name, scores in expected.items()}, abs=1e-12)
    assert metrics.mean_f1 == pytest.approx(np.mean(list(metrics.f1.values())))
    assert 0.2 < metrics.mean_f1 < 0.99, "borders that are all right or all wrong would prove little"


def half(row: int, shape: tuple[int, int] = (300, 400)) -> np.ndarray:
    """Floor from this row on; the diagonal is 500 pixels, so that the tolerance is 3.75."""
    mask = np.zeros(shape, np.uint8)
    mask[row:] = 1
    return mask


@pytest.mark.parametrize(("off", "f1"), [(0, 1.0), (3, 1.0), (4, 0.0)])
def test_a_border_is_right_within_the_tolerance_and_wrong_beyond(off: int, f1: float) -> None:
    scorer = BoundaryScorer(NAMES[:2])
    scorer.add(half(150), half(150 + off))
    assert scorer.compute().f1 == {"floor": f1}


def test_precision_and_recall_are_worked_out_by_hand() -> None:
    truth, predicted = np.zeros((2, 10), bool), np.zeros((2, 10), bool)
    truth[0, :4] = True
    predicted[0, 2:10] = True
    # Within 1 pixel: of the prediction 2..9 those at 2, 3, 4; of the truth 0..3 those at 1, 2, 3.
    assert boundary_f1(truth, predicted, 1.0) == pytest.approx(2 * (3 / 8) * (3 / 4) / (3 / 8 + 3 / 4))


def test_where_iou_hardly_moves_the_border_does() -> None:
    truth, predicted = half(150), half(156)
    intersection, union = (truth & predicted).sum(), (truth | predicted).sum()
    scorer = BoundaryScorer(NAMES[:2])
    scorer.add(truth, predicted)
    assert intersection / union == 0.96
    assert scorer.compute().mean_f1 == 0.0


def test_the_images_edge_is_no_border_and_a_surface_without_border_is_not_applicable() -> None:
    scorer = BoundaryScorer(NAMES)
    scorer.add(np.ones((20, 20), np.uint8), np.ones((20, 20), np.uint8))
    metrics = scorer.compute()
    assert (metrics.f1, metrics.mean_f1) == ({"floor": None, "ramp": None}, None)


def test_a_border_that_only_one_of_the_two_has_scores_zero() -> None:
    everything, part = np.ones((300, 400), np.uint8), half(150)
    for truth, predicted in ((everything, part), (part, everything)):
        scorer = BoundaryScorer(NAMES[:2])
        scorer.add(truth, predicted)
        scorer.add(part, part)
        assert scorer.compute().f1 == {"floor": 0.5}


def test_nothing_is_judged_where_nothing_is_labelled() -> None:
    truth = half(150)
    truth[:, 200:] = 255
    predicted = half(150)
    predicted[:, 200:] = 0  # floor that ends where the labels do, and none beyond
    scorer = BoundaryScorer(NAMES[:2])
    scorer.add(truth, predicted)
    assert scorer.compute().f1 == {"floor": 1.0}
