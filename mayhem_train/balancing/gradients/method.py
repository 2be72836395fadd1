"""What every gradient method offers to the balancer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mayhem_train.balancing.last_known import LastKnown


@dataclass(frozen=True)
class Direction:
    """What the shared parameters' gradient becomes.

    Attributes:
        vector: float [P].
        weights: float [K], each task's part in it; for sign methods the share of its gradient that was let through.
        degenerate: bool scalar; True where the gradients are not finite, and were summed so that the step is refused,
            and where the method has no answer to them, so that the vector is zero.
    """

    vector: Tensor
    weights: Tensor
    degenerate: Tensor


class GradientMethod(nn.Module, ABC):
    """A map from the tasks' gradients g_1 .. g_K of the shared parameters to one direction.

    A gradient of zero is that of a task which the batch lacks, or which has nothing to learn from it: it takes no part,
    and the others have the weights that they would have had beside it.

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
    """A method that needs no more than the gradients' inner products: d = sum_k w_k g_k.

    In the place of a gradient of zero it sees one of the task's last length, at right angles to all others: the task
    conflicts with none, and a method that shares out its weights leaves it its share.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lengths = LastKnown()

    @abstractmethod
    def weights(self, gram: Tensor) -> Tensor:
        """w float [K] from the Gram matrix float [K, K], G_ij = g_i . g_j, finite and with a diagonal above 0.

        Not finite where the method has no answer, as bargains have none between opposite gradients.
        """

    def combine(self, gradients: Tensor) -> Direction:
        """The weighted sum."""
        gram = gram_matrix(gradients)
        finite = torch.isfinite(gram).all()
        present = gram.diagonal() > 0
        weights = self.weights(self._completed(gram, present, finite))
        answered = torch.isfinite(weights).all()
        weights = torch.where(answered & present, weights, 0.0)
        weights = torch.where(finite, weights, 1.0)
        vector = weights @ gradients.to(weights)
        return Direction(vector.to(gradients), weights, ~(finite & answered))

    def _completed(self, gram: Tensor, present: Tensor, finite: Tensor) -> Tensor:
        lengths = self._lengths.complete(gram.diagonal().sqrt(), present).nan_to_num(1.0)
        completed = torch.where(present[:, None] & present, gram, (lengths**2).diag())
        # What it could not take it never sees: its answer to the identity is thrown away.
        return torch.where(finite, completed, torch.eye(len(gram)).to(gram))


def gram_matrix(gradients: Tensor) -> Tensor:
    """The inner products [K, K] of gradients [K, P], at least in single precision."""
    if gradients.dtype in (torch.float16, torch.bfloat16):
        gradients = gradients.float()
    return gradients @ gradients.T


def cosine_matrix(gram: Tensor) -> Tensor:
    """The cosines [K, K] between gradients; not a number where one is zero."""
    norms = gram.diagonal().sqrt()
    return gram / (norms[:, None] * norms[None, :])
