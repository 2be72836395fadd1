"""Outlines paint their mask again, to the pixel without a tolerance and nearly so with one."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as rle_codec

from mayhem_train.datasets.annotations.contours import Outline, mask_shape, outline_parts, row_runs
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.shapes import PolygonShape
from mayhem_train.datasets.annotations.surfaces import paint, shape_rle

DATA = Path(os.environ.get("MAYHEM_DATA", Path(__file__).parents[2] / "shared" / "data"))
MASKS = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.integers(0, 3))


def painted(outlines: list[Outline], height: int, width: int) -> np.ndarray:
    """What an import makes of the outlines: lowest first, background erases, pixels by their centres."""
    layers = [(o.value, shape_rle(PolygonShape("any", o.points), width, height)) for o in outlines]
    mask = np.zeros((height, width), np.uint8)
    for value, rle in paint(layers, width, height).items():
        mask[rle_codec.decode(rle).astype(bool)] = value
    return mask


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def road_with_a_hole() -> np.ndarray:
    """A road between slanting edges, an ellipse cut out of it, and an island in that, 480x640."""
    mask = np.zeros((480, 640), np.uint8)
    cv2.fillPoly(mask, [np.array([(250, 200), (390, 200), (639, 479), (0, 479)])], 1)
    cv2.ellipse(mask, (320, 350), (90, 50), 20, 0, 360, 0, -1)
    cv2.circle(mask, (320, 350), 20, 1, -1)
    return mask


@settings(deadline=None)
@given(MASKS)
def test_without_tolerance_outlines_paint_exactly_the_mask(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(painted(outline_parts(mask), *mask.shape), mask)


@pytest.mark.parametrize("around", [0, 2])
def test_what_touches_only_at_corners_encloses_nothing(around: int) -> None:
    mask = np.full((7, 7), around, np.uint8)
    mask[[2, 3, 3, 4], [3, 2, 4, 3]] = 1
    np.testing.assert_array_equal(painted(outline_parts(mask), 7, 7), mask)


@settings(deadline=None)
@given(MASKS)
def test_outlines_run_along_pixel_edges_within_the_image(mask: np.ndarray) -> None:
    height, width = mask.shape
    for outline in outline_parts(mask):
        assert outline.points.min() >= 0
        assert (outline.points.max(0) <= (width, height)).all()


def test_a_rectangle_has_four_corners_on_the_outer_edges_of_its_pixels() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[5:12, 8:20] = 2
    (outline,) = outline_parts(mask)
    assert (outline.value, outline.depth) == (2, 0)
    assert sorted(map(tuple, outline.points.tolist())) == [(8, 5), (8, 12), (20, 5), (20, 12)]


def test_holes_and_what_lies_in_them_are_painted_in_the_order_of_their_depth() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[5:35, 5:35] = 1
    mask[10:30, 10:30] = 0
    mask[15:25, 15:25] = 1
    mask[18:21, 18:21] = 2
    assert [(o.value, o.depth) for o in outline_parts(mask)] == [(1, 0), (0, 1), (1, 2), (2, 3)]


def test_background_outside_of_everything_is_not_drawn() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, :] = 1
    assert [(o.value, o.depth) for o in outline_parts(mask)] == [(1, 0)]
    assert outline_parts(np.zeros((4, 4), np.uint8)) == []


def test_a_tolerance_saves_points_and_keeps_the_mask() -> None:
    mask = road_with_a_hole()
    outlines = outline_parts(mask, tolerance=1.0)
    assert [(o.value, o.depth) for o in outlines] == [(1, 0), (0, 1), (1, 2)]
    assert sum(len(o.points) for o in outlines) < sum(len(o.points) for o in outline_parts(mask)) / 10
    assert iou(painted(outlines, 480, 640), mask) > 0.99


def test_no_point_of_the_edge_is_farther_from_the_outline_than_the_tolerance() -> None:
    mask = road_with_a_hole()
    for tolerance in (0.5, 1.0, 3.0):
        for exact, simple in zip(outline_parts(mask), outline_parts(mask, tolerance=tolerance), strict=True):
            ring = simple.points.astype(np.float32)
            farthest = max(abs(cv2.pointPolygonTest(ring, point, True)) for point in exact.points.tolist())
            assert farthest <= tolerance + 1e-5


def test_parts_smaller_than_the_least_area_are_left_to_what_surrounds_them() -> None:
    mask = road_with_a_hole()
    mask[470:475, 300:305] = 0
    mask[10:15, 10:15] = 1
    mask[300:304, 320:324] = 2
    outlines = outline_parts(mask, least_area=26)
    assert [(o.value, o.depth) for o in outlines] == [(1, 0), (0, 1), (1, 2)]
    np.testing.assert_array_equal(painted(outlines, 480, 640)[470:475, 300:305], 1)


@settings(deadline=None)
@given(arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=14)))
def test_a_painted_mask_is_the_mask_in_its_smallest_window(mask: np.ndarray) -> None:
    runs = row_runs(mask)
    assert runs.sum() == mask.size
    np.testing.assert_array_equal(np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(mask.shape), mask)
    if mask.any():
        shape = mask_shape(mask, "floor")
        left, top, width, height = shape.window
        np.testing.assert_array_equal(rle_codec.decode(shape_rle(shape, mask.shape[1], mask.shape[0])), mask)
        inner = mask[top : top + height, left : left + width]
        assert inner[0].any() and inner[-1].any() and inner[:, 0].any() and inner[:, -1].any()


def test_the_roads_of_real_drives_survive_as_polygons_of_few_points() -> None:
    """Roads that people painted pixel by pixel: ragged edges, holes where cars stand."""
    path = DATA / "camvid" / "annotations" / "camvid-0016E5-val.xml"
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    ious, points = [], []
    for image in read_cvat(path).images[::10]:
        layers = [(1, shape_rle(s, image.width, image.height)) for s in image.shapes if s.label == "road"]  # type: ignore[arg-type]
        mask = rle_codec.decode(paint(layers, image.width, image.height)[1])
        outlines = outline_parts(mask, tolerance=1.0, least_area=64)
        ious.append(iou(painted(outlines, image.height, image.width), mask))
        points.append(sum(len(o.points) for o in outlines))
    assert len(ious) == 11
    assert min(ious) >= 0.98
    assert max(points) < 200
