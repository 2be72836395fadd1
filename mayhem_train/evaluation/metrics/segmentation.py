"""Intersection over union of surfaces from one confusion matrix over the whole dataset, background counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BACKGROUND, UNLABELLED = 0, 255


@dataclass(frozen=True)
class SegmentationMetrics:
    """What one confusion matrix says; every ratio is None ("n/a") where it would be 0/0.

    Attributes:
        iou: by class name, background included: TP / (TP + FP + FN) over all pixels of all images.
        mean_iou: mean over the classes that occur in the truth or in the predictions.
        false_rate: by surface name, background left out: of the pixels that are not this surface, the share that is
            called it, FP / (FP + TN). For floor this is the false-floor rate: where the robot believes it may drive.
        pixel_accuracy: share of the labelled pixels that are right.
        confusion: int64 [C, C], pixels; rows are the truth, columns the prediction.
    """

    iou: dict[str, float | None]
    mean_iou: float | None
    false_rate: dict[str, float | None]
    pixel_accuracy: float | None
    confusion: NDArray[np.int64]

    @property
    def recall_like_miou(self) -> float | None:
        """What earlier work called mIoU, for comparison with old tables only.

        torchmetrics' Jaccard index with `ignore_index` on the background: pixels whose truth is background do not
        count at all, so that calling everything floor scores 1.
        """
        surfaces = self.confusion.copy()
        surfaces[BACKGROUND] = 0
        counted = [value for value in intersection_over_union(surfaces)[1:] if value is not None]
        return float(np.mean(counted)) if counted else None


class SegmentationScorer:
    """Counts the pixels of one evaluation, mask by mask; a new evaluation takes a new scorer.

    Args:
        class_names: the name of each mask value, "background" first.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._class_names = tuple(class_names)
        self._confusion = np.zeros((len(self._class_names), len(self._class_names)), np.int64)

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Adds one mask and returns its own confusion matrix; truth pixels of value 255 are not counted.

        Args:
            truth: uint8 [H, W] of class numbers.
            predicted: uint8 [H, W] of class numbers.

        Raises:
            ValueError: the shapes differ or a value is no class.
        """
        confusion = confusion_matrix(truth, predicted, len(self._class_names))
        self._confusion += confusion
        return confusion

    def compute(self) -> SegmentationMetrics:
        """The metrics over every mask added so far."""
        iou = intersection_over_union(self._confusion)
        counted = [value for value in iou if value is not None]
        pixels = int(self._confusion.sum())
        return SegmentationMetrics(
            iou=dict(zip(self._class_names, iou, strict=True)),
            mean_iou=float(np.mean(counted)) if counted else None,
            false_rate=dict(list(zip(self._class_names, false_rates(self._confusion), strict=True))[1:]),
            pixel_accuracy=float(np.trace(self._confusion) / pixels) if pixels else None,
            confusion=self._confusion.copy(),
        )


def confusion_matrix(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """int64 [C, C] pixel counts, rows truth, columns prediction, pixels whose truth is 255 left out.

    Raises:
        ValueError: the shapes differ or a value is no class.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"the truth's shape is {truth.shape} and the prediction's {predicted.shape}")
    # One count over all 65536 pairs of bytes takes less time than picking the labelled pixels out first.
    pairs = np.bincount((truth.astype(np.uint16) << 8 | predicted).ravel(), minlength=1 << 16).reshape(256, 256)
    pairs[UNLABELLED] = 0
    matrix = pairs[:classes, :classes]
    if matrix.sum() != pairs.sum():
        found = np.flatnonzero(pairs.sum(axis=0) + pairs.sum(axis=1))
        raise ValueError(f"a mask holds the values {found.tolist()}, and there are {classes} classes")
    return matrix.astype(np.int64)


def intersection_over_union(confusion: NDArray[np.int64]) -> list[float | None]:
    """IoU of every class of a confusion matrix; None where a class is neither in the truth nor predicted."""
    hits = np.diagonal(confusion)
    unions = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return [float(hit / union) if union else None for hit, union in zip(hits, unions, strict=True)]


def false_rates(confusion: NDArray[np.int64]) -> list[float | None]:
    """Of the pixels that are of another class, the share called this one; None where every pixel is of this class."""
    wrongly = confusion.sum(axis=0) - np.diagonal(confusion)
    others = confusion.sum() - confusion.sum(axis=1)
    return [float(count / total) if total else None for count, total in zip(wrongly, others, strict=True)]
