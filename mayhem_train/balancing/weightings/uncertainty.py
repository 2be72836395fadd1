"""Homoscedastic uncertainty: each task's noise is learned with the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mayhem_train.balancing.weightings.weighting import LossWeighting


class UncertaintyWeighting(LossWeighting):
    """c_k = exp(-s_k), where the log-variances s_k = log sigma_k^2 minimise sum_k exp(-s_k) L_k + s_k / 2.

    Kendall, Gal and Cipolla 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and
    Semantics", equation 10 for classification. At its optimum c_k = 1 / (2 L_k). The log-variances start at 0, are
    learned without weight decay and are not clipped with the network's gradients. That of a task which a batch lacks
    gets no gradient at all, so that no optimiser moves it.
    """

    def bind(self, tasks: Sequence[str]) -> None:
        """One log-variance a task."""
        self.log_variances = nn.ParameterList(nn.Parameter(torch.zeros(())) for _ in tasks)

    def forward(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """exp(-s)."""
        return torch.exp(-torch.stack(list(self.log_variances)))

    def own_loss(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """What the log-variances minimise."""
        had = [True] * len(losses) if present is None else present.tolist()
        pairs = [(s, loss) for s, loss, is_there in zip(self.log_variances, losses, had, strict=True) if is_there]
        return torch.stack([torch.exp(-s) * loss + s / 2 for s, loss in pairs]).sum()
