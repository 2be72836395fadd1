"""What is wrong with a frame is said in words, what costs most first, and costs are what the score lacks."""

from __future__ import annotations

import numpy as np
import pytest

from mayhem_train.evaluation.metrics.segmentation import intersection_over_union
from mayhem_train.evaluation.scoring.frame_faults import _of_boxes, _of_surfaces, frame_faults

THINGS, SURFACES = ("agv", "person"), ("floor", "ramp")
RIGHT_BOXES = np.diag([0, 2, 1])
RIGHT_PIXELS = np.diag([50, 30, 20])


def test_a_perfect_frame_has_no_fault():
    assert frame_faults(THINGS, RIGHT_BOXES, SURFACES, RIGHT_PIXELS) == ()
    assert frame_faults(THINGS, np.zeros((3, 3), int), SURFACES, np.zeros((3, 3), int)) == ()


def test_boxes_that_are_missed_invented_and_mixed_up_are_named_with_their_numbers():
    boxes = np.array([[0, 1, 0], [3, 1, 0], [0, 2, 0]])
    assert frame_faults(THINGS, boxes, SURFACES, RIGHT_PIXELS) == (
        "2 person taken for agv",
        "3 of 4 agv missed",
        "1 agv where there is none",
    )


def test_false_floor_and_missed_floor_are_named_with_their_shares():
    pixels = np.array([[40, 10, 0], [3, 27, 0], [0, 0, 20]])
    assert frame_faults(THINGS, RIGHT_BOXES, SURFACES, pixels) == (
        "14.3% of what is no floor called floor",  # 10 of 70
        "10.0% of the floor missed",  # 3 of 30
    )


def test_three_faults_are_enough():
    boxes = np.array([[0, 1, 4], [3, 1, 0], [2, 0, 0]])
    pixels = np.array([[40, 10, 0], [3, 27, 0], [0, 0, 20]])
    assert frame_faults(THINGS, boxes, SURFACES, pixels) == (
        "4 person where there is none",
        "3 of 4 agv missed",
        "2 of 2 person missed",
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_costs_of_boxes_are_what_the_score_lacks(seed):
    counts = np.random.default_rng(seed).integers(0, 5, (3, 3))
    counts[0, 0] = 0
    right = np.trace(counts)
    score = 2 * right / (counts[1:].sum() + counts[:, 1:].sum())
    assert sum(cost for cost, _ in _of_boxes(THINGS, counts)) == pytest.approx(1 - score)


@pytest.mark.parametrize("seed", range(5))
def test_the_costs_of_surfaces_are_their_share_of_what_the_mean_iou_lacks(seed):
    confusion = np.random.default_rng(seed).integers(1, 50, (3, 3))
    lacking = sum(1 - iou for iou in intersection_over_union(confusion)[1:]) / 3
    assert sum(cost for cost, _ in _of_surfaces(SURFACES, confusion)) == pytest.approx(lacking)
