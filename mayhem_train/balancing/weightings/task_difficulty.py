"""BMTL: the exponential of each loss, so that the harder task counts more."""

from __future__ import annotations

import torch
from torch import Tensor

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.weightings.weighting import LossWeighting


class TaskDifficultyWeighting(LossWeighting):
    """c_k = K softmax(L / T)_k: the gradient of sum_k exp(L_k / T), scaled to a mean of 1 so that nothing overflows.

    Liang and Zhang 2020, "A Simple General Approach to Balance Task Difficulty in Multi-Task Learning" (BMTL).

    Args:
        temperature: T; larger is nearer to equal.
    """

    def __init__(self, temperature: float = 50.0):
        super().__init__()
        if not temperature > 0:
            raise UsageError(f"BMTL's temperature is {temperature}: choose one above 0.")
        self.temperature = temperature

    def forward(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """K softmax(L / T)."""
        return len(losses) * torch.softmax(losses / self.temperature, 0)
