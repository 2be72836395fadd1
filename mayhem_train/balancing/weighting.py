"""Loss weightings: maps from the tasks' losses to their coefficients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn


class LossWeighting(nn.Module, ABC):
    """A map from losses float [K] to coefficients float [K]; K tasks in a fixed order."""

    @abstractmethod
    def forward(self, losses: Tensor) -> Tensor:
        """The coefficient of each task's loss."""


class EqualWeighting(LossWeighting):
    """Every coefficient is 1: the tasks' losses are summed as they are."""

    def forward(self, losses: Tensor) -> Tensor:
        """Ones."""
        return torch.ones_like(losses)


WEIGHTINGS: dict[str, Callable[[], LossWeighting]] = {"equal": EqualWeighting}
