"""Nash-MTL and FairGrad: bargaining solutions, in which every task gains its fair part of the step."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.gradients.method import GramMethod

_ITERATIONS = 100
_TOLERANCE = 1e-10


class NashMTL(GramMethod):
    """w > 0 with (G w)_k = 1 / w_k: the Nash bargaining solution; d has the norm sqrt(K) whatever the gradients' are.

    Navon et al. 2022, "Multi-Task Learning as a Bargaining Game", equation 2. For two tasks
    w = (1 / |g_1|, 1 / |g_2|) / sqrt(1 + cos(g_1, g_2)).
    """

    def weights(self, gram: Tensor) -> Tensor:
        """The bargain's weights."""
        if len(gram) == 2:
            norms = gram.diagonal().sqrt()
            return 1 / (norms * (1 + gram[0, 1] / norms.prod()).sqrt())
        return torch.from_numpy(fair_weights(gram.double().cpu().numpy(), 1.0)).to(gram)


class FairGrad(GramMethod):
    """w > 0 with (G w)_k = w_k^(-1 / alpha): each task's gain is alpha-fair.

    Ban and Ji 2024, "Fair Resource Allocation in Multi-Task Learning", equation 4. alpha 1 is Nash-MTL; growing alpha
    goes to max-min fairness.

    Args:
        alpha: the fairness, above 0.
    """

    def __init__(self, alpha: float = 2.0):
        super().__init__()
        if not alpha > 0:
            raise UsageError(f"FairGrad's alpha is {alpha}: choose one above 0.")
        self.alpha = alpha

    def weights(self, gram: Tensor) -> Tensor:
        """The fair weights."""
        return torch.from_numpy(fair_weights(gram.double().cpu().numpy(), self.alpha)).to(gram)


def fair_weights(gram: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """w float64 [K] with G w = w^(-1 / alpha), by Newton's method; not a number where there is none.

    It is where the convex w^T G w / 2 - sum_k h(w_k) with h' = w^(-1 / alpha) is least. In y = log w every iterate is
    positive, and the residual log(G w) + y / alpha has G's own scale taken out.
    """
    scale = np.exp(np.log(gram.diagonal()).mean())
    gram = gram / scale
    y = -np.log(gram.diagonal()) * alpha / (1 + alpha)  # exact for orthogonal gradients
    for _ in range(_ITERATIONS):
        w = np.exp(y)
        gradient = gram @ w - w ** (-1 / alpha)
        if np.abs(gradient * w ** (1 / alpha)).max() < _TOLERANCE:
            return np.asarray(w * scale ** (-alpha / (1 + alpha)))
        hessian = gram + np.diag(w ** (-1 / alpha - 1) / alpha)
        step = np.linalg.solve(hessian, gradient) / w
        y = y + np.log1p(np.clip(-step, -0.9, None)) if (step < 1).all() else y - np.clip(step, -2, 2)
    return np.full(len(gram), np.nan)
