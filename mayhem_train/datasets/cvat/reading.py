"""Reads "CVAT for images 1.1": one XML file that lists images and the boxes, polygons and masks drawn on them."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.shapes import (
    AnnotatedImage,
    AnnotationFile,
    BoxShape,
    MaskShape,
    OtherShape,
    PolygonShape,
    Shape,
)
from mayhem_train.recordings.frame import parse_frame_name

# A vertex may lie outside its image, but rasterising walks along every edge: this far out it is a mistake, not a shape.
_FARTHEST_VERTEX_IN_IMAGE_SIZES = 10


def read_cvat(path: Path) -> AnnotationFile:
    """Parses and checks one file. Document type declarations, so every entity, are refused.

    Raises:
        MayhemError: the file is missing, empty, truncated, not XML, not CVAT for images 1.1, or holds an image name
            that is no frame name or a shape that cannot be; the sentence names the file and the image.
    """
    root = _parse(path)
    version = (root.findtext("version") or "1.1").strip()
    if root.tag != "annotations" or version != "1.1":
        raise MayhemError(
            f'{path} is XML but not CVAT\'s (<{root.tag}>, version {version}): export it as "CVAT for images 1.1".'
        )
    if root.find("track") is not None:
        raise MayhemError(f'{path} holds video tracks: export it as "CVAT for images 1.1".')
    labels = tuple(name.text.strip() for name in root.findall("meta/*/labels/label/name") if name.text)
    images = tuple(_image(element, path) for element in root.findall("image"))
    if not images:
        raise MayhemError(f'{path} lists no <image>: export it as "CVAT for images 1.1" from a task with images.')
    return AnnotationFile(path, labels, images)


def _parse(path: Path) -> Element:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror or error}): name a CVAT annotation file.") from error
    if not content:
        raise MayhemError(f"{path} is empty: export it from CVAT again.")
    if content.startswith(b"PK"):
        raise MayhemError(f"{path} is a zip archive: unpack it and name the annotations.xml in it.")
    try:
        root: Element = fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise MayhemError(f"{path} declares a document type or entities, which CVAT never does: refused.") from error
    except (ParseError, ValueError, LookupError) as error:
        raise MayhemError(f"{path} is not XML or is cut short ({error}): export it from CVAT again.") from error
    return root


def _image(element: Element, path: Path) -> AnnotatedImage:
    name = element.get("name", "")
    try:
        parse_frame_name(name)
    except MayhemError as error:
        raise MayhemError(f"{path}: {error}") from error
    place = f"{path}, image {name}"
    width, height = (_whole_number(element, side, place) for side in ("width", "height"))
    if width < 1 or height < 1:
        raise MayhemError(f"{place}: its size is {width}x{height} pixels: export it from CVAT again.")
    shapes = tuple(_shape(child, width, height, place) for child in element if child.tag != "tag")
    return AnnotatedImage(name, width, height, shapes)


def _shape(element: Element, width: int, height: int, place: str) -> Shape:
    label = element.get("label")
    if not label:
        raise MayhemError(f"{place}: a <{element.tag}> has no label: export it from CVAT again.")
    place = f"{place}: the <{element.tag}> of {label!r}"
    if element.tag == "box":
        return BoxShape(label, _box(element, place), _z_order(element, place))
    if element.tag == "polygon":
        return PolygonShape(label, _polygon(element, width, height, place), _z_order(element, place))
    if element.tag == "mask":
        runs, window = _mask(element, width, height, place)
        return MaskShape(label, runs, window, _z_order(element, place))
    return OtherShape(label, element.tag)


def _box(element: Element, place: str) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (_number(element, side, place) for side in ("xtl", "ytl", "xbr", "ybr"))
    if x2 < x1 or y2 < y1:
        raise MayhemError(f"{place} is reversed ({x1:g}, {y1:g} to {x2:g}, {y2:g}): draw it again in CVAT.")
    if element.get("rotation") is None:
        return x1, y1, x2, y2
    angle = math.radians(_number(element, "rotation", place))
    centre_x, centre_y, half_width, half_height = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    hull_x = half_width * cosine + half_height * sine
    hull_y = half_width * sine + half_height * cosine
    return centre_x - hull_x, centre_y - hull_y, centre_x + hull_x, centre_y + hull_y


def _polygon(element: Element, width: int, height: int, place: str) -> NDArray[np.float64]:
    try:
        points = np.array([pair.split(",") for pair in element.get("points", "").split(";")], np.float64)
    except ValueError as error:
        raise MayhemError(f"{place} has points that are not x,y;x,y;…: export it from CVAT again.") from error
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise MayhemError(f"{place} has fewer than three points: delete it in CVAT.")
    if not np.isfinite(points).all():
        raise MayhemError(f"{place} has a point that is no finite number: draw it again in CVAT.")
    if np.abs(points).max() > _FARTHEST_VERTEX_IN_IMAGE_SIZES * max(width, height):
        raise MayhemError(f"{place} has a point far outside the image: draw it again in CVAT.")
    return points


def _mask(element: Element, width: int, height: int, place: str) -> tuple[NDArray[np.int64], tuple[int, int, int, int]]:
    left, top, columns, rows = (_whole_number(element, side, place) for side in ("left", "top", "width", "height"))
    if min(left, top) < 0 or min(columns, rows) < 1 or left + columns > width or top + rows > height:
        raise MayhemError(
            f"{place} has a window ({columns}x{rows} at {left}, {top}) that leaves the image of {width}x{height}: "
            "export it from CVAT again."
        )
    try:
        runs = np.array(element.get("rle", "").split(","), np.int64)
    except (ValueError, OverflowError) as error:
        raise MayhemError(f"{place} has run lengths that are no whole numbers: export it from CVAT again.") from error
    # Each run is compared too, since huge ones could overflow to a sum that fits.
    if runs.min() < 0 or runs.max() > rows * columns or runs.sum() != rows * columns:
        raise MayhemError(
            f"{place} has run lengths that do not fill its window of {columns}x{rows} pixels: "
            "export it from CVAT again."
        )
    return runs, (left, top, columns, rows)


def _z_order(element: Element, place: str) -> int:
    return 0 if element.get("z_order") is None else _whole_number(element, "z_order", place)


def _number(element: Element, attribute: str, place: str) -> float:
    text = element.get(attribute)
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise MayhemError(f"{place} has {attribute}={text!r}, which is no finite number: export it from CVAT again.")
    return number


def _whole_number(element: Element, attribute: str, place: str) -> int:
    text = element.get(attribute)
    try:
        return int(text or "")
    except ValueError as error:
        raise MayhemError(
            f"{place} has {attribute}={text!r}, which is no whole number: export it from CVAT again."
        ) from error
