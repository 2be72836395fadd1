"""Which score is worth publishing: per class the threshold with the best F1 on validation images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mayhem_train.evaluation.metrics.box_matching import match_boxes
from mayhem_train.evaluation.metrics.image_boxes import ImageBoxes

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

    def add(self, image: ImageBoxes) -> None:
        """Adds one image; predictions that only lie on a crowd are not judged."""
        for k in range(len(self._class_names)):
            of_class = image.truth_labels == k + 1
            found = np.flatnonzero(image.labels == k + 1)
            found = found[np.argsort(-image.scores[found], kind="stable")]
            matches = match_boxes(image.boxes[found], image.truth[of_class], image.crowd[of_class])
            judged = matches.right | matches.wrong
            self._objects[k] += int((~image.crowd[of_class]).sum())
            self._scores[k].extend(image.scores[found][judged].tolist())
            self._hits[k].extend(matches.right[judged].tolist())

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
