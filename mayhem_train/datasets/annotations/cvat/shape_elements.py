"""One element of a CVAT file that says where a shape is, checked and turned into the shape."""

from __future__ import annotations

import math
from typing import TypedDict
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.annotations.outlines import rotated_hull
from mayhem_train.datasets.annotations.plain_numbers import plain
from mayhem_train.datasets.annotations.shapes import BoxShape, MaskShape, OtherShape, PolygonShape, Shape
from mayhem_train.datasets.quoting import quoted

# The attribute that CVAT itself makes of COCO's crowds.
IS_CROWD = ("is_crowd", "true")

# A vertex may lie outside its image, but rasterising walks along every edge: this far out it is a mistake, not a shape.
_FARTHEST_VERTEX_IN_IMAGE_SIZES = 10
# An ellipse becomes a polygon that stays this close to it.
_ELLIPSE_PIXELS = 0.02


class _Said(TypedDict):
    """What an element says besides its label and its outline."""

    occluded: bool
    source: str
    attributes: tuple[tuple[str, str], ...]


def read_shape(element: Element, label: str | None, source: str, width: int, height: int, place: str) -> Shape:
    """The shape in an image of `width` x `height` pixels; `label` and `source` are its element's or its track's.

    Raises:
        MayhemError: there is no label, or the outline cannot be; the sentence begins with `place`.
    """
    if not label:
        raise MayhemError(f"{place}: a <{element.tag}> has no label: export it from CVAT again.")
    place = f"{place}: the <{element.tag}> of {quoted(label)}"
    said = _Said(
        occluded=element.get("occluded") == "1",
        source=source,
        attributes=tuple((child.get("name", ""), child.text or "") for child in element.iterfind("attribute")),
    )
    if element.tag == "box":
        is_crowd = IS_CROWD in said["attributes"]
        said["attributes"] = tuple(pair for pair in said["attributes"] if pair != IS_CROWD)
        return BoxShape(label, _box(element, width, height, place), _z_order(element, place), is_crowd, **said)
    if element.tag == "polygon":
        return PolygonShape(label, _polygon(element, width, height, place), _z_order(element, place), **said)
    if element.tag == "ellipse":
        return PolygonShape(label, _ellipse(element, width, height, place), _z_order(element, place), **said)
    if element.tag == "mask":
        runs, window = _mask(element, width, height, place)
        return MaskShape(label, runs, window, _z_order(element, place), **said)
    return OtherShape(label, element.tag, **said)


def whole_number(element: Element, attribute: str, place: str) -> int:
    """An attribute's value.

    Raises:
        MayhemError: it is missing or no whole number; the sentence begins with `place`.
    """
    text = element.get(attribute)
    try:
        return int(plain(text or ""))
    except ValueError as error:
        raise MayhemError(
            f"{place} has {attribute}={quoted(text)}, which is no whole number: export it from CVAT again."
        ) from error


def _box(element: Element, width: int, height: int, place: str) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (_number(element, side, place) for side in ("xtl", "ytl", "xbr", "ybr"))
    if x2 < x1 or y2 < y1:
        raise MayhemError(f"{place} is reversed ({x1:g}, {y1:g} to {x2:g}, {y2:g}): draw it again in CVAT.")
    _refuse_far(max(map(abs, (x1, y1, x2, y2))), width, height, place)
    angle = _rotation(element, place)
    return rotated_hull((x1, y1, x2, y2), angle) if angle else (x1, y1, x2, y2)


def _polygon(element: Element, width: int, height: int, place: str) -> NDArray[np.float64]:
    try:
        points = np.array([pair.split(",") for pair in plain(element.get("points", "")).split(";")], np.float64)
    except ValueError as error:
        raise MayhemError(f"{place} has points that are not x,y;x,y;…: export it from CVAT again.") from error
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise MayhemError(f"{place} has fewer than three points: delete it in CVAT.")
    if not np.isfinite(points).all():
        raise MayhemError(f"{place} has a point that is no finite number: draw it again in CVAT.")
    _refuse_far(np.abs(points).max(), width, height, place)
    return points


def _ellipse(element: Element, width: int, height: int, place: str) -> NDArray[np.float64]:
    """Points on it, those farthest left, right, up and down among them: so the box around them is the ellipse's."""
    centre_x, centre_y, radius_x, radius_y = (_number(element, name, place) for name in ("cx", "cy", "rx", "ry"))
    if min(radius_x, radius_y) <= 0:
        raise MayhemError(f"{place} has radii of {radius_x:g} and {radius_y:g} pixels: draw it again in CVAT.")
    _refuse_far(max(abs(centre_x), abs(centre_y)) + max(radius_x, radius_y), width, height, place)
    angle = _rotation(element, place)
    cosine, sine = math.cos(angle), math.sin(angle)
    across, down = math.atan2(-radius_y * sine, radius_x * cosine), math.atan2(radius_y * cosine, radius_x * sine)
    extremes = [across, across + math.pi, down, down + math.pi]
    # A chord over the angle a leaves a circle of radius r by r (1 - cos(a / 2)).
    count = math.ceil(math.pi / math.acos(max(0.0, 1 - _ELLIPSE_PIXELS / max(radius_x, radius_y))))
    turn = np.unique(np.mod([*np.linspace(0, 2 * math.pi, count, endpoint=False), *extremes], 2 * math.pi))
    x, y = radius_x * np.cos(turn), radius_y * np.sin(turn)
    return np.stack([centre_x + x * cosine - y * sine, centre_y + x * sine + y * cosine], axis=1)


def _mask(element: Element, width: int, height: int, place: str) -> tuple[NDArray[np.int64], tuple[int, int, int, int]]:
    left, top, columns, rows = (whole_number(element, side, place) for side in ("left", "top", "width", "height"))
    if min(left, top) < 0 or min(columns, rows) < 1 or left + columns > width or top + rows > height:
        raise MayhemError(
            f"{place} has a window ({columns}x{rows} at {left}, {top}) that leaves the image of {width}x{height}: "
            "export it from CVAT again."
        )
    try:
        runs = np.array(plain(element.get("rle", "")).split(","), np.int64)
    except (ValueError, OverflowError) as error:
        raise MayhemError(f"{place} has run lengths that are no whole numbers: export it from CVAT again.") from error
    # Each run is compared too, since huge ones could overflow to a sum that fits.
    if runs.min() < 0 or runs.max() > rows * columns or runs.sum() != rows * columns:
        raise MayhemError(
            f"{place} has run lengths that do not fill its window of {columns}x{rows} pixels: "
            "export it from CVAT again."
        )
    return runs, (left, top, columns, rows)


def _refuse_far(reach: float, width: int, height: int, place: str) -> None:
    """`reach` is the largest coordinate of the shape."""
    if reach > _FARTHEST_VERTEX_IN_IMAGE_SIZES * max(width, height):
        raise MayhemError(f"{place} has a point far outside the image: draw it again in CVAT.")


def _z_order(element: Element, place: str) -> int:
    return 0 if element.get("z_order") is None else whole_number(element, "z_order", place)


def _rotation(element: Element, place: str) -> float:
    """Radians, clockwise in the image."""
    return 0.0 if element.get("rotation") is None else math.radians(_number(element, "rotation", place))


def _number(element: Element, attribute: str, place: str) -> float:
    text = element.get(attribute)
    try:
        number = float(plain(text or ""))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise MayhemError(
            f"{place} has {attribute}={quoted(text)}, which is no finite number: export it from CVAT again."
        )
    return number
