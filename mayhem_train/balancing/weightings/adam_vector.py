"""A vector that Adam moves by given gradients, kept in checkpoints with its moments."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AdamVector(nn.Module):
    """A float vector [K] outside the network's optimiser (Kingma and Ba 2015).

    Args:
        start: its first value, float [K].
        learning_rate: Adam's.
        weight_decay: Adam's, added to the gradient.
    """

    value: Tensor
    mean: Tensor
    square: Tensor
    steps: Tensor

    def __init__(self, start: Tensor, learning_rate: float, weight_decay: float = 0.0):
        super().__init__()
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.register_buffer("value", start.clone())
        self.register_buffer("mean", torch.zeros_like(start))
        self.register_buffer("square", torch.zeros_like(start))
        self.register_buffer("steps", torch.zeros_like(start, dtype=torch.int64))

    def step(self, gradient: Tensor, moved: Tensor) -> None:
        """One step of Adam of those numbers that are to be moved (bool [K]); a gradient that is not finite is none."""
        if not torch.isfinite(gradient).all():
            return
        gradient = gradient + self.weight_decay * self.value
        self.steps += moved
        self.mean.lerp_(gradient, 0.1 * moved.to(gradient))
        self.square.lerp_(gradient**2, 0.001 * moved.to(gradient))
        mean = self.mean / (1 - 0.9**self.steps)
        square = self.square / (1 - 0.999**self.steps)
        change = self.learning_rate * mean / (square.sqrt() + 1e-8)
        self.value -= torch.where(moved, change, 0.0)
