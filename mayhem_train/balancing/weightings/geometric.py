"""Geometric loss: the geometric mean of the losses is minimised, so that scales do not matter."""

from __future__ import annotations

import torch
from torch import Tensor

from mayhem_train.balancing.weightings.weighting import LEAST_LOSS, LossWeighting


class GeometricWeighting(LossWeighting):
    """c_k = G / (K L_k), the gradient of G = (L_1 ... L_K)^(1/K).

    Chennupati et al. 2019, "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for Multi-Task
    Learning", equation 2.
    """

    def forward(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """G / (K L), over the K tasks that have something to learn; 0 for those whose loss is zero."""
        present = losses > LEAST_LOSS
        count = present.sum().clamp(min=1)
        logarithms = torch.where(present, losses.clamp(min=LEAST_LOSS).log(), 0.0)
        return torch.where(present, torch.exp(logarithms.sum() / count) / (count * losses), 0.0)
