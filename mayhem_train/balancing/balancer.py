"""The balancer: a loss weighting and a gradient method, any with any, between the tasks' losses and the update."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor, nn

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.gradients.graddrop import FeatureGradDrop
from mayhem_train.balancing.gradients.method import GradientMethod, GramMethod, cosine_matrix
from mayhem_train.balancing.gradients.plain_sum import PlainSum
from mayhem_train.balancing.gradients.torchjd import adapt
from mayhem_train.balancing.last_known import LastKnown
from mayhem_train.balancing.names import ALIASES, CONSTANT, GRADIENT_METHODS, WEIGHTINGS, canonical
from mayhem_train.balancing.processes import mean_over_processes
from mayhem_train.balancing.shared_features import SharedFeatures, add_gradient
from mayhem_train.balancing.weightings.weighting import LEAST_LOSS, LossWeighting
from mayhem_train.naming import look_up

MeasuredOn = Literal["body", "deep"]


@dataclass(frozen=True)
class BalancedLoss:
    """One batch's losses with what the loss weighting made of them.

    Attributes:
        total: what is minimised, scalar: sum_k c_k L_k and the weighting's own loss.
        losses: L_k by task, scalars, of the tasks that the batch has labels for.
        coefficients: c_k of these by task, scalars without gradient, the balancer's constants in them.
        own: the weighting's own loss, None where it has none.
    """

    total: Tensor
    losses: dict[str, Tensor]
    coefficients: dict[str, Tensor]
    own: Tensor | None


@dataclass(frozen=True)
class GradientRecord:
    """What a gradient method saw and did in one step; K tasks.

    Attributes:
        norms: float [K], of the gradients where they are measured, their coefficients applied; of the features for
            methods on features.
        cosines: float [K, K].
        weights: float [K].
        degenerate: bool scalar: the gradients were not finite, or the method had no answer to them.
        present: the tasks that the batch has labels for, by number; the others' norms and weights are 0, their cosines
            not a number.
    """

    norms: Tensor
    cosines: Tensor
    weights: Tensor
    degenerate: Tensor
    present: tuple[int, ...]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Those of the tasks that are present."""
        return list(combinations(self.present, 2))

    @property
    def conflict(self) -> Tensor:
        """The share of `pairs` whose gradients point away from each other, scalar; not a number without any."""
        cosines = self.cosines[[first for first, _ in self.pairs], [second for _, second in self.pairs]]
        return (cosines < 0).float().mean()


class Balancer(nn.Module):
    """Weighs the tasks' losses, then brings their gradients of the shared body together.

    Args:
        weighting: a loss weighting by name (equal, constant, uncertainty, dwa, bmtl, relative, geometric, auto-lambda,
            rlw, famo, stch) or by class path, with arguments of its own.
        gradient: a gradient method by name (none, pcgrad, cagrad, graddrop, graddrop-shared, mgda, nash-mtl, imtl-g,
            aligned-mtl, upgrad, dualproj, fairgrad, db-mtl) or by class path, one of torchjd.aggregation included.
        constants: a factor of each task's loss by the task's name, 1 where none is named; the weighting builds on it.
        measured_on: which shared parameters' gradients tell a method its weights: body, all of them, or deep, those
            after the first feature level. Those before it are few and, at the highest resolution, take half of the
            time; for deep they get the same weights in one pass for all tasks.
        measure_gradients: for the record, also where neither the weighting nor the method needs them.

    Raises:
        UsageError: there is no such method, `constant` is asked for without constants, one of them is negative, or deep
            is for a method that does not answer with weights.
    """

    fallbacks: Tensor
    constants: Tensor

    def __init__(
        self,
        weighting: LossWeighting | str = "equal",
        gradient: nn.Module | str = "none",
        constants: dict[str, float] | None = None,
        measured_on: MeasuredOn = "body",
        measure_gradients: bool = False,
    ):
        super().__init__()
        if weighting == CONSTANT and not constants:
            raise UsageError(
                "Constant weighting has no constants: name them, as in --balancer.constants '{detection: 1, "
                "segmentation: 2}'."
            )
        for task, constant in (constants or {}).items():
            if not 0 <= constant < math.inf:
                raise UsageError(f"The constant of {task} is {constant}, which cannot be minimised: choose 0 or more.")
        weighting_name = canonical(weighting) if isinstance(weighting, str) else type(weighting).__name__
        gradient_name = canonical(gradient) if isinstance(gradient, str) else type(gradient).__name__
        self.weighting_name = weighting_name
        self.name = weighting_name if gradient_name == "none" else f"{weighting_name} x {gradient_name}"
        self.weighting: LossWeighting = (
            look_up("loss weighting", WEIGHTINGS, weighting, ALIASES)() if isinstance(weighting, str) else weighting
        )
        self.method: GradientMethod = (
            look_up("gradient method", GRADIENT_METHODS, gradient)() if isinstance(gradient, str) else adapt(gradient)
        )
        if measured_on == "deep" and not isinstance(self.method, GramMethod):
            raise UsageError(
                f"{gradient_name} decides on every parameter by itself, which --balancer.measured_on deep leaves out: "
                "choose body, or a gradient method that weighs the tasks."
            )
        if measured_on == "deep" and self._compares:
            self.name += ", measured on deep levels"
        self.measured_on = measured_on
        self._asked_to_measure = measure_gradients
        self.constants_by_name = dict(constants or {})
        self.tasks: tuple[str, ...] = ()
        self._last_losses = LastKnown()
        self.register_buffer("fallbacks", torch.zeros((), dtype=torch.int64))

    def bind(self, tasks: Sequence[str]) -> None:
        """Tells the tasks' names, before training or loading.

        Raises:
            UsageError: a constant is for another task, or what is to be compared is not there: the gradients of one
                task, or those of deep levels where nothing needs them.
        """
        unknown = sorted(set(self.constants_by_name) - set(tasks))
        if unknown:
            raise UsageError(f"There is no task {unknown[0]!r} to weigh: this network's are {', '.join(tasks)}.")
        self.tasks = tuple(tasks)
        if len(tasks) == 1 and self._measures:
            whatever = self.name if self._compares else "--balancer.measure_gradients"
            raise UsageError(
                f"{whatever} compares the tasks' gradients, and this network learns {tasks[0]} alone: leave it out or "
                "choose a multi-task network."
            )
        if self.measured_on == "deep" and not self._measures:
            raise UsageError(
                "--balancer.measured_on deep is for gradients that nothing measures here: leave it out or choose a "
                "--balancer.gradient."
            )
        factors = torch.tensor([self.constants_by_name.get(task, 1.0) for task in tasks])
        self.register_buffer("constants", factors, persistent=False)
        self.weighting.bind(self.tasks)
        if self.balances_gradients:
            self.method.bind(len(tasks))

    @property
    def balances_gradients(self) -> bool:
        """Whether a step takes each task's gradient of the shared body."""
        return self._measures and len(self.tasks) > 1

    @property
    def _measures(self) -> bool:
        return self._compares or self._asked_to_measure

    @property
    def _compares(self) -> bool:
        """Whether the weighting or the method follows from the tasks' gradients."""
        return not isinstance(self.method, PlainSum) or self.weighting.needs_gradients

    def forward(self, losses: Mapping[str, Tensor]) -> BalancedLoss:
        """Weighs one training batch's losses (scalars), which every process must do once a batch.

        A task that the batch has no labels for is not in `losses`, in any process: it takes no part, nothing is learned
        from it, and the others have the coefficients that they would have had beside its last loss.
        """
        present = torch.tensor([task in losses for task in self.tasks], device=self.constants.device)
        stacked = self._stacked(losses)
        seen = self._last_losses.complete(self.constants * mean_over_processes(stacked.detach()), present)
        coefficients = self.weighting(seen, present)
        own = self.weighting.own_loss(seen, present)
        factors = (self.constants * coefficients).detach()
        total = (factors * stacked).sum() if own is None else (factors * stacked).sum() + own
        by_task = {task: factor for task, factor in zip(self.tasks, factors, strict=True) if task in losses}
        return BalancedLoss(total, {task: losses[task] for task in by_task}, by_task, own)

    def backward(
        self, balanced: BalancedLoss, features: SharedFeatures, parameters: Sequence[nn.Parameter], scale: Tensor
    ) -> GradientRecord:
        """Adds the balanced gradients to the parameters' `grad`, in place of `balanced.total.backward()`.

        Args:
            balanced: of this batch.
            features: what each task's loss was computed from.
            parameters: the shared ones that the gradients are measured on: all that `features` came from, or for deep
                those after its first level.
            scale: what the total was multiplied with, scalar: loss scaling, 1 / accumulated batches.
        """
        if balanced.own is not None:
            (scale * balanced.own).backward()
        factors = self._factors(balanced)
        present = tuple(number for number, task in enumerate(self.tasks) if task in balanced.losses)
        for number in present:
            (scale * factors[number] * balanced.losses[self.tasks[number]]).backward()
        if isinstance(self.method, FeatureGradDrop):
            if self.weighting.needs_gradients:
                gradients = mean_over_processes(features.gradients(parameters, keep_graph=True) / scale)
                self._observe(factors, gradients)
            gram, weights = features.backward_masked(self.method)
            gram = mean_over_processes(gram) / scale**2
            return self._record(gram, weights, ~torch.isfinite(gram).all(), present)
        deep = self.measured_on == "deep"
        gradients = mean_over_processes(features.gradients(parameters, to_first_level=deep) / scale)
        if self.weighting.needs_gradients:
            self._observe(factors, gradients)
        direction = self.method.combine(gradients)
        add_gradient(direction.vector * scale, parameters)
        if deep:
            features.backward_below_first_level(direction.weights)
        return self._record(gradients @ gradients.T, direction.weights, direction.degenerate, present)

    def observe_losses_after_step(self, losses: Mapping[str, Tensor]) -> None:
        """Gives a weighting that needs them the last batch's losses (scalars) after the optimiser's step."""
        stacked = self._stacked(losses).detach()
        self.weighting.observe_losses_after_step(self.constants * mean_over_processes(stacked))

    def end_epoch(self) -> None:
        """To be called after the last training batch of each epoch."""
        self.weighting.end_epoch()

    def _factors(self, balanced: BalancedLoss) -> Tensor:
        """What each task's loss is multiplied with before its backward pass, float [K]."""
        if self.method.of_logarithms:
            return 1 / mean_over_processes(self._stacked(balanced.losses).detach()).clamp(min=LEAST_LOSS)
        return self._stacked(balanced.coefficients)

    def _stacked(self, by_task: Mapping[str, Tensor]) -> Tensor:
        """Scalars by task as float [K], 0 for a task that is not there."""
        zero = self.constants.new_zeros(())
        return torch.stack([by_task.get(task, zero) for task in self.tasks])

    def _observe(self, factors: Tensor, gradients: Tensor) -> None:
        """Gives the weighting the gradients with the factors [K] of their losses taken out."""
        inverse = torch.where(factors > 0, self.constants / factors, torch.zeros_like(factors))
        self.weighting.observe_gradients(inverse[:, None] * gradients)

    def _record(self, gram: Tensor, weights: Tensor, degenerate: Tensor, present: tuple[int, ...]) -> GradientRecord:
        self.fallbacks += degenerate
        return GradientRecord(gram.diagonal().sqrt(), cosine_matrix(gram), weights, degenerate, present)
