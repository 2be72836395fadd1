"""Pictures for a report: a frame with its truth and its prediction drawn over it as scalable shapes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_ros.model_card import ModelCard
from mayhem_ros.prediction import Prediction
from mayhem_train.datasets.index import BACKGROUND, UNLABELLED, DatasetIndex, LabelledImage

WIDTH = 640
"""Frames wider than this are scaled down to it, so that a report stays small enough to mail."""

_JPEG_QUALITY = 82
_THING_COLOURS = ("#ff8c1a", "#29b6f6", "#ff4d8d", "#a5e84a", "#b388ff", "#ffd740", "#4dd0c4", "#ff7f6b")
_SURFACE_COLOURS = ("#19d3a2", "#e0559b", "#5b8cff", "#e6c229")


@dataclass(frozen=True)
class BoxShape:
    """A box in source pixels, with what stands on its label."""

    x: float
    y: float
    width: float
    height: float
    label: str
    colour: str


@dataclass(frozen=True)
class SurfaceShape:
    """A surface as an SVG path in source pixels, holes by the even-odd rule."""

    name: str
    path: str
    colour: str


@dataclass(frozen=True)
class Panel:
    """What is drawn over one copy of the frame."""

    surfaces: tuple[SurfaceShape, ...]
    boxes: tuple[BoxShape, ...]


@dataclass(frozen=True)
class Picture:
    """One frame of a report; the JPEG appears once and each panel draws over it.

    Attributes:
        name: the frame's name.
        caption: what to know about it.
        width, height: of the source image, pixels.
        jpeg: the image as a data URI.
        truth: the labels, or None where there are none.
        prediction: what the node published above the model card's thresholds.
    """

    name: str
    caption: str
    width: int
    height: int
    jpeg: str
    truth: Panel | None
    prediction: Panel


def class_colours(things: Sequence[str], surfaces: Sequence[str]) -> dict[str, str]:
    """A colour a class, the same in every picture of a report."""
    colours = {name: _THING_COLOURS[k % len(_THING_COLOURS)] for k, name in enumerate(things)}
    return colours | {name: _SURFACE_COLOURS[k % len(_SURFACE_COLOURS)] for k, name in enumerate(surfaces)}


def colours_of(labels: DatasetIndex | None, card: ModelCard) -> dict[str, str]:
    """The colours of the labels' classes and of those that only the model knows."""
    things = [] if labels is None else [category.name for category in labels.things]
    surfaces = [] if labels is None else [category.name for category in labels.surfaces]
    things += [c.name for c in card.detection_classes if c.name not in things]
    surfaces += [c.name for c in card.segmentation_classes if c.id != BACKGROUND and c.name not in surfaces]
    return class_colours(things, surfaces)


def truth_panel(index: DatasetIndex, image: LabelledImage, colours: Mapping[str, str]) -> Panel:
    """The labels of one frame."""
    names = {category.id: category.name for category in index.categories}
    boxes = []
    for label in image.boxes:
        x1, y1, x2, y2 = label.box
        name = names[label.category_id]
        shown = f"{name} (crowd)" if label.is_crowd else name
        boxes.append(BoxShape(x1, y1, x2 - x1, y2 - y1, shown, colours[name]))
    surfaces = {number: category.name for number, category in enumerate(index.surfaces, start=1)}
    return Panel(_surfaces(index.mask(image), surfaces, colours), tuple(boxes))


def prediction_panel(card: ModelCard, prediction: Prediction, colours: Mapping[str, str]) -> Panel:
    """What was predicted for one frame, boxes above the model card's thresholds only."""
    names = {c.id: c.name for c in card.detection_classes}
    shown = prediction.above({c.id: c.score_threshold for c in card.detection_classes})
    boxes = []
    if shown.boxes is not None and shown.scores is not None and shown.labels is not None:
        for (x1, y1, x2, y2), score, label in zip(
            shown.boxes.tolist(), shown.scores.tolist(), shown.labels.tolist(), strict=True
        ):
            name = names[label]
            boxes.append(BoxShape(x1, y1, x2 - x1, y2 - y1, f"{name} {score:.2f}", colours[name]))
    surfaces = {c.id: c.name for c in card.segmentation_classes if c.id != BACKGROUND}
    mask = np.zeros((0, 0), np.uint8) if prediction.mask is None else prediction.mask
    return Panel(_surfaces(mask, surfaces, colours), tuple(boxes))


def jpeg_data_uri(image: NDArray[np.uint8]) -> str:
    """uint8 [H, W, 3] RGB as a JPEG in a data URI, at most `WIDTH` pixels wide."""
    height, width = image.shape[:2]
    if width > WIDTH:
        size = (WIDTH, max(1, round(height * WIDTH / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def png_data_uri(data: bytes) -> str:
    """A PNG file's bytes in a data URI."""
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _surfaces(
    mask: NDArray[np.uint8], names: Mapping[int, str], colours: Mapping[str, str]
) -> tuple[SurfaceShape, ...]:
    shapes = []
    for value, name in names.items():
        if value != UNLABELLED and (path := _outline(mask == value)):
            shapes.append(SurfaceShape(name, path, colours[name]))
    return tuple(shapes)


def _outline(mask: NDArray[np.bool_]) -> str:
    """The mask's border as an SVG path, true to about a pixel."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, 0.8, closed=True).reshape(-1, 2)
        if len(points) >= 3:
            parts.append("M" + "L".join(f"{x + 0.5:g} {y + 0.5:g}" for x, y in points.tolist()) + "Z")
    return "".join(parts)
