"""GradDrop: at each place one sign is drawn, and gradients of the other are dropped."""

from __future__ import annotations

import torch
from torch import Tensor

from mayhem_train.balancing.draws import Draws
from mayhem_train.balancing.gradients.method import Direction, GradientMethod
from mayhem_train.balancing.processes import mean_over_processes


class GradDrop(GradientMethod):
    """Where P = (1 + sum_k g_k / sum_k |g_k|) / 2 exceeds U ~ uniform(0, 1) only positive g_k stay, else negative ones.

    Chen et al. 2020, "Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout", algorithm 1, on
    the shared parameters' gradients (`graddrop-shared`); `FeatureGradDrop` is the paper's own, on the features'.

    Args:
        seed: of the draws, the same in every process.
    """

    def __init__(self, seed: int = 0):
        super().__init__()
        self.draws = Draws(seed)

    def combine(self, gradients: Tensor) -> Direction:
        """The sum of what was let through."""
        passed = self.passes(gradients)
        kept = torch.where(passed, gradients, torch.zeros_like(gradients))
        share = kept.abs().sum(1) / gradients.abs().sum(1).clamp(min=torch.finfo(gradients.dtype).tiny)
        return Direction(kept.sum(0), share, ~torch.isfinite(gradients).all())

    def passes(self, signed: Tensor) -> Tensor:
        """bool [K, ...]: which of the values float [K, ...] have the sign that was drawn for their place."""
        size = signed.abs().sum(0)
        positivity = torch.where(size > 0, (1 + signed.sum(0) / size) / 2, torch.full_like(size, 0.5))
        drawn = torch.rand(positivity.shape, generator=self.draws.generator(signed.device), device=signed.device)
        return torch.where(positivity > drawn, signed > 0, signed < 0)


class FeatureGradDrop(GradDrop):
    """GradDrop as in the paper, on the gradients of the features that the heads share."""

    def mask(self, gradients: Tensor, features: Tensor) -> Tensor:
        """The gradients float [K, N, ...] of features [N, ...] with what was dropped set to zero.

        A place is a feature, whatever the image: its gradients, each times the feature's sign, are summed over the
        batch before a sign is drawn (section 3.2 of the paper).
        """
        # In single precision, since half of it cannot hold the sum over a batch of scaled gradients.
        signed = (gradients * features.sign()).float().sum(1)
        passed = self.passes(mean_over_processes(signed))
        return torch.where(passed[:, None], gradients, torch.zeros_like(gradients))
