"""Aligned-MTL: the gradients' principal components are made equally long, so that none is drowned."""

from __future__ import annotations

import torch
from torch import Tensor

from mayhem_train.balancing.gradients.method import GramMethod


class AlignedMTL(GramMethod):
    """w = sqrt(l_min) V L^(-1/2) V^T (1/K, .. 1/K), with G = V L V^T and l_min the least eigenvalue that is not zero.

    Senushkin et al. 2023, "Independent Component Alignment for Multi-Task Learning", algorithm 1. For two tasks
    G^(1/2) = (G + sqrt(det G) I) / sqrt(tr G + 2 sqrt(det G)).
    """

    def weights(self, gram: Tensor) -> Tensor:
        """The aligned mean's weights."""
        if len(gram) == 2:
            return _aligned_two(gram)
        exact = gram.double().cpu()
        values, vectors = torch.linalg.eigh(exact)
        present = values > values[-1] * len(values) * torch.finfo(gram.dtype).eps
        scales = torch.where(present, (values[present].min() / values).sqrt(), 0.0)
        return (vectors * scales @ vectors.T).mean(1).to(gram)


def _aligned_two(gram: Tensor) -> Tensor:
    exact = gram.double()
    trace, det = exact.trace(), exact.det()
    spread = (trace**2 / 4 - det).clamp(min=0).sqrt()
    least, most = trace / 2 - spread, trace / 2 + spread
    volume = det.clamp(min=0).sqrt()
    # G^(-1/2) is the adjugate of G^(1/2) over its determinant.
    root = (exact + volume * torch.eye(2).to(exact)) / (trace + 2 * volume).sqrt()
    adjugate = root.trace() * torch.eye(2).to(exact) - root
    full = least.clamp(min=0).sqrt() * adjugate / volume
    of_rank_one = exact / trace
    is_full = least > most * 2 * torch.finfo(gram.dtype).eps
    return torch.where(is_full, full, of_rank_one).mean(1).to(gram)
