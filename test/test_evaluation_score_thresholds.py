"""The score threshold of each class: where F1 on validation is best."""

from __future__ import annotations

import numpy as np
import pytest

from mayhem_train.evaluation.metrics.image_boxes import ImageBoxes
from mayhem_train.evaluation.metrics.score_thresholds import UNKNOWN_THRESHOLD, ScoreThresholdChooser

TRUTH = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], float)
ELSEWHERE = [100, 100, 110, 110]


def thresholds(boxes, scores, truth=TRUTH, crowd=()):
    crowd = np.isin(np.arange(len(truth)), crowd)
    chooser = ScoreThresholdChooser(["person"])
    ones = np.ones(len(boxes), np.int64)
    found = (np.array(boxes, float), np.array(scores), ones)
    chooser.add(ImageBoxes(truth, np.ones(len(truth), np.int64), crowd, *found))
    return chooser.compute()["person"]


def test_the_threshold_lies_between_the_last_score_kept_and_the_first_left_out():
    boxes = [*TRUTH, ELSEWHERE, ELSEWHERE]
    # Kept: 1 TP of 1 -> F1 0.5; 2 of 2 -> 0.8; 3 of 3 -> 1.0; then false ones only.
    assert thresholds(boxes, [0.9, 0.8, 0.6, 0.2, 0.1]) == pytest.approx((0.6 + 0.2) / 2)


def test_a_late_hit_is_given_up_where_it_costs_too_many_false_boxes():
    boxes = [TRUTH[0], TRUTH[1], *[ELSEWHERE] * 6, TRUTH[2]]
    # F1 after two hits 2*2/(2+3) = 0.8; after all nine 2*3/(9+3) = 0.5.
    assert thresholds(boxes, [0.9, 0.8, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4]) == pytest.approx((0.8 + 0.5) / 2)


def test_an_object_is_found_once():
    # The second box on the same object is false: keeping it lowers F1 from 2/4 to 2/5.
    assert thresholds([TRUTH[0], TRUTH[0]], [0.9, 0.5]) == pytest.approx(0.7)


def test_equal_scores_stand_or_fall_together():
    assert thresholds([TRUTH[0], ELSEWHERE], [0.5, 0.5]) == pytest.approx(0.25)


def test_boxes_on_a_crowd_are_not_judged():
    # The second box is a hit on an object, or on a crowd nothing: then the threshold ends above ELSEWHERE's score.
    boxes = [TRUTH[0], TRUTH[1], ELSEWHERE]
    assert thresholds(boxes, [0.9, 0.5, 0.3], TRUTH[:2]) == pytest.approx(0.4)
    assert thresholds(boxes, [0.9, 0.5, 0.3], TRUTH[:2], crowd=[1]) == pytest.approx(0.6)


@pytest.mark.parametrize("truth", [np.zeros((0, 4)), TRUTH])
def test_without_anything_to_choose_by_it_is_the_middle(truth):
    assert thresholds([ELSEWHERE], [0.9], truth) == UNKNOWN_THRESHOLD
    assert thresholds(np.zeros((0, 4)), [], truth) == UNKNOWN_THRESHOLD


def test_classes_are_chosen_apart():
    chooser = ScoreThresholdChooser(["person", "agv"])
    boxes = np.array([TRUTH[0], TRUTH[1]])
    labels = np.array([1, 2])
    chooser.add(ImageBoxes(boxes, labels, np.zeros(2, bool), boxes, np.array([0.9, 0.3]), labels))
    assert chooser.compute() == pytest.approx({"person": 0.45, "agv": 0.15})
