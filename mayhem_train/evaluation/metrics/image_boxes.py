"""The boxes of one image as every box metric takes them: the true ones and the predicted ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ImageBoxes:
    """What is in one image and what was found there, all in source pixels.

    Attributes:
        truth: [M, 4], xyxy.
        truth_labels: [M], class numbers counted from 1.
        crowd: [M], True where a true box stands for a crowd: a prediction that only lies on it is neither right nor
            wrong.
        boxes: the predictions [N, 4], xyxy.
        scores: [N], 0 to 1.
        labels: [N], as `truth_labels`.
    """

    truth: NDArray[np.floating]
    truth_labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    boxes: NDArray[np.floating]
    scores: NDArray[np.floating]
    labels: NDArray[np.int64]

    def predicted(self, chosen: NDArray[np.bool_]) -> ImageBoxes:
        """The same truth with only the chosen predictions, bool [N]."""
        return replace(self, boxes=self.boxes[chosen], scores=self.scores[chosen], labels=self.labels[chosen])
