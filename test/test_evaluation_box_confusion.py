"""The confusion of boxes: what is taken for what, what is missed, and what is seen where nothing is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayhem_train.evaluation.metrics.box_confusion import BoxConfusion
from mayhem_train.evaluation.metrics.box_matching import match_boxes
from mayhem_train.evaluation.metrics.image_boxes import ImageBoxes

HERE, THERE, ELSEWHERE = [0, 0, 10, 10], [20, 0, 30, 10], [100, 100, 110, 110]


def confusion(truth, labels, crowd, boxes, scores, found):
    matrix = BoxConfusion(2)
    arrays = (np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(found, np.int64))
    there = (np.array(truth, float).reshape(-1, 4), np.array(labels, np.int64), np.array(crowd, bool))
    matrix.add(ImageBoxes(*there, *arrays))
    return matrix.counts.tolist()


def test_right_mixed_up_missed_and_invented_boxes_each_have_their_cell():
    truth, labels = [HERE, THERE, [40, 0, 50, 10]], [1, 2, 2]
    counts = confusion(truth, labels, [False] * 3, [HERE, THERE, ELSEWHERE], [0.9, 0.8, 0.7], [1, 1, 2])
    assert counts == [[0, 0, 1], [0, 1, 0], [1, 1, 0]]


def test_a_box_of_the_right_class_is_preferred_to_a_better_scored_one_of_another():
    assert confusion([HERE], [1], [False], [HERE, HERE], [0.9, 0.3], [2, 1]) == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_an_object_is_mixed_up_with_one_box_only():
    assert confusion([HERE], [1], [False], [HERE, HERE], [0.9, 0.3], [2, 2]) == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_a_crowd_is_no_object_and_boxes_of_its_class_on_it_are_left_out():
    counts = confusion([[0, 0, 100, 100]], [1], [True], [HERE, THERE], [0.9, 0.8], [1, 2])
    assert counts == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_every_object_and_every_judged_box_is_counted_once_and_the_diagonal_is_cocos(seed):
    random = np.random.default_rng(seed)
    objects, found = int(random.integers(0, 7)), int(random.integers(0, 9))
    corners = random.uniform(0, 25, (objects + found, 2))
    boxes = np.hstack([corners, corners + random.uniform(5, 20, (objects + found, 2))])
    labels = random.integers(1, 3, objects + found)
    crowd = random.random(objects) < 0.2
    scores = random.random(found)
    matrix = BoxConfusion(2)
    image = ImageBoxes(boxes[:objects], labels[:objects], crowd, boxes[objects:], scores, labels[objects:])
    counts = matrix.add(image)
    order = np.argsort(-scores)
    for label in (1, 2):
        ours, theirs = order[labels[objects:][order] == label], labels[:objects] == label
        coco = match_boxes(boxes[objects:][ours], boxes[:objects][theirs], crowd[theirs])
        assert counts[label, label] == coco.right.sum()
        assert counts[:, label].sum() == coco.right.sum() + coco.wrong.sum()
        assert counts[label].sum() == (~crowd[theirs]).sum()
    assert counts[0, 0] == 0


def test_images_add_up():
    matrix = BoxConfusion(1)
    for boxes in ([HERE], [ELSEWHERE]):
        arrays = np.array(boxes, float), np.array([0.5]), np.array([1])
        matrix.add(ImageBoxes(np.array([HERE], float), np.array([1]), np.array([False]), *arrays))
    assert matrix.counts.tolist() == [[0, 1], [1, 1]]


def test_matching_names_the_object_that_a_box_found():
    truth = np.array([THERE, HERE], float)
    matches = match_boxes(np.array([HERE, ELSEWHERE, THERE], float), truth, np.zeros(2, bool))
    assert matches.objects.tolist() == [1, -1, 0]
    assert match_boxes(np.zeros((0, 4)), truth, np.zeros(2, bool)).objects.tolist() == []


@pytest.mark.parametrize("crowd", [False, True])
def test_without_boxes_only_objects_are_missed(crowd):
    assert confusion([HERE], [2], [crowd], [], [], []) == [[0, 0, 0], [0, 0, 0], [0 if crowd else 1, 0, 0]]
