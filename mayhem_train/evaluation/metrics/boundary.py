"""Boundary F1: how well the borders of surfaces lie where they should, which IoU hardly shows.

Csurka, Larlus and Perronnin 2013, "What is a good evaluation measure for semantic segmentation?".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_train.datasets.index import UNLABELLED

TOLERANCE = 0.0075
"""How far a border may lie off, as a share of the image's diagonal; the paper's choice (4.5 pixels of 480x360)."""


@dataclass(frozen=True)
class BoundaryMetrics:
    """The borders over a whole dataset.

    Attributes:
        f1: by surface name, 0 to 1, the mean over the images where the surface has a border in truth or prediction;
            None ("n/a") where no image has one. Background has none of its own: its borders are the surfaces'.
        mean_f1: mean over the surfaces that are not None.
    """

    f1: dict[str, float | None]
    mean_f1: float | None


class BoundaryScorer:
    """Collects the borders of one evaluation, mask by mask; a new evaluation takes a new scorer.

    Args:
        class_names: the name of each mask value, "background" first.
        tolerance: how far a border may lie off, as a share of the image's diagonal.
    """

    def __init__(self, class_names: Sequence[str], tolerance: float = TOLERANCE) -> None:
        self._surfaces = tuple(enumerate(class_names))[1:]
        self._tolerance = tolerance
        self._scores: dict[str, list[float]] = {name: [] for _, name in self._surfaces}

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Adds one mask; where the truth is 255, nothing is a border and nothing is judged.

        Args:
            truth: uint8 [H, W] of class numbers.
            predicted: uint8 [H, W] of class numbers.
        """
        distance = self._tolerance * math.hypot(*truth.shape)
        predicted = np.where(truth == UNLABELLED, UNLABELLED, predicted).astype(np.uint8)
        for value, name in self._surfaces:
            score = boundary_f1(boundary(truth, value), boundary(predicted, value), distance)
            if score is not None:
                self._scores[name].append(score)

    def compute(self) -> BoundaryMetrics:
        """The metrics over every mask added so far."""
        f1 = {name: float(np.mean(scores)) if scores else None for name, scores in self._scores.items()}
        counted = [value for value in f1.values() if value is not None]
        return BoundaryMetrics(f1, float(np.mean(counted)) if counted else None)


def boundary(mask: NDArray[np.uint8], value: int) -> NDArray[np.bool_]:
    """bool [H, W]: pixels of this value beside (4-neighbours) one of another; the image's edge is no border.

    Pixels beside unlabelled ones only are none either: nobody said where the surface ends there.
    """
    others = ((mask != value) & (mask != UNLABELLED)).astype(np.uint8)
    return (mask == value) & (cv2.dilate(others, _CROSS) > 0)


def boundary_f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], distance: float) -> float | None:
    """F1 of two borders, bool [H, W]; None where there is neither.

    Precision is the share of the predicted border's pixels that lie within `distance` pixels of the true border,
    recall the share of the true border's within it of the predicted one.
    """
    if not truth.any() and not predicted.any():
        return None
    if not truth.any() or not predicted.any():
        return 0.0
    precision = float((_distance_to(truth)[predicted] <= distance).mean())
    recall = float((_distance_to(predicted)[truth] <= distance).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def _distance_to(border: NDArray[np.bool_]) -> NDArray[np.float32]:
    """float32 [H, W]: each pixel's Euclidean distance to the nearest pixel of the border."""
    return cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float32)
