"""Any weighting or aggregator of torchjd, by its class path."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.gradients.method import Direction, GradientMethod, GramMethod
from mayhem_train.balancing.last_known import LastKnown


class TorchjdWeighting(GramMethod):
    """A torchjd weighting of Gram matrices, such as torchjd.aggregation.UPGradWeighting.

    Args:
        weighting: [K, K] to [K].
    """

    def __init__(self, weighting: nn.Module):
        super().__init__()
        self.weighting = weighting

    def bind(self, tasks: int) -> None:
        """Tries it once."""
        _try(self.weighting, tasks)

    def weights(self, gram: Tensor) -> Tensor:
        """As torchjd says."""
        return torch.as_tensor(self.weighting(gram)).to(gram)


class TorchjdAggregator(GradientMethod):
    """A torchjd aggregator of gradients, such as torchjd.aggregation.NashMTL.

    Args:
        aggregator: [K, P] to [P].
    """

    def __init__(self, aggregator: nn.Module):
        super().__init__()
        self.aggregator = aggregator
        self._lengths = LastKnown()

    def bind(self, tasks: int) -> None:
        """Tries it once."""
        _try(self.aggregator, tasks)

    def combine(self, gradients: Tensor) -> Direction:
        """As torchjd says."""
        lengths = gradients.norm(dim=1)
        if not torch.isfinite(lengths).all():
            return self._direction(gradients.sum(0), lengths, degenerate=True)
        completed = self._completed(gradients, lengths)
        vector = self.aggregator(completed)[: gradients.shape[1]]
        if not torch.isfinite(vector).all():
            return self._direction(torch.zeros_like(vector), lengths, degenerate=True)
        return self._direction(vector, lengths, degenerate=False)

    def _completed(self, gradients: Tensor, lengths: Tensor) -> Tensor:
        """With a column for each task in which those without a gradient stand aside at their last length."""
        present = lengths > 0
        last = self._lengths.complete(lengths, present).nan_to_num(1.0)
        if present.all():
            return gradients
        return torch.cat([gradients, last.masked_fill(present, 0.0).diag()], 1)

    def _direction(self, vector: Tensor, lengths: Tensor, *, degenerate: bool) -> Direction:
        return Direction(vector, torch.full_like(lengths, torch.nan), torch.tensor(degenerate, device=vector.device))


def _try(module: nn.Module, tasks: int) -> None:
    """Has a copy balance orthogonal gradients, since what torchjd cannot take it says only then."""
    try:
        copy.deepcopy(module)(torch.eye(tasks))
    except Exception as error:  # of whatever class torchjd or its solvers have
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(
            f"torchjd's {type(module).__name__} cannot balance {tasks} tasks ({reason}): "
            "give it other arguments or choose another gradient method."
        ) from error


def adapt(module: nn.Module) -> GradientMethod:
    """A gradient method around a module of torchjd.

    Raises:
        UsageError: it is neither a weighting nor an aggregator of torchjd.
    """
    if isinstance(module, GradientMethod):
        return module
    bases = {base.__name__ for base in type(module).__mro__ if base.__module__.startswith("torchjd.")}
    if "Weighting" in bases:
        return TorchjdWeighting(module)
    if "Aggregator" in bases:
        return TorchjdAggregator(module)
    raise UsageError(
        f"{type(module).__name__} balances no gradients: name a gradient method or a class of torchjd.aggregation."
    )
