"""COCO average precision of boxes: mAP, AP50, AP75 and the same per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import ArrayLike, NDArray

MAX_DETECTIONS = 100
"""COCO looks at the 100 best-scored boxes of an image and class, no further."""


@dataclass(frozen=True)
class ClassAP:
    """Average precision of one class, 0 to 1; None ("n/a") where the class has no ground truth."""

    ap: float | None
    ap50: float | None
    ap75: float | None


@dataclass(frozen=True)
class DetectionMetrics:
    """COCO's box metrics over a whole dataset; the means are over the classes that have ground truth.

    Attributes:
        map: mean AP over IoU 0.50:0.05:0.95, or None where nothing is labelled.
        ap50: mean AP at IoU 0.50.
        ap75: mean AP at IoU 0.75.
        per_class: by class name, in the order the scorer was given.
    """

    map: float | None
    ap50: float | None
    ap75: float | None
    per_class: dict[str, ClassAP]


class DetectionScorer:
    """Collects the boxes of one evaluation, image by image; a new evaluation takes a new scorer.

    Example:
        >>> scorer = DetectionScorer(["person", "box"])
        >>> scorer.add(1, [[10, 10, 50, 90]], [1], [False], [[11, 9, 52, 88]], [0.9], [1])
        >>> scorer.compute().ap50
        1.0
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._class_names = tuple(class_names)
        self._images: set[int] = set()
        self._truth: list[dict[str, Any]] = []
        self._predictions: list[dict[str, Any]] = []

    def add(
        self,
        image_id: int,
        truth_boxes: ArrayLike,
        truth_labels: ArrayLike,
        truth_crowd: ArrayLike,
        boxes: ArrayLike,
        scores: ArrayLike,
        labels: ArrayLike,
    ) -> None:
        """Adds one image; an image without any box counts too.

        Args:
            image_id: anything unique within this evaluation.
            truth_boxes: [M, 4], xyxy, source pixels.
            truth_labels: [M], label k is `class_names[k - 1]`.
            truth_crowd: [M], True where a box stands for a crowd: covering it is neither right nor wrong.
            boxes: predictions [K, 4], xyxy, source pixels.
            scores: [K], 0 to 1.
            labels: [K], as `truth_labels`.

        Raises:
            ValueError: the image was added before, a label is no class, or the lengths differ.
        """
        if image_id in self._images:
            raise ValueError(f"image {image_id} was added before")
        truth_rows = list(zip(_xywh(truth_boxes), self._labels(truth_labels), _flat(truth_crowd), strict=True))
        rows = list(zip(_xywh(boxes), self._labels(labels), _flat(scores), strict=True))
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
        truth = self._coco(self._truth)
        evaluation = COCOeval_faster(truth, self._coco(self._predictions), iouType="bbox")
        evaluation.params.imgIds = sorted(self._images)
        evaluation.params.catIds = list(range(1, len(self._class_names) + 1))
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        if not self._images or not self._class_names:
            precision = np.full((len(evaluation.params.iouThrs), 1, len(self._class_names)), -1.0)
        else:
            evaluation.evaluate()
            evaluation.accumulate()
            precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, 0]  # [IoU threshold, recall, class]
        at50 = int(np.argmin(np.abs(evaluation.params.iouThrs - 0.50)))
        at75 = int(np.argmin(np.abs(evaluation.params.iouThrs - 0.75)))
        per_class = {
            name: ClassAP(_mean(precision[:, :, k]), _mean(precision[at50, :, k]), _mean(precision[at75, :, k]))
            for k, name in enumerate(self._class_names)
        }
        return DetectionMetrics(_mean(precision), _mean(precision[at50]), _mean(precision[at75]), per_class)

    def _labels(self, labels: ArrayLike) -> list[int]:
        numbers = [int(label) for label in _flat(labels)]
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


def _flat(values: ArrayLike) -> NDArray[Any]:
    return np.asarray(values).reshape(-1)


def _xywh(boxes: ArrayLike) -> list[list[float]]:
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    return [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in corners.tolist()]


def _mean(precision: NDArray[np.float64]) -> float | None:
    """COCO marks what has no ground truth by -1."""
    counted = precision[precision > -1]
    return float(counted.mean()) if counted.size else None
