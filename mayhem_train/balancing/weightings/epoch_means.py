"""The mean of each task's loss over an epoch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EpochMeans(nn.Module):
    """Sums losses float [K] and counts them.

    Args:
        tasks: K.
    """

    total: Tensor
    count: Tensor

    def __init__(self, tasks: int):
        super().__init__()
        self.register_buffer("total", torch.zeros(tasks, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def add(self, losses: Tensor) -> None:
        """One batch's losses."""
        self.total += losses
        self.count += 1

    def take(self) -> Tensor:
        """The mean float32 [K] of what was added since the last call; not a number where nothing was."""
        mean = self.total / self.count
        self.total.zero_()
        self.count.zero_()
        return mean.float()
