"""PCGrad: each gradient loses its components that conflict with another's."""

from __future__ import annotations

import torch
from torch import Tensor

from mayhem_train.balancing.draws import Draws
from mayhem_train.balancing.gradients.method import GramMethod


class PCGrad(GramMethod):
    """d = sum_i g_i', where g_i' is g_i projected, in a random order of j, off every g_j with g_i' . g_j < 0.

    Yu et al. 2020, "Gradient Surgery for Multi-Task Learning", algorithm 1. For two tasks the order does not matter:
    w = (1 - m / G_11, 1 - m / G_22) with m = min(G_12, 0).

    Args:
        seed: of the orders, the same in every process.
    """

    def __init__(self, seed: int = 0):
        super().__init__()
        self.draws = Draws(seed)

    def weights(self, gram: Tensor) -> Tensor:
        """Each gradient's part in the sum of the projected ones."""
        if len(gram) == 2:
            return 1 - gram[0, 1].clamp(max=0) / gram.diagonal()
        return self._in_random_order(gram.double().cpu()).to(gram)

    def _in_random_order(self, gram: Tensor) -> Tensor:
        generator = self.draws.generator()
        projected = torch.eye(len(gram), dtype=gram.dtype)  # row i: g_i' in terms of the gradients
        for i, row in enumerate(projected):
            for j in torch.randperm(len(gram), generator=generator).tolist():
                if j != i:
                    row[j] -= (row @ gram[j]).clamp(max=0) / gram[j, j]
        return projected.sum(0)
