"""COCO average precision of boxes: mAP, AP50, AP75, by object size, and all of it per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from mayhem_train.evaluation.metrics.image_boxes import ImageBoxes

MAX_DETECTIONS = 100
"""COCO looks at the 100 best-scored boxes of an image and class, no further."""

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""COCO's object sizes: box areas in source pixels."""


@dataclass(frozen=True)
class ClassAP:
    """Average precision of one class, 0 to 1; None ("n/a") where the class has no ground truth (of that size)."""

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None = None
    ap_medium: float | None = None
    ap_large: float | None = None


@dataclass(frozen=True)
class PrecisionRecall:
    """One class's precision over recall at one IoU, as COCO interpolates it.

    Attributes:
        precision: 101 values for recall 0.00, 0.01 … 1.00: the best precision at this recall or a higher one, 0 where
            it is not reached.
    """

    precision: tuple[float, ...]

    @property
    def average(self) -> float:
        """The average precision."""
        return float(np.mean(self.precision))


@dataclass(frozen=True)
class DetectionMetrics:
    """COCO's box metrics over a whole dataset; the means are over the classes that have ground truth.

    Attributes:
        map: mean AP over IoU 0.50:0.05:0.95, or None where nothing is labelled.
        ap50: mean AP at IoU 0.50.
        ap75: mean AP at IoU 0.75.
        ap_small: mAP over objects below 32x32 source pixels; None where no class has such an object.
        ap_medium: over those from there to below 96x96.
        ap_large: over the others.
        per_class: by class name, in the order the scorer was given.
    """

    map: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    per_class: dict[str, ClassAP]


class DetectionScorer:
    """Collects the boxes of one evaluation, image by image; a new evaluation takes a new scorer.

    Example:
        >>> scorer = DetectionScorer(["person", "box"])
        >>> truth, found = np.array([[10, 10, 50, 90]]), np.array([[11, 9, 52, 88]])
        >>> one = np.array([1])
        >>> scorer.add(1, ImageBoxes(truth, one, np.array([False]), found, np.array([0.9]), one))
        >>> scorer.compute().ap50
        1.0
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._class_names = tuple(class_names)
        self._images: set[int] = set()
        self._truth: list[dict[str, Any]] = []
        self._predictions: list[dict[str, Any]] = []

    def add(self, image_id: int, image: ImageBoxes) -> None:
        """Adds one image; an image without any box counts too.

        Args:
            image_id: anything unique within this evaluation.
            image: its boxes; label k is `class_names[k - 1]`.

        Raises:
            ValueError: the image was added before, a label is no class, or the lengths differ.
        """
        if image_id in self._images:
            raise ValueError(f"image {image_id} was added before")
        truth_rows = list(zip(_xywh(image.truth), self._labels(image.truth_labels), image.crowd, strict=True))
        rows = list(zip(_xywh(image.boxes), self._labels(image.labels), image.scores, strict=True))
        self._images.add(image_id)
        for box, label, crowd in truth_rows:
            self._truth.append(
                {
                    "id": len(self._truth) + 1,  # COCO's matching takes the id 0 for "unmatched"
                    "image_id": image_id,
                    "category_id": label,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(crowd),
                }
            )
        for box, label, score in rows:
            self._predictions.append(
                {
                    "id": len(self._predictions) + 1,
                    "image_id": image_id,
                    "category_id": label,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "score": float(score),
                }
            )

    def compute(self) -> DetectionMetrics:
        """The metrics over every image added so far."""
        precision = self._precision([_ALL, *SIZES.values()])
        overall = _figures(precision)
        per_class = {name: ClassAP(**_figures(precision[:, :, [k]])) for k, name in enumerate(self._class_names)}
        return DetectionMetrics(
            map=overall["ap"],
            **{name: value for name, value in overall.items() if name != "ap"},
            per_class=per_class,
        )

    def precision_recall(self, iou: float) -> dict[str, PrecisionRecall]:
        """By class name the curve at an IoU of 0.50, 0.55 … 0.95; classes without ground truth have none."""
        precision = self._precision([_ALL])[_threshold(iou), :, :, 0]
        curves = {name: precision[:, k] for k, name in enumerate(self._class_names)}
        return {name: PrecisionRecall(tuple(c.tolist())) for name, c in curves.items() if (c > -1).all()}

    def _precision(self, areas: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
        """[IoU threshold, recall, class, area]; -1 where a class has no ground truth of that area."""
        if not self._images or not self._class_names:
            return np.full((len(_IOU_THRESHOLDS), 101, len(self._class_names), len(areas)), -1.0)
        evaluation = COCOeval_faster(self._coco(self._truth), self._coco(self._predictions), iouType="bbox")
        evaluation.params.imgIds = sorted(self._images)
        evaluation.params.catIds = list(range(1, len(self._class_names) + 1))
        evaluation.params.areaRng = [list(area) for area in areas]
        evaluation.params.areaRngLbl = [str(area) for area in areas]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
        return np.asarray(evaluation.eval["precision"])[..., 0]

    def _labels(self, labels: NDArray[np.int64]) -> list[int]:
        numbers = [int(label) for label in labels]
        for number in numbers:
            if not 1 <= number <= len(self._class_names):
                raise ValueError(f"label {number} is none of the {len(self._class_names)} classes, counted from 1")
        return numbers

    def _coco(self, annotations: list[dict[str, Any]]) -> COCO:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image_id} for image_id in sorted(self._images)],
            "categories": [{"id": k, "name": name} for k, name in enumerate(self._class_names, start=1)],
            "annotations": annotations,
        }
        coco.createIndex()
        return coco


_ALL = (0.0, 1e10)
_IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)


def _figures(precision: NDArray[np.float64]) -> dict[str, float | None]:
    """The averages of [IoU threshold, recall, class, area], area "all" first and then the sizes."""
    everything = precision[..., 0]
    return {
        "ap": _mean(everything),
        "ap50": _mean(everything[_threshold(0.50)]),
        "ap75": _mean(everything[_threshold(0.75)]),
        **{f"ap_{size}": _mean(precision[..., place]) for place, size in enumerate(SIZES, start=1)},
    }


def _threshold(iou: float) -> int:
    return int(np.argmin(np.abs(_IOU_THRESHOLDS - iou)))


def _xywh(boxes: NDArray[np.floating]) -> list[list[float]]:
    return [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in boxes.astype(np.float64).tolist()]


def _mean(precision: NDArray[np.float64]) -> float | None:
    """COCO marks what has no ground truth by -1."""
    counted = precision[precision > -1]
    return float(counted.mean()) if counted.size else None
