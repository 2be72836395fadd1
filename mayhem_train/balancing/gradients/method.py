"""What every gradient method offers to the balancer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Gradients that point away from each other to this cosine leave no direction that helps both.
_OPPOSITE = -1 + 1e-6


@dataclass(frozen=True)
class Direction:
    """What the shared parameters' gradient becomes.

    Attributes:
        vector: float [P].
        weights: float [K], each task's part in it; for sign methods the share of its gradient that was let through.
        degenerate: bool scalar; True where the gradients (zero, opposite or not finite) left nothing to decide, and
            they were summed.
    """

    vector: Tensor
    weights: Tensor
    degenerate: Tensor


class GradientMethod(nn.Module, ABC):
    """A map from the tasks' gradients g_1 .. g_K of the shared parameters to one direction.

    Attributes:
        of_logarithms: the tasks' gradients, of heads and body, are to be those of log L_k.
    """

    of_logarithms = False

    def bind(self, tasks: int) -> None:
        """Called once with the number of tasks K, before training.

        Raises:
            UsageError: it cannot balance so many.
        """

    @abstractmethod
    def combine(self, gradients: Tensor) -> Direction:
        """The direction of gradients float [K, P], each with its loss's coefficient applied."""


class GramMethod(GradientMethod):
    """A method that needs no more than the gradients' inner products: d = sum_k w_k g_k."""

    @abstractmethod
    def weights(self, gram: Tensor) -> Tensor:
        """w float [K] from the Gram matrix float [K, K], G_ij = g_i . g_j. May be wrong for degenerate gradients."""

    def combine(self, gradients: Tensor) -> Direction:
        """The weighted sum; plain where the gradients are degenerate."""
        gram = gradients @ gradients.T
        sound = ~is_degenerate(gram)
        # A method never sees what it cannot take; the identity stands in, and its answer is thrown away.
        weights = self.weights(torch.where(sound, gram, torch.eye(len(gram)).to(gram)))
        sound = sound & torch.isfinite(weights).all()
        weights = torch.where(sound, weights, torch.ones_like(weights))
        return Direction(weights @ gradients, weights, ~sound)


def is_degenerate(gram: Tensor) -> Tensor:
    """bool scalar: whether a Gram matrix [K, K] is not finite, has a zero gradient in it, or two opposite ones."""
    cosines = cosine_matrix(gram)
    return ~torch.isfinite(gram).all() | (gram.diagonal() <= 0).any() | ~(cosines > _OPPOSITE).all()


def cosine_matrix(gram: Tensor) -> Tensor:
    """The cosines [K, K] between gradients; not a number where one is zero."""
    norms = gram.diagonal().sqrt()
    return gram / (norms[:, None] * norms[None, :])
