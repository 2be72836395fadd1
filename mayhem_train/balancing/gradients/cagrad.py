"""CAGrad: near the mean gradient, the direction in which the worst task gains most."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.gradients.method import GramMethod


class CAGrad(GramMethod):
    """d = g_0 + c |g_0| / |g_w| g_w, with the mean gradient g_0 and g_w = sum_k w_k g_k.

    w minimises g_w . g_0 + c |g_0| |g_w| over w_k >= 0, sum_k w_k = 1. Liu et al. 2021, "Conflict-Averse Gradient
    Descent for Multi-task Learning", algorithm 1. For two tasks the minimum is a root of a quadratic.

    Args:
        c: how far from the mean gradient, as a share of its norm, 0 to below 1.
    """

    def __init__(self, c: float = 0.5):
        super().__init__()
        if not 0 <= c < 1:
            raise UsageError(f"CAGrad's c is {c}: choose one from 0 to below 1.")
        self.c = c

    def weights(self, gram: Tensor) -> Tensor:
        """1 / K + c |g_0| / |g_w| w."""
        # The weights know no scale; squares of very short or very long gradients' products have left their precision.
        scaled = gram.double() / gram.diagonal().max()
        radius = self.c * scaled.mean().clamp(min=0).sqrt()
        if len(gram) == 2:
            w = _worst_of_two(scaled, radius)
        else:
            w = torch.from_numpy(worst_weights(scaled.cpu().numpy(), self.c)).to(scaled)
        length = (w @ scaled @ w).clamp(min=torch.finfo(scaled.dtype).tiny).sqrt()
        return (1 / len(gram) + radius / length * w).to(gram)


def _worst_of_two(gram: Tensor, radius: Tensor) -> Tensor:
    """w = (t, 1 - t): with |g_w|^2 = A t^2 + 2 B t + C, u = A t + B and slope L of g_w . g_0, L + r u / |g_w| = 0."""
    (a, x), (_, b) = gram
    slope, bend, offset = (a - b) / 2, a + b - 2 * x, x - b
    remaining = radius**2 * bend - slope**2
    root = slope.abs() * ((a * b - x**2).clamp(min=0) / remaining.clamp(min=0)).sqrt()
    inner = (-torch.sign(slope) * root - offset) / bend
    # Without a root the value falls from end to end; equal gradients leave every t alike.
    end = torch.where(slope > 0, torch.zeros_like(slope), torch.ones_like(slope))
    first = torch.where((remaining > 0) & torch.isfinite(inner), inner, end).clamp(0, 1)
    return torch.stack([first, 1 - first])


def worst_weights(gram: NDArray[np.float64], c: float) -> NDArray[np.float64]:
    """w float64 [K] at the minimum, from a Gram matrix whose largest values are about 1."""
    count = len(gram)
    mean = gram.mean(0)
    radius = c * np.sqrt(np.maximum(gram.mean(), 0))

    def value(w: NDArray[np.float64]) -> float:
        return float(w @ mean + radius * np.sqrt(np.maximum(w @ gram @ w, 1e-16)))

    def slope(w: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(mean + radius * (gram @ w) / np.sqrt(np.maximum(w @ gram @ w, 1e-16)))

    found = minimize(
        value,
        np.full(count, 1 / count),
        jac=slope,
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return np.asarray(found.x)
