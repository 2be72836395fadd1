"""Random loss weighting: the yardstick that every other weighting has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from mayhem_train.balancing.draws import Draws
from mayhem_train.balancing.weightings.weighting import LossWeighting


class RandomWeighting(LossWeighting):
    """c = softmax(z) with z_k ~ N(0, 1), anew for each batch; the coefficients sum to 1.

    Lin et al. 2022, "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning".

    Args:
        seed: of the draws, the same in every process.
    """

    def __init__(self, seed: int = 0):
        super().__init__()
        self.draws = Draws(seed)

    def forward(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """A new draw."""
        drawn = torch.randn(len(losses), generator=self.draws.generator())
        return torch.softmax(drawn, 0).to(losses)
