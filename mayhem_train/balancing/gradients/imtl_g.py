"""IMTL-G: the direction that every task's unit gradient sees alike."""

from __future__ import annotations

import torch
from torch import Tensor

from mayhem_train.balancing.gradients.method import GramMethod


class IMTLG(GramMethod):
    """w sums to 1, and d = sum_k w_k g_k has d . g_k / |g_k| equal for all k: w ~ G^-1 (|g_1|, .. |g_K|).

    Liu et al. 2021, "Towards Impartial Multi-task Learning", section 3.1. For two tasks
    w = (|g_2|, |g_1|) / (|g_1| + |g_2|). Where a sum of 1 would turn d against every task, its sign is turned instead.
    """

    def weights(self, gram: Tensor) -> Tensor:
        """The impartial weights."""
        norms = gram.diagonal().sqrt()
        if len(gram) == 2:
            return norms.flip(0) / norms.sum()
        exact = gram.double().cpu()
        solution = torch.linalg.pinv(exact, hermitian=True) @ exact.diagonal().sqrt()
        return (solution / solution.sum().abs()).to(gram)
