"""Learning rate schedules by name or by class path, with arguments of their own; each can begin with a warm-up."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise

from mayhem_ros.errors import UsageError


class Schedule(ABC):
    """A map from the training's progress after the warm-up to the learning rate."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """The learning rate as a share of its peak; `progress` goes from 0 to 1."""


class Cosine(Schedule):
    """Half a cosine from the peak to `final` (Loshchilov and Hutter 2017, without restarts).

    Args:
        final: the learning rate at the end, as a share of its peak.
    """

    def __init__(self, final: float = 0.0):
        if not 0 <= final <= 1:
            raise UsageError(f"The cosine's final share is {final}: choose a value from 0 to 1.")
        self.final = final

    def __call__(self, progress: float) -> float:
        """final + (1 - final) (1 + cos(pi progress)) / 2."""
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


class Step(Schedule):
    """The peak, times `factor` from each milestone on.

    Args:
        milestones: rising shares of the training after the warm-up, between 0 and 1.
        factor: between 0 and 1.
    """

    def __init__(self, milestones: Sequence[float] = (2 / 3, 11 / 12), factor: float = 0.1):
        edges = [0.0, *milestones, 1.0]
        if not milestones or any(before >= after for before, after in pairwise(edges)):
            raise UsageError(
                f"The step schedule's milestones are {list(milestones)}: name rising shares of the training between "
                "0 and 1, such as [0.67, 0.92]."
            )
        if not 0 < factor < 1:
            raise UsageError(f"The step schedule's factor is {factor}: choose a value between 0 and 1.")
        self.milestones = tuple(milestones)
        self.factor = factor

    def __call__(self, progress: float) -> float:
        """factor to the power of how many milestones have passed."""
        return self.factor ** sum(progress >= milestone for milestone in self.milestones)


class Constant(Schedule):
    """The peak throughout."""

    def __call__(self, progress: float) -> float:
        """One."""
        return 1.0


SCHEDULES: dict[str, Callable[[], Schedule]] = {"cosine": Cosine, "step": Step, "constant": Constant}


def learning_rate_share(schedule: Schedule, step: int, warmup_steps: int, steps: int) -> float:
    """The learning rate at an optimiser step of all `steps` as a share of its peak.

    It rises linearly over `warmup_steps`, at most half of the training, then follows the schedule.
    """
    warmup_steps = min(warmup_steps, steps // 2)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return schedule(min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps)))
