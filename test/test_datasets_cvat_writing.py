"""Generated annotations become a file that CVAT reads and that is read back equal."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.cvat.writing import CvatAttribute, CvatLabel, write_cvat
from mayhem_train.datasets.annotations.shapes import (
    AnnotatedImage,
    BoxShape,
    MaskShape,
    OtherShape,
    PolygonShape,
    Shape,
)

WIDTH, HEIGHT = 64, 48


def comparable(shapes: Sequence[Shape]) -> list[tuple[Any, ...]]:
    """Arrays as lists, since arrays have no truth value."""
    return [
        (type(shape), *(value.tolist() if isinstance(value, np.ndarray) else value for value in vars(shape).values()))
        for shape in shapes
    ]


def test_the_file_says_what_cvat_says_itself(tmp_path: Path) -> None:
    shapes = (
        BoxShape("car", (1, 2.5, 30, 40.125), 1, occluded=True, source="auto", attributes=(("score", "0.90"),)),
        PolygonShape("floor", np.array([(0, 24), (64, 24), (64.0, 48.0)])),
        MaskShape("floor", np.array([1, 3, 2]), (5, 6, 3, 2), source="auto"),
    )
    labels = [
        CvatLabel("car", "#ff0000", (CvatAttribute("score", "number", ("0", "1", "0.01"), "1"),)),
        "floor",
    ]
    write_cvat(tmp_path / "new" / "a.xml", labels, [AnnotatedImage("drive-000003.png", WIDTH, HEIGHT, shapes)])
    text = (tmp_path / "new" / "a.xml").read_text(encoding="utf-8")
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
    root = ElementTree.fromstring(text)
    assert root.findtext("version") == "1.1"
    assert (root.findtext("meta/task/name"), root.findtext("meta/task/size")) == ("a", "1")
    car, floor = root.findall("meta/task/labels/label")
    assert [(child.tag, child.text) for child in car if child.tag != "attributes"] == [
        ("name", "car"),
        ("color", "#ff0000"),
        ("type", "any"),
    ]
    assert [(child.tag, child.text) for child in car.findall("attributes/attribute/*")] == [
        ("name", "score"),
        ("mutable", "False"),
        ("input_type", "number"),
        ("default_value", "1"),
        ("values", "0\n1\n0.01"),
    ]
    assert (floor.findtext("name"), floor.find("color"), floor.findall("attributes/attribute")) == ("floor", None, [])
    (image,) = root.findall("image")
    assert image.attrib == {"id": "0", "name": "drive-000003.png", "width": "64", "height": "48"}
    box, polygon, mask = image
    assert list(box.attrib.items()) == [
        ("label", "car"),
        ("source", "auto"),
        ("occluded", "1"),
        ("xtl", "1.00"),
        ("ytl", "2.50"),
        ("xbr", "30.00"),
        ("ybr", "40.125"),  # two decimals would lose one
        ("z_order", "1"),
    ]
    assert [(child.tag, child.attrib, child.text) for child in box] == [("attribute", {"name": "score"}, "0.90")]
    assert list(polygon.attrib.items()) == [
        ("label", "floor"),
        ("occluded", "0"),
        ("points", "0.00,24.00;64.00,24.00;64.00,48.00"),
        ("z_order", "0"),
    ]
    assert list(mask.attrib.items()) == [
        ("label", "floor"),
        ("source", "auto"),
        ("occluded", "0"),
        ("rle", "1, 3, 2"),
        ("left", "5"),
        ("top", "6"),
        ("width", "3"),
        ("height", "2"),
        ("z_order", "0"),
    ]


# Whatever XML can hold.
texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Z", "Cc")), max_size=8).map(
    lambda text: "".join(c for c in text if c in "\t\n\r" or (ord(c) >= 0x20 and c not in "\ufffe\uffff"))
)
labels = st.text(string.printable[:95] + "äß漢", min_size=1, max_size=8)
pixels = st.floats(-100, 100) | st.integers(0, 64).map(float) | st.integers(0, 6400).map(lambda value: value / 100)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    label, z_order = draw(labels), draw(st.integers(-3, 10**6))
    said: dict[str, Any] = {
        "occluded": draw(st.booleans()),
        "source": draw(texts),
        "attributes": tuple(draw(st.lists(st.tuples(texts, texts), max_size=2))),
    }
    kind = draw(st.sampled_from(["box", "polygon", "mask"]))
    if kind == "box":
        (x1, x2), (y1, y2) = sorted((draw(pixels), draw(pixels))), sorted((draw(pixels), draw(pixels)))
        return BoxShape(label, (x1, y1, x2, y2), z_order, draw(st.booleans()), **said)
    if kind == "polygon":
        points = draw(st.lists(st.tuples(pixels, pixels), min_size=3, max_size=6))
        return PolygonShape(label, np.array(points), z_order, **said)
    left, top = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    width, height = draw(st.integers(1, WIDTH - left)), draw(st.integers(1, HEIGHT - top))
    cuts = sorted(draw(st.lists(st.integers(0, width * height), max_size=6)))
    runs = np.diff([0, *cuts, width * height])
    return MaskShape(label, runs, (left, top, width, height), z_order, **said)


@given(st.lists(st.lists(shapes(), max_size=4), min_size=1, max_size=3), st.lists(labels, max_size=3))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_back_equal(tmp_path: Path, drawn: list[list[Shape]], declared: list[str]) -> None:
    images = [
        AnnotatedImage(f"a drive-{number:06d}.png", WIDTH, HEIGHT, tuple(members))
        for number, members in enumerate(drawn)
    ]
    path = tmp_path / "a.xml"
    write_cvat(path, declared, images, force=True)
    file = read_cvat(path)
    assert list(file.labels) == [label.strip() for label in declared if label.strip()]
    assert len(file.images) == len(images)
    for read, image in zip(file.images, images, strict=True):
        assert (read.name, read.width, read.height) == (image.name, WIDTH, HEIGHT)
        assert comparable(read.shapes) == comparable(image.shapes)
    written = path.read_bytes()
    write_cvat(path, declared, images, force=True)
    assert path.read_bytes() == written


def test_nothing_is_overwritten_without_force_and_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    write_cvat(path, ["car"], [])
    before = path.read_bytes()
    with pytest.raises(UsageError, match="--force"):
        write_cvat(path, ["truck"], [])
    with pytest.raises(MayhemError, match="XML cannot hold"):
        write_cvat(path, ["car\x00"], [], force=True)
    with pytest.raises(ValueError, match="<cuboid> of 'crate'"):
        write_cvat(path, [], [AnnotatedImage("a-000000.png", 9, 9, (OtherShape("crate", "cuboid"),))], force=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
