"""The mean of each task's loss over the batches of an epoch that had it."""

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
        self.register_buffer("count", torch.zeros(tasks, dtype=torch.int64))

    def add(self, losses: Tensor, present: Tensor | None = None) -> None:
        """One batch's losses, of which those count whose tasks it has (bool [K]; all where None)."""
        had = torch.ones_like(self.count, dtype=torch.bool) if present is None else present
        self.total += torch.where(had, losses, 0.0)
        self.count += had

    def take(self) -> Tensor:
        """The mean float32 [K] of what was added since the last call; not a number for a task without any."""
        mean = self.total / self.count
        self.total.zero_()
        self.count.zero_()
        return mean.float()
