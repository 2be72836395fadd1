"""Dynamic weight average: what falls more slowly counts more."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.weightings.epoch_means import EpochMeans
from mayhem_train.balancing.weightings.weighting import LossWeighting


class DynamicWeightAverage(LossWeighting):
    """c_k = K softmax(r / T)_k with r_k = L_k(e - 1) / L_k(e - 2), L_k(e) the mean raw loss of epoch e.

    Liu, Johns and Davison 2019, "End-to-End Multi-Task Learning with Attention", equation 7. The first two epochs are
    equal. A task that an epoch lacks keeps its rate and its mean.

    Args:
        temperature: T; larger is nearer to equal.
    """

    idle_epochs = 2
    rates: Tensor
    before: Tensor

    def __init__(self, temperature: float = 2.0):
        super().__init__()
        if not temperature > 0:
            raise UsageError(f"DWA's temperature is {temperature}: choose one above 0.")
        self.temperature = temperature

    def bind(self, tasks: Sequence[str]) -> None:
        """Equal until two epochs are known."""
        self.means = EpochMeans(len(tasks))
        self.register_buffer("rates", torch.ones(len(tasks)))
        self.register_buffer("before", torch.full((len(tasks),), torch.nan))

    def forward(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """This epoch's coefficients."""
        self.means.add(losses, present)
        return len(self.rates) * torch.softmax(self.rates / self.temperature, 0)

    def end_epoch(self) -> None:
        """The next epoch's rates."""
        mean = self.means.take()
        rates = mean / self.before
        self.rates.copy_(torch.where(torch.isfinite(rates), rates, self.rates))
        self.before.copy_(torch.where(torch.isfinite(mean), mean, self.before))
