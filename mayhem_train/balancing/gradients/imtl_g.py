"""IMTL-G: the direction that every task's unit gradient sees alike."""

from __future__ import annotations

import torch
from torch import Tensor

from mayhem_train.balancing.gradients.method import GramMethod, cosine_matrix


class IMTLG(GramMethod):
    """w sums to 1, and d = sum_k w_k g_k has d . g_k / |g_k| equal for all k: w ~ G^-1 (|g_1|, .. |g_K|).

    Liu et al. 2021, "Towards Impartial Multi-task Learning", section 3.1. For two tasks
    w = (|g_2|, |g_1|) / (|g_1| + |g_2|). Where a sum of 1 would turn d against every task, its sign is turned instead.
    Opposite gradients are seen alike by d = 0 alone.
    """

    def weights(self, gram: Tensor) -> Tensor:
        """The impartial weights."""
        norms = gram.diagonal().sqrt()
        if len(gram) == 2:
            return norms.flip(0) / norms.sum()
        exact = gram.double().cpu()
        solution = impartial(cosine_matrix(exact), torch.finfo(gram.dtype).eps) / exact.diagonal().sqrt()
        return (solution / solution.sum().abs()).to(gram)


def impartial(cosines: Tensor, precision: float) -> Tensor:
    """v float [K] with C v = (1, .. 1), up to a factor, for cosines C [K, K] of this relative precision.

    Along eigenvectors of values that are rounding errors the pseudo-inverse has nothing, unless they hold a part of
    (1, .. 1), as opposite gradients' do: that part of v, without bound beside the rest, is then all of it.
    """
    values, vectors = torch.linalg.eigh(cosines)
    known = values > values[-1] * len(values) * precision
    parts = vectors.sum(0)  # of (1, .. 1)
    unbounded = torch.where(known, 0.0, parts)
    if unbounded.norm() > precision**0.5:
        return vectors @ unbounded
    return vectors @ torch.where(known, parts / values, 0.0)
