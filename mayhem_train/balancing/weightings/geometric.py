"""Geometric loss: the geometric mean of the losses is minimised, so that scales do not matter."""

from __future__ import annotations

import torch
from torch import Tensor

from mayhem_train.balancing.weightings.weighting import LossWeighting

_LEAST_LOSS = 1e-8  # at zero, the root's slope is infinite


class GeometricWeighting(LossWeighting):
    """c_k = G / (K L_k), the gradient of G = (L_1 ... L_K)^(1/K).

    Chennupati et al. 2019, "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for Multi-Task
    Learning", equation 2.
    """

    def forward(self, losses: Tensor) -> Tensor:
        """G / (K L)."""
        losses = losses.clamp(min=_LEAST_LOSS)
        return torch.exp(losses.log().mean()) / (len(losses) * losses)
