"""Writes "CVAT for images 1.1": annotations that were generated, as CVAT itself would write and read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.annotations.cvat.shape_elements import IS_CROWD
from mayhem_train.datasets.annotations.shapes import (
    AnnotatedImage,
    BoxShape,
    MaskShape,
    OtherShape,
    PolygonShape,
    Shape,
)
from mayhem_train.outputs import whole_file

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class CvatAttribute:
    """An attribute that a label's shapes may carry, as CVAT declares it.

    Attributes:
        name: its name.
        input_type: how CVAT lets people enter it.
        values: the choices of "select" and "radio"; of "number" its minimum, maximum and step.
        default_value: what a new shape has.
        mutable: it may change from frame to frame of a track.
    """

    name: str
    input_type: Literal["text", "number", "select", "radio", "checkbox"] = "text"
    values: tuple[str, ...] = ()
    default_value: str = ""
    mutable: bool = False


@dataclass(frozen=True)
class CvatLabel:
    """A label as a CVAT task declares it: `colour` is "#rrggbb", or empty to let CVAT choose."""

    name: str
    colour: str = ""
    attributes: tuple[CvatAttribute, ...] = ()


def write_cvat(
    path: Path, labels: Sequence[str | CvatLabel], images: Iterable[AnnotatedImage], *, force: bool = False
) -> None:
    """Writes one file, whole or not at all; the same input gives the same bytes, and `read_cvat` the same shapes.

    CVAT shows a shape's attributes only where the task that the file is uploaded to declares them.

    Args:
        path: the file to write.
        labels: what the task declares, in its order.
        images: the images in their order; their ids count from 0.
        force: replace an existing file.

    Raises:
        UsageError: `path` exists.
        MayhemError: it cannot be written, or a name holds a character that XML cannot hold.
        ValueError: an image holds an `OtherShape`, whose outline nobody knows.
    """
    images = list(images)
    with whole_file(path, force=force) as partial, partial.open("w", encoding="utf-8", newline="\n") as stream:
        for line in _document(path.stem, [CvatLabel(x) if isinstance(x, str) else x for x in labels], images):
            refuse_unwritable(line, path)
            stream.write(line + "\n")


def number_text(value: float) -> str:
    """Two decimals, as CVAT writes; all digits where two would lose some."""
    short = f"{value:.2f}"
    return short if float(short) == value else repr(float(value))


def refuse_unwritable(text: str, path: Path) -> None:
    """Raises MayhemError where `text`, to be written to `path`, holds a character that no XML can hold."""
    bad = _NOT_XML.search(text)
    if bad is not None:
        line = text[max(0, bad.start() - 40) : bad.end()].strip()
        raise MayhemError(f"Cannot write {path}: {line!r} ends with a character that XML cannot hold: rename it.")


def _document(task: str, labels: Sequence[CvatLabel], images: Sequence[AnnotatedImage]) -> Iterator[str]:
    yield DECLARATION.rstrip()
    yield "<annotations>"
    yield "  <version>1.1</version>"
    yield "  <meta>"
    yield "    <task>"
    yield f"      <name>{_text(task)}</name>"
    yield f"      <size>{len(images)}</size>"
    yield "      <mode>annotation</mode>"
    yield "      <overlap>0</overlap>"
    yield "      <labels>"
    for label in labels:
        yield from _label(label)
    yield "      </labels>"
    yield "    </task>"
    yield "  </meta>"
    for number, image in enumerate(images):
        size = f'width="{image.width}" height="{image.height}"'
        yield f'  <image id="{number}" name={_quoted(image.name)} {size}>'
        for shape in image.shapes:
            yield from _shape(shape)
        yield "  </image>"
    yield "</annotations>"


def _label(label: CvatLabel) -> Iterator[str]:
    yield "        <label>"
    yield f"          <name>{_text(label.name)}</name>"
    if label.colour:
        yield f"          <color>{_text(label.colour)}</color>"
    yield "          <type>any</type>"
    yield "          <attributes>"
    for attribute in label.attributes:
        yield "            <attribute>"
        yield f"              <name>{_text(attribute.name)}</name>"
        yield f"              <mutable>{attribute.mutable}</mutable>"
        yield f"              <input_type>{attribute.input_type}</input_type>"
        yield f"              <default_value>{_text(attribute.default_value)}</default_value>"
        yield f"              <values>{_text(chr(10).join(attribute.values))}</values>"
        yield "            </attribute>"
    yield "          </attributes>"
    yield "        </label>"


def _shape(shape: Shape) -> Iterator[str]:
    tag, outline = _outline(shape)
    said = {"label": shape.label, **({"source": shape.source} if shape.source else {})}
    said |= {"occluded": str(int(shape.occluded)), **outline}
    yield f"    <{tag} {' '.join(f'{name}={_quoted(value)}' for name, value in said.items())}>"
    crowd = [IS_CROWD] if isinstance(shape, BoxShape) and shape.is_crowd else []
    for name, value in (*shape.attributes, *crowd):
        yield f"      <attribute name={_quoted(name)}>{_text(value)}</attribute>"
    yield f"    </{tag}>"


def _outline(shape: Shape) -> tuple[str, dict[str, str]]:
    """The element's name, and the attributes that say where the shape is."""
    if isinstance(shape, OtherShape):
        raise ValueError(f"The <{shape.kind}> of {shape.label!r} has no outline to write.")
    z_order = {"z_order": str(shape.z_order)}
    if isinstance(shape, BoxShape):
        corners = zip(("xtl", "ytl", "xbr", "ybr"), shape.box, strict=True)
        return "box", {side: number_text(value) for side, value in corners} | z_order
    if isinstance(shape, PolygonShape):
        points = ";".join(f"{number_text(x)},{number_text(y)}" for x, y in shape.points.tolist())
        return "polygon", {"points": points} | z_order
    assert isinstance(shape, MaskShape)
    window = zip(("left", "top", "width", "height"), shape.window, strict=True)
    runs = ", ".join(map(str, shape.runs.tolist()))
    return "mask", {"rle": runs} | {side: str(int(value)) for side, value in window} | z_order


def _text(value: str) -> str:
    return escape(value, {"\r": "&#13;"})  # a bare one is read back as a line feed


def _quoted(value: str) -> str:
    return quoteattr(value)
