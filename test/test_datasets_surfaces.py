"""Surface shapes cover exactly the pixels they were drawn over."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as rle_codec
from skimage.draw import polygon as skimage_polygon

from mayhem_train.datasets.annotations.shapes import AreaShape, BoxShape, MaskShape, PolygonShape
from mayhem_train.datasets.annotations.surfaces import paint, shape_rle


def pixels(shape: AreaShape, width: int, height: int) -> NDArray[np.uint8]:
    mask: NDArray[np.uint8] = rle_codec.decode(shape_rle(shape, width, height))
    return mask


def polygon(*points: tuple[float, float]) -> PolygonShape:
    return PolygonShape("road", np.array(points, np.float64))


def test_a_polygon_along_pixel_edges_covers_the_pixels_between_them() -> None:
    expected = np.zeros((6, 8), np.uint8)
    expected[1:4, 2:7] = 1
    np.testing.assert_array_equal(pixels(polygon((2, 1), (7, 1), (7, 4), (2, 4)), 8, 6), expected)


def test_a_polygon_around_the_image_covers_all_of_it_and_nothing_else() -> None:
    assert pixels(polygon((-50, -50), (60, -50), (60, 50), (-50, 50)), 8, 6).tolist() == [[1] * 8] * 6


def test_a_pixel_belongs_to_a_polygon_when_its_centre_does() -> None:
    assert pixels(polygon((0.4, 0), (2.6, 0), (2.6, 1), (0.4, 1)), 4, 1).tolist() == [[1, 1, 1, 0]]
    assert pixels(polygon((0.6, 0), (2.4, 0), (2.4, 1), (0.6, 1)), 4, 1).tolist() == [[0, 1, 0, 0]]


def test_polygons_agree_with_scikit_image_sampled_at_pixel_centres() -> None:
    generator = np.random.default_rng(3)
    inter = union = 0
    for _ in range(50):
        angles = np.sort(generator.uniform(0, 2 * np.pi, 12))
        radii = generator.uniform(30, 110, 12)
        points = np.stack([160 + radii * np.cos(angles), 120 + radii * np.sin(angles)], 1).round(2)
        ours = pixels(PolygonShape("road", points), 320, 240).astype(bool)
        theirs = np.zeros((240, 320), bool)
        theirs[skimage_polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, theirs.shape)] = True
        inter, union = inter + (ours & theirs).sum(), union + (ours | theirs).sum()
    assert inter / union > 0.997  # filling rounded vertices as OpenCV does reaches 0.98


def test_a_traced_contour_gives_its_mask_back() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[5:30, 10:25] = 1
    mask[20:40, 20:60] = 1
    mask[33, 5] = 1
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    traced = [shape_rle(PolygonShape("road", c[:, 0].astype(float)), 60, 40, traced=True) for c in contours]
    np.testing.assert_array_equal(rle_codec.decode(rle_codec.merge(traced)), mask)


def test_a_box_as_a_surface_covers_its_pixels() -> None:
    expected = np.zeros((6, 8), np.uint8)
    expected[2:5, 1:3] = 1
    np.testing.assert_array_equal(pixels(BoxShape("road", (1, 2, 3, 5)), 8, 6), expected)


def test_a_box_that_reaches_far_beyond_the_image_costs_no_more_than_one_within() -> None:
    assert pixels(BoxShape("road", (-1e9, 2, 1e12, 5)), 8, 6).tolist() == [[int(2 <= y < 5)] * 8 for y in range(6)]
    assert not pixels(BoxShape("road", (1e9, 2, 1e12, 5)), 8, 6).any()


def test_a_mask_runs_along_the_rows_of_its_window_zeros_first() -> None:
    shape = MaskShape("road", np.array([1, 3, 1, 1]), (2, 1, 3, 2))
    assert pixels(shape, 6, 4).tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_mask_survives_its_runs(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    left, top = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4))
    bits = data.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    runs = [0]
    for bit in bits:
        if bit != bool((len(runs) - 1) % 2):
            runs.append(0)
        runs[-1] += 1
    expected = np.zeros((12, 13), np.uint8)
    expected[top : top + rows, left : left + columns] = np.array(bits).reshape(rows, columns)
    shape = MaskShape("road", np.array(runs), (left, top, columns, rows))
    np.testing.assert_array_equal(pixels(shape, 13, 12), expected)


def layers(*drawn: tuple[int, tuple[float, float, float, float]]) -> dict[int, NDArray[np.uint8]]:
    encoded = [(category, shape_rle(BoxShape("", box), 6, 2)) for category, box in drawn]
    return {category: rle_codec.decode(rle) for category, rle in paint(encoded, 6, 2).items()}


def test_shapes_of_one_surface_are_united() -> None:
    painted = layers((4, (0, 0, 2, 1)), (4, (1, 0, 4, 1)))
    assert {k: v.tolist() for k, v in painted.items()} == {4: [[1, 1, 1, 1, 0, 0], [0] * 6]}


def test_a_later_surface_covers_an_earlier_one_and_an_earlier_one_again_on_top_covers_it() -> None:
    painted = layers((4, (0, 0, 4, 2)), (5, (2, 0, 6, 2)), (4, (5, 0, 6, 1)))
    assert painted[4].tolist() == [[1, 1, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0]]
    assert painted[5].tolist() == [[0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1]]


def test_background_on_top_cuts_a_hole_and_below_does_nothing() -> None:
    painted = layers((0, (0, 0, 6, 2)), (4, (0, 0, 6, 1)), (0, (1, 0, 3, 2)))
    assert {k: v.tolist() for k, v in painted.items()} == {4: [[1, 0, 0, 1, 1, 1], [0] * 6]}


@pytest.mark.parametrize("drawn", [[], [(4, (7, 0, 9, 2))], [(4, (0, 0, 1, 1)), (0, (0, 0, 6, 2))]])
def test_what_is_not_visible_is_left_out(drawn: list[tuple[int, tuple[float, float, float, float]]]) -> None:
    assert layers(*drawn) == {}
