"""What a model says about one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """Boxes and mask of one image, in that image's own pixels. Tasks the model does not have are None.

    Attributes:
        boxes: float32 [K, 4], xyxy, best score first.
        scores: float32 [K], 0 to 1.
        labels: int64 [K], detection class ids of the model card.
        mask: uint8 [H, W], segmentation class ids of the model card, 0 is background.
        mask_confidence: uint8 [H, W], the winning class's probability times 255.
    """

    boxes: NDArray[np.float32] | None = None
    scores: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    mask: NDArray[np.uint8] | None = None
    mask_confidence: NDArray[np.uint8] | None = None

    def above(self, thresholds: Mapping[int, float]) -> Prediction:
        """The same without the boxes that score less than their class's threshold (class id to 0..1)."""
        if self.scores is None or self.labels is None or self.boxes is None:
            return self
        floor = np.array([thresholds[int(label)] for label in self.labels], np.float32)
        keep = self.scores >= floor
        return replace(self, boxes=self.boxes[keep], scores=self.scores[keep], labels=self.labels[keep])
