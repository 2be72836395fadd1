"""Relative difficulty: what is further from done, measured by its first epoch, counts more."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.weightings.epoch_means import EpochMeans
from mayhem_train.balancing.weightings.weighting import LossWeighting


class RelativeDifficultyWeighting(LossWeighting):
    """c_k = K d_k^a / sum_j d_j^a with d_k = M_k / L_k(1), the part of the first epoch's mean loss that is left.

    M_k is the exponential moving average of the epochs' mean losses, M_k <- b M_k + (1 - b) L_k(e). The ratio is the
    inverse training rate of Chen et al. 2018 (GradNorm, equation 3), as Liu, Liang and Gitter 2019, "Loss-Balanced Task
    Weighting to Reduce Negative Transfer in Multi-Task Learning", weigh by it. The first two epochs are
    equal: the first one only tells where each task begins. A task that an epoch lacks keeps its average.

    Args:
        decay: b, how slowly the average follows.
        exponent: a; 0 is equal.
    """

    idle_epochs = 2
    coefficients: Tensor
    first: Tensor
    average: Tensor

    def __init__(self, decay: float = 0.5, exponent: float = 1.0):
        super().__init__()
        if not 0 <= decay < 1:
            raise UsageError(f"Relative difficulty's decay is {decay}: choose one from 0 to below 1.")
        self.decay = decay
        self.exponent = exponent

    def bind(self, tasks: Sequence[str]) -> None:
        """Equal until the first epoch is known."""
        self.means = EpochMeans(len(tasks))
        self.register_buffer("coefficients", torch.ones(len(tasks)))
        self.register_buffer("first", torch.full((len(tasks),), torch.nan))
        self.register_buffer("average", torch.full((len(tasks),), torch.nan))

    def forward(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """This epoch's coefficients."""
        self.means.add(losses, present)
        return self.coefficients.clone()

    def end_epoch(self) -> None:
        """The next epoch's coefficients."""
        mean = self.means.take()
        begins = torch.isnan(self.first)
        self.first.copy_(torch.where(begins, mean, self.first))
        self.average.copy_(torch.where(begins, mean, self.average))
        average = self.decay * self.average + (1 - self.decay) * mean
        self.average.copy_(torch.where(torch.isfinite(mean), average, self.average))
        difficulty = (self.average / self.first) ** self.exponent
        difficulty = torch.where(torch.isfinite(difficulty), difficulty, 1.0)  # nothing is known of it yet
        if difficulty.sum() > 0:
            self.coefficients.copy_(len(difficulty) * difficulty / difficulty.sum())
