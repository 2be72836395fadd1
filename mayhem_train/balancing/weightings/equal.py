"""Equal weighting: the tasks' losses are summed as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from mayhem_train.balancing.weightings.weighting import LossWeighting


class EqualWeighting(LossWeighting):
    """c_k = 1. With the balancer's constants a_k, which scale every task's loss, it is constant weighting: a_k."""

    def forward(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """Ones."""
        return torch.ones_like(losses)
