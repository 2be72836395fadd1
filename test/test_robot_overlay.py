"""The overlay tints surfaces and frames boxes, and leaves everything else as the camera saw it."""

from __future__ import annotations

import numpy as np

from mayhem_ros.overlay import draw_prediction
from mayhem_ros.prediction import Prediction

GREY = np.full((60, 80, 3), 100, np.uint8)


def test_surfaces_are_tinted_and_the_background_is_not():
    mask = np.zeros((60, 80), np.uint8)
    mask[30:], mask[:5, :5] = 1, 3
    picture = draw_prediction(GREY, Prediction(mask=mask), str)
    expected = GREY.copy()
    expected[30:] = (60, 123, 106)  # 0.6 of the grey and 0.4 of (0, 158, 115)
    expected[:5, :5] = (94, 132, 153)  # 0.6 of the grey and 0.4 of (86, 180, 233)
    np.testing.assert_array_equal(picture, expected)
    assert (GREY == 100).all()


def test_a_box_is_framed_in_its_classs_colour_and_named():
    names = []
    prediction = Prediction(
        np.array([[20, 25, 60, 50]], np.float32), np.array([0.75], np.float32), np.array([2], np.int64)
    )
    picture = draw_prediction(GREY, prediction, lambda label: names.append(label) or "box")
    assert names == [2]
    for edge in (picture[25, 30:55], picture[50, 30:55], picture[30:45, 20], picture[30:45, 60]):
        assert (edge == (230, 159, 0)).all()
    assert (picture[30:46, 25:56] == 100).all()
    assert (picture[8:24, 20:60] == 255).any()


def test_boxes_that_leave_the_image_are_drawn_as_far_as_it_goes():
    prediction = Prediction(
        np.array([[-30, -30, 500, 20]], np.float32), np.array([0.75], np.float32), np.array([2], np.int64)
    )
    picture = draw_prediction(GREY, prediction, str)
    assert (picture[20] == (230, 159, 0)).all()
    assert (picture[25:] == 100).all()


def test_boxes_beyond_any_image_are_drawn_as_far_as_it_goes():
    box = np.array([[-3e38, -3e38, 3e38, 20]], np.float32)
    prediction = Prediction(box, np.array([0.75], np.float32), np.array([2], np.int64))
    picture = draw_prediction(GREY, prediction, str)
    assert (picture[20] == (230, 159, 0)).all()
    assert (picture[25:] == 100).all()


def test_a_prediction_without_anything_leaves_the_image_as_it_is():
    np.testing.assert_array_equal(draw_prediction(GREY, Prediction(), str), GREY)
