"""What the heads learn from: the truth of one batch."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Targets(Protocol):
    """The truth of N images of one size.

    Attributes:
        boxes: per image float32 [M, 4], xyxy in pixels of the network's input.
        labels: per image int64 [M], 1 to K.
        crowd_boxes: per image float32 [C, 4]: what lies on them is neither object nor background.
        masks: uint8 [N, H, W], 0 background, 1 to S, 255 unlabelled.
    """

    @property
    def boxes(self) -> tuple[Tensor, ...]:
        """Boxes per image."""

    @property
    def labels(self) -> tuple[Tensor, ...]:
        """Labels per image."""

    @property
    def crowd_boxes(self) -> tuple[Tensor, ...]:
        """Crowds per image."""

    @property
    def masks(self) -> Tensor:
        """Masks of the batch."""
