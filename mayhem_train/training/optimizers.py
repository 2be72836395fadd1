"""Optimisers by name or by class path, with arguments of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch

from mayhem_ros.errors import UsageError


class OptimizerRecipe(ABC):
    """How an optimiser is made, once the parameters are known."""

    @abstractmethod
    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """An optimiser of parameter groups, each with its `params`, `lr` and `weight_decay`."""


class AdamW(OptimizerRecipe):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    Args:
        beta1: decay of the gradient's mean.
        beta2: decay of its square's mean.
        epsilon: added to the square's root.
    """

    def __init__(self, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8):
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if not 0 <= beta < 1:
                raise UsageError(f"AdamW's {name} is {beta}: choose a value from 0 up to 1, 1 left out.")
        if not epsilon > 0:
            raise UsageError(f"AdamW's epsilon is {epsilon}: choose one above 0.")
        self.betas = (beta1, beta2)
        self.epsilon = epsilon

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """torch's."""
        return torch.optim.AdamW(list(groups), betas=self.betas, eps=self.epsilon)


class SGD(OptimizerRecipe):
    """Stochastic gradient descent with momentum; its weight decay is added to the gradient.

    Args:
        momentum: 0 for none.
        nesterov: whether the gradient is taken where the momentum leads (Nesterov 1983).
    """

    def __init__(self, momentum: float = 0.9, nesterov: bool = False):
        if not 0 <= momentum < 1:
            raise UsageError(f"SGD's momentum is {momentum}: choose a value from 0 up to 1, 1 left out.")
        if nesterov and momentum == 0:
            raise UsageError("SGD without momentum cannot be Nesterov's: set a momentum above 0 or leave out nesterov.")
        self.momentum = momentum
        self.nesterov = nesterov

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """torch's."""
        return torch.optim.SGD(list(groups), lr=0.0, momentum=self.momentum, nesterov=self.nesterov)


OPTIMIZERS: dict[str, Callable[[], OptimizerRecipe]] = {"adamw": AdamW, "sgd": SGD}
