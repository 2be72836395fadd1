"""Nash-MTL and FairGrad: bargaining solutions, in which every task gains its fair part of the step."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.gradients.method import GramMethod
from mayhem_train.balancing.gradients.square_root import unit_gram

_ITERATIONS = 100
_TOLERANCE = 1e-10
_ROUNDING = 4 * np.finfo(np.float64).eps


class NashMTL(GramMethod):
    """w > 0 with (G w)_k = 1 / w_k: the Nash bargaining solution; d has the norm sqrt(K) whatever the gradients' are.

    Navon et al. 2022, "Multi-Task Learning as a Bargaining Game", equation 2. For two tasks
    w = (1 / |g_1|, 1 / |g_2|) / sqrt(1 + cos(g_1, g_2)). Opposite gradients have no bargain: nothing is done.
    """

    def weights(self, gram: Tensor) -> Tensor:
        """The bargain's weights."""
        if len(gram) == 2:
            norms = gram.diagonal().sqrt()
            return agreed(1 / (norms * (1 + gram[0, 1] / norms.prod()).sqrt()), gram)
        return agreed(torch.from_numpy(fair_weights(gram.double().cpu().numpy(), 1.0)).to(gram), gram)


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
        return agreed(torch.from_numpy(fair_weights(gram.double().cpu().numpy(), self.alpha)).to(gram), gram)


def fair_weights(gram: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """w float64 [K] with G w = w^(-1 / alpha), by Newton's method; not a number where there is none.

    In z_k = |g_k| w_k it is C z = b z^(-1 / alpha), with the cosines C and b_k = |g_k|^(1 / alpha - 1): where the
    convex z^T C z / 2 - sum_k b_k h(z_k) with h' = z^(-1 / alpha) is least. In y = log z every iterate is positive.
    """
    cosines, lengths = unit_gram(gram)
    fair = lengths ** (1 / alpha - 1)
    y = np.log(fair) * alpha / (1 + alpha)  # exact for orthogonal gradients
    for _ in range(_ITERATIONS):
        z = np.exp(y)
        wanted = fair * z ** (-1 / alpha)
        gradient = cosines @ z - wanted
        # Between nearly opposite gradients C z is a small difference, known to its terms' rounding errors only.
        if (np.abs(gradient) <= _TOLERANCE * wanted + _ROUNDING * z.sum()).all():
            return np.asarray(z / lengths)
        step = np.linalg.solve(cosines + np.diag(wanted / z / alpha), gradient) / z
        y = y + np.log1p(np.clip(-step, -0.9, None)) if (step < 1).all() else y - np.clip(step, -2, 2)
    return np.full(len(gram), np.nan)


def agreed(weights: Tensor, gram: Tensor) -> Tensor:
    """The weights, or not a number where they make no more of the gradients than their rounding errors.

    Opposite gradients leave nothing that helps both: a bargain over them has weights without bound.
    """
    exact, weights_exact = gram.double(), weights.double()
    largest = (weights_exact @ exact.diagonal().sqrt()) ** 2  # |d|^2 if all of them agreed
    resolved = weights_exact @ exact @ weights_exact > 4 * torch.finfo(gram.dtype).eps * largest
    return torch.where(resolved, weights, torch.nan)
