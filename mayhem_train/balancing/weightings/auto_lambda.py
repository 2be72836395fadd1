"""Auto-Lambda: coefficients learned so that a step on one batch lowers the next batch's loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.weightings.adam_vector import AdamVector
from mayhem_train.balancing.weightings.weighting import LossWeighting

# At 0 a task's gradient is not measured any more, and it could never come back.
_LEAST_LAMBDA = 1e-3


class AutoLambda(LossWeighting):
    """c = lambda, descending on the validation loss of one step: dL_val/dlambda_k = -eta g_val . g_k.

    Liu et al. 2022, "Auto-Lambda: Disentangling Dynamic Task Relationships", equations 3 to 5. There the gradient is
    approached by finite differences through the whole network, which batch normalisation and sampled proposals turn
    into noise. It is an inner product, and is taken as one here: g_k are the tasks' gradients of the batch that made
    the last update, g_val = sum_j p_j g_j those of the next batch, which that update has not seen, at the weights
    that it led to. So each step's gradients serve twice and nothing is computed besides. eta vanishes in Adam's scale.
    A lambda whose task had no part in the update stays, and so do all where no task that counts judges it.

    Args:
        start: every lambda's first value.
        learning_rate: Adam's, of lambda.
        primary: p by task name: the tasks whose validation loss counts; all, where none is named.
    """

    needs_gradients = True
    primary: Tensor

    def __init__(self, start: float = 0.1, learning_rate: float = 1e-4, primary: Mapping[str, float] | None = None):
        super().__init__()
        if not 0 < start < math.inf or not 0 < learning_rate < math.inf:
            raise UsageError(
                f"Auto-Lambda starts at {start} and learns at the rate {learning_rate}: choose numbers above 0."
            )
        self.start = start
        self.learning_rate = learning_rate
        self.primary_by_name = dict(primary or {})
        self._gradients: Tensor | None = None

    def bind(self, tasks: Sequence[str]) -> None:
        """One lambda a task."""
        unknown = set(self.primary_by_name) - set(tasks)
        if unknown:
            raise UsageError(
                f"Auto-Lambda's primary task {sorted(unknown)[0]!r} is none of {', '.join(tasks)}: name one of them."
            )
        self.lambdas = AdamVector(torch.full((len(tasks),), self.start), self.learning_rate)
        others = 0.0 if self.primary_by_name else 1.0
        chosen = torch.tensor([self.primary_by_name.get(task, others) for task in tasks])
        self.register_buffer("primary", chosen, persistent=False)

    def forward(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """The lambdas."""
        return self.lambdas.value.clone()

    def observe_gradients(self, gradients: Tensor) -> None:
        """Moves the lambdas by what the last update did to this batch."""
        if self._gradients is not None:
            updated, judged = self._gradients.to(gradients), self.primary @ gradients
            self.lambdas.step(-(updated @ judged), updated.any(1) & judged.any())
            self.lambdas.value.clamp_(min=_LEAST_LAMBDA)
        if torch.isfinite(gradients).all():  # mixed precision's scaling overflows now and then
            self._gradients = gradients.detach().clone()

    def get_extra_state(self) -> Tensor | None:
        """The last batch's gradients, float [K, P], without which a resumed run would miss one step of lambda."""
        return self._gradients

    def set_extra_state(self, state: Tensor | None) -> None:
        """The inverse of `get_extra_state`."""
        self._gradients = state
