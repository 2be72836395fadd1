"""Which score is worth publishing: per class the threshold with the best F1 on validation images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MATCH_IOU = 0.5
# For a class that validation does not show: nothing to choose by, so the middle.
UNKNOWN_THRESHOLD = 0.5


class ScoreThresholdChooser:
    """Collects matched predictions of one evaluation, image by image.

    Args:
        class_names: label k is `class_names[k - 1]`.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._class_names = tuple(class_names)
        self._scores: list[list[float]] = [[] for _ in class_names]
        self._hits: list[list[bool]] = [[] for _ in class_names]
        self._objects = [0] * len(self._class_names)

    def add(
        self,
        truth_boxes: NDArray[np.floating],
        truth_labels: NDArray[np.int64],
        boxes: NDArray[np.floating],
        scores: NDArray[np.floating],
        labels: NDArray[np.int64],
    ) -> None:
        """Adds one image: boxes [N, 4] xyxy of one frame of reference, labels from 1.

        As in COCO, predictions take their object in the order of their scores, each object once, at IoU 0.5.
        """
        for k in range(len(self._class_names)):
            truth = truth_boxes[truth_labels == k + 1]
            found = np.flatnonzero(labels == k + 1)
            self._objects[k] += len(truth)
            free = np.ones(len(truth), bool)
            for place in found[np.argsort(-scores[found], kind="stable")]:
                overlaps = _iou(boxes[place], truth) * free
                hit = bool(len(truth)) and bool(overlaps.max() >= MATCH_IOU)
                if hit:
                    free[overlaps.argmax()] = False
                self._scores[k].append(float(scores[place]))
                self._hits[k].append(hit)

    def compute(self) -> dict[str, float]:
        """Per class the threshold; predictions scored at least that much are kept."""
        return {
            name: _best_threshold(np.asarray(self._scores[k]), np.asarray(self._hits[k], bool), self._objects[k])
            for k, name in enumerate(self._class_names)
        }


def _best_threshold(scores: NDArray[np.float64], hits: NDArray[np.bool_], objects: int) -> float:
    """The middle between the last score kept and the first left out where F1 = 2 TP / (kept + objects) is best."""
    if not objects or not hits.any():
        return UNKNOWN_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    f1 = 2 * np.cumsum(hits) / (np.arange(1, len(scores) + 1) + objects)
    # Equal scores stand or fall together, so only the last of each run is a place to cut.
    f1[:-1][scores[:-1] == scores[1:]] = -1
    best = int(f1.argmax())
    below = scores[best + 1] if best + 1 < len(scores) else 0.0
    return float((scores[best] + below) / 2)


def _iou(box: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.floating]:
    """Intersection over union of one box with [M, 4] others, all xyxy."""
    corners_low = np.maximum(box[:2], others[:, :2])
    corners_high = np.minimum(box[2:], others[:, 2:])
    intersection = np.clip(corners_high - corners_low, 0, None).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - intersection
    return intersection / np.maximum(union, np.finfo(np.float32).tiny)
