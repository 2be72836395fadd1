"""FAMO: every task's loss falls at about the same relative rate, at no gradient's cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.weightings.adam_vector import AdamVector
from mayhem_train.balancing.weightings.weighting import LEAST_LOSS, LossWeighting


class FastAdaptiveWeighting(LossWeighting):
    """c_k = z_k / (L_k sum_j z_j / L_j) with z = softmax(xi); xi descends on the tasks' log-improvements of each step.

    Liu et al. 2023, "FAMO: Fast Adaptive Multitask Optimization", algorithm 1: after the optimiser's step the batch's
    losses L' are taken anew (a forward pass without gradients), and xi follows Adam along
    J_softmax(xi)^T (log L - log L').

    Args:
        learning_rate: of xi.
        weight_decay: of xi (gamma in the paper), which draws towards equal.
    """

    needs_losses_after_step = True
    losses: Tensor
    learning: Tensor

    def __init__(self, learning_rate: float = 0.025, weight_decay: float = 1e-3):
        super().__init__()
        if not 0 < learning_rate < math.inf or not 0 <= weight_decay < math.inf:
            raise UsageError(
                f"FAMO's learning rate is {learning_rate} and its weight decay {weight_decay}: choose a rate above 0 "
                "and a decay from 0."
            )
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay

    def bind(self, tasks: Sequence[str]) -> None:
        """xi starts at 0."""
        self.logits = AdamVector(torch.zeros(len(tasks)), self.learning_rate, self.weight_decay)
        self.register_buffer("losses", torch.full((len(tasks),), torch.nan), persistent=False)
        self.register_buffer("learning", torch.zeros(len(tasks), dtype=torch.bool), persistent=False)

    def forward(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """The coefficients, normalised as the paper does to leave the update's size alone.

        A task whose loss is zero has none: its share would be all that there is.
        """
        something = losses > LEAST_LOSS
        self.losses = losses
        self.learning = something if present is None else something & present
        shares = torch.where(something, torch.softmax(self.logits.value, 0) / losses, 0.0)
        return shares / shares.sum().clamp(min=torch.finfo(shares.dtype).tiny)

    def observe_losses_after_step(self, losses: Tensor) -> None:
        """Moves xi, but for tasks that had nothing to learn from the batch."""
        before, after = self.losses.clamp(min=LEAST_LOSS), losses.clamp(min=LEAST_LOSS)
        improvement = torch.where(self.learning, before.log() - after.log(), 0.0)
        shares = torch.where(self.learning, torch.softmax(self.logits.value, 0), 0.0)
        mean = (shares * improvement).sum() / shares.sum()
        self.logits.step(shares * (improvement - mean), self.learning)
