"""DB-MTL: logarithmic losses, and gradients all as long as the longest."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.gradients.method import Direction, GradientMethod


class DualBalancing(GradientMethod):
    """d = max_j |m_j| sum_k m_k / |m_k|, with m_k the moving average of the gradients of log L_k.

    m_k <- b_t m_k + (1 - b_t) g_k with b_t = beta / t^exponent at step t. A coefficient of L_k does not reach its
    logarithm's gradient. Lin et al. 2023, "Dual-Balancing for Multi-Task Learning", algorithm 1.

    Args:
        beta: of the moving average; 0 for none.
        exponent: how fast the average gives way to the present gradient.
    """

    of_logarithms = True
    steps: Tensor

    def __init__(self, beta: float = 0.9, exponent: float = 0.5):
        super().__init__()
        if not 0 <= beta < 1 or not 0 <= exponent < math.inf:
            raise UsageError(
                f"DB-MTL has beta {beta} and exponent {exponent}: choose beta from 0 to below 1 and an exponent from 0."
            )
        self.beta = beta
        self.exponent = exponent
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._average: Tensor | None = None

    def combine(self, gradients: Tensor) -> Direction:
        """The balanced sum; a gradient of zero leaves its average alone, and takes no part."""
        lengths = gradients.norm(dim=1)
        if not torch.isfinite(lengths).all():
            return Direction(gradients.sum(0), torch.ones_like(lengths), lengths.new_ones((), dtype=torch.bool))
        present = lengths > 0
        self.steps += 1
        share = self.beta / int(self.steps) ** self.exponent
        before = torch.zeros_like(gradients) if self._average is None else self._average.to(gradients)
        self._average = torch.where(present[:, None], gradients.lerp(before, share), before)
        norms = self._average.norm(dim=1)
        weights = torch.where(present, norms.max() / norms, 0.0)
        return Direction(weights @ self._average, weights, ~torch.isfinite(weights).all())

    def get_extra_state(self) -> Tensor | None:
        """The moving average, float [K, P]."""
        return self._average

    def set_extra_state(self, state: Tensor | None) -> None:
        """The inverse of `get_extra_state`."""
        self._average = state
