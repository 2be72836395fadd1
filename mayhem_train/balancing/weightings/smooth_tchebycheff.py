"""Smooth Tchebycheff scalarisation: a smooth maximum over the tasks' relative losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.weightings.epoch_means import EpochMeans
from mayhem_train.balancing.weightings.weighting import LEAST_LOSS, LossWeighting


class SmoothTchebycheffWeighting(LossWeighting):
    """c_k = K softmax(log(L / N) / mu)_k / L_k, the gradient of K mu log sum_k exp(log(L_k / N_k) / mu).

    Lin et al. 2024, "Smooth Tchebycheff Scalarization for Multi-Objective Optimization" (STCH), in its multi-task form
    on logarithmic losses. N is the mean loss of the last warm-up epoch that had the task, or else of the first epoch
    after it; until then sum_k log L_k is minimised: c_k = 1 / L_k.

    Args:
        mu: the smoothness; towards 0 only the worst task counts.
        warmup_epochs: epochs, the last of which gives N.
    """

    nadir: Tensor
    epochs: Tensor

    def __init__(self, mu: float = 1.0, warmup_epochs: int = 4):
        super().__init__()
        if not mu > 0 or warmup_epochs < 1:
            raise UsageError(
                f"STCH has mu {mu} and {warmup_epochs} warm-up epochs: choose mu above 0 and at least one epoch."
            )
        self.mu = mu
        self.warmup_epochs = self.idle_epochs = warmup_epochs

    def bind(self, tasks: Sequence[str]) -> None:
        """No nadir yet."""
        self.means = EpochMeans(len(tasks))
        self.register_buffer("nadir", torch.full((len(tasks),), torch.nan))
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))

    def forward(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """The gradient of the smooth maximum, or of the warm-up's sum of logarithms."""
        losses = losses.clamp(min=LEAST_LOSS)
        self.means.add(losses, present)
        if self.epochs < self.warmup_epochs:
            return 1 / losses
        relative = torch.where(torch.isnan(self.nadir), 1.0, losses / self.nadir)
        return len(losses) * torch.softmax(relative.log() / self.mu, 0) / losses

    def end_epoch(self) -> None:
        """Takes the nadir at the end of the warm-up."""
        self.epochs += 1
        mean = self.means.take()
        wanted = ~torch.isnan(mean) & ((self.epochs <= self.warmup_epochs) | torch.isnan(self.nadir))
        self.nadir.copy_(torch.where(wanted, mean, self.nadir))
