"""Aligned-MTL: the gradients' principal components are made equally long, so that none is drowned."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mayhem_train.balancing.gradients.method import GramMethod
from mayhem_train.balancing.gradients.square_root import square_root, unit_gram


class AlignedMTL(GramMethod):
    """w = sqrt(l_min) V L^(-1/2) V^T (1/K, .. 1/K), with G = V L V^T and l_min the least eigenvalue that is not zero.

    Senushkin et al. 2023, "Independent Component Alignment for Multi-Task Learning", algorithm 1. For two tasks
    G^(1/2) = (G + sqrt(det G) I) / sqrt(tr G + 2 sqrt(det G)), and sqrt(l_min) G^(-1/2) is its adjugate over
    sqrt(l_max). How many eigenvalues are zero is told by the gradients at unit length: a short one is no rounding
    error of a long one. Parallel and opposite gradients have one component, their mean.
    """

    def weights(self, gram: Tensor) -> Tensor:
        """The aligned mean's weights."""
        precision = torch.finfo(gram.dtype).eps
        if len(gram) == 2:
            return _aligned_two(gram.double(), precision).to(gram)
        return torch.from_numpy(aligned_weights(gram.double().cpu().numpy(), precision)).to(gram)


def _aligned_two(gram: Tensor, precision: float) -> Tensor:
    (a, x), (_, b) = gram
    volume = (a * b - x**2).clamp(min=0).sqrt()
    most = (a + b) / 2 + (((a - b) / 2) ** 2 + x**2).sqrt()
    root = (gram + volume * torch.eye(2).to(gram)) / (a + b + 2 * volume).sqrt()
    adjugate = torch.stack([root[1, 1] - root[0, 1], root[0, 0] - root[0, 1]])  # times (1, 1)
    cosine = x.abs() / (a * b).sqrt()
    is_full = 1 - cosine > 2 * precision * (1 + cosine)
    return torch.where(is_full, adjugate / most.sqrt(), gram.sum(1) / (a + b)) / 2


def aligned_weights(gram: NDArray[np.float64], precision: float) -> NDArray[np.float64]:
    """w float64 [K] from a Gram matrix of this relative precision."""
    cosines, lengths = unit_gram(gram)
    values = np.linalg.eigvalsh(cosines)
    rank = int((values > values[-1] * len(values) * precision).sum())
    # Of vectors rather than of G, whose eigenvalues are the squares.
    _, sizes, rows = np.linalg.svd(square_root(cosines) * lengths)
    components = rows[:rank]
    return np.asarray(sizes[rank - 1] / sizes[:rank] * components.mean(1) @ components)
