"""The balancer: what turns the tasks' losses into the one quantity that is minimised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.weighting import WEIGHTINGS


@dataclass(frozen=True)
class BalancedLoss:
    """The total to minimise (scalar) and each task's coefficient in it."""

    total: Tensor
    coefficients: dict[str, Tensor]


class Balancer(nn.Module):
    """Weights the tasks' losses.

    Args:
        weighting: the loss weighting's name.

    Raises:
        UsageError: there is no weighting of this name.
    """

    def __init__(self, weighting: str = "equal"):
        super().__init__()
        if weighting not in WEIGHTINGS:
            raise UsageError(f"There is no loss weighting {weighting!r}: choose one of {', '.join(WEIGHTINGS)}.")
        self.name = weighting
        self.weighting = WEIGHTINGS[weighting]()

    def forward(self, losses: Mapping[str, Tensor]) -> BalancedLoss:
        """Balances the losses (scalars) of named tasks."""
        stacked = torch.stack(list(losses.values()))
        coefficients = self.weighting(stacked.detach())
        return BalancedLoss((coefficients * stacked).sum(), dict(zip(losses, coefficients, strict=True)))
