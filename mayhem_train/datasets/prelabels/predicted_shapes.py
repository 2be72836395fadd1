"""Draws a model's predictions as people would draw them: boxes with scores, surfaces as polygons or masks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import UsageError
from mayhem_ros.onnx_model import OnnxModel
from mayhem_ros.prediction import Prediction
from mayhem_train.datasets.annotations.classes import BACKGROUND_LABEL
from mayhem_train.datasets.annotations.contours import mask_shape, outline_parts
from mayhem_train.datasets.annotations.cvat.writing import CvatAttribute, CvatLabel
from mayhem_train.datasets.annotations.shapes import BoxShape, PolygonShape, Shape
from mayhem_train.datasets.index import BACKGROUND

POLYGON, MASK, NONE = "polygon", "mask", "none"
SURFACES = (POLYGON, MASK, NONE)
"""How surfaces are drawn."""

SOURCE = "auto"
SCORE = "score"


class Draughtsman:
    """Draws predictions as the shapes that people would draw.

    Boxes have the source "auto" and an attribute "score". A surface is one mask, or one polygon a connected part,
    within `tolerance` of the pixels' edges; a hole in it is a polygon labelled "background" (or what else lies in it)
    of higher z-order.

    Attributes:
        model: whose predictions they are.
        thresholds: detection class id to the score from which on its boxes are drawn.
        labels: what a CVAT task for these shapes has to declare: things, then surfaces, each in the order of the model
            card, then "background" where it cuts holes.

    Args:
        model: as above.
        surfaces: one of `SURFACES`.
        score_threshold: for all classes; None: each class's own of the model card.
        tolerance: of polygons, in pixels; see `outline_parts`.
        least_area: polygons of fewer pixels are left out.

    Raises:
        UsageError: an argument is out of its range, or nothing would be drawn.
    """

    def __init__(
        self,
        model: OnnxModel,
        *,
        surfaces: str = POLYGON,
        score_threshold: float | None = None,
        tolerance: float = 1.0,
        least_area: int = 64,
    ) -> None:
        if surfaces not in SURFACES:
            raise UsageError(f"Surfaces cannot be drawn as {surfaces!r}: choose {', '.join(SURFACES)}.")
        if score_threshold is not None and not 0 <= score_threshold <= 1:
            raise UsageError(f"The score threshold is {score_threshold}: choose one from 0 to 1.")
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise UsageError(f"The tolerance is {tolerance} pixels: choose 0 or more.")
        if least_area < 1:
            raise UsageError(f"The least area is {least_area} pixels: choose 1 or more.")
        if not model.detects and surfaces == NONE:
            raise UsageError(f"{model.path} finds surfaces only: draw them as {POLYGON} or {MASK}.")
        self.model = model
        self.thresholds = {
            kind.id: kind.score_threshold if score_threshold is None else score_threshold
            for kind in model.card.detection_classes
        }
        self._surfaces = surfaces if model.segments else NONE
        self._tolerance = tolerance
        self._least_area = least_area
        self.labels = tuple(self._labels())

    def draw(self, prediction: Prediction, width: int, height: int) -> tuple[Shape, ...]:
        """The shapes of an image of that size, surfaces before boxes.

        Raises:
            MayhemError: the prediction has a class that the model card does not know.
        """
        areas = tuple(self._areas(prediction.mask))
        over_all = 1 + max((shape.z_order for shape in areas if isinstance(shape, PolygonShape)), default=0)
        return (*areas, *self._boxes(prediction, width, height, over_all))

    def _labels(self) -> Iterator[CvatLabel]:
        for thing in self.model.card.detection_classes:
            yield CvatLabel(thing.name, attributes=(CvatAttribute(SCORE),))
        if self._surfaces == NONE:
            return
        for surface in self.model.card.segmentation_classes:
            if surface.id != BACKGROUND:
                yield CvatLabel(surface.name)
        if self._surfaces == POLYGON:
            yield CvatLabel(BACKGROUND_LABEL)

    def _areas(self, mask: NDArray[np.uint8] | None) -> Iterator[Shape]:
        if mask is None or self._surfaces == NONE:
            return
        names = {value: self.model.surface_name(value) for value in np.unique(mask).tolist()}
        if self._surfaces == MASK:
            for value, name in names.items():
                if value != BACKGROUND:
                    yield mask_shape(mask == value, name, source=SOURCE)
        else:
            for outline in outline_parts(mask, tolerance=self._tolerance, least_area=self._least_area):
                yield PolygonShape(names[outline.value], outline.points, outline.depth, source=SOURCE)

    def _boxes(self, prediction: Prediction, width: int, height: int, z_order: int) -> Iterator[Shape]:
        if prediction.boxes is None or prediction.scores is None or prediction.labels is None:
            return
        boxes = np.clip(prediction.boxes.astype(np.float64), 0, (width, height, width, height))
        for (x1, y1, x2, y2), score, label in zip(
            boxes.tolist(), prediction.scores.tolist(), prediction.labels.tolist(), strict=True
        ):
            name = self.model.class_name(label)
            if score >= self.thresholds[label] and x2 > x1 and y2 > y1:
                box = x1, y1, x2, y2
                yield BoxShape(name, box, z_order, source=SOURCE, attributes=((SCORE, f"{score:.3f}"),))
