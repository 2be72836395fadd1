"""The shared features between the body's graph and each task's own, so that the body's gradient is had task by task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.gradients.graddrop import FeatureGradDrop

FeatureTuple = TypeVar("FeatureTuple", bound=NamedTuple)


class SharedFeatures(Generic[FeatureTuple]):
    """Every task's head stands on its own copy of the features, cut off from the body.

    A task's backward pass then ends at its copy, and what arrived there goes on through the body, once for each task.
    Each copy holds all levels at once, also where one level was computed from another.

    Args:
        features: the body's, a named tuple of float tensors [N, ...] with their graph; all others come from the first.
        tasks: names.
    """

    def __init__(self, features: FeatureTuple, tasks: Sequence[str]):
        self._features = features
        self._at_first_level: list[Tensor | None] = []
        kind = type(features)
        self._copies = {task: kind(*(level.detach().requires_grad_() for level in features)) for task in tasks}

    def of(self, task: str) -> FeatureTuple:
        """The task's copy, for its head."""
        return self._copies[task]

    def gradients(
        self, parameters: Sequence[nn.Parameter], *, keep_graph: bool = False, to_first_level: bool = False
    ) -> Tensor:
        """Each task's gradient of shared parameters, float [K, P], after the tasks' own backward passes.

        Rows hold the parameters one after the other in their memory's order; `add_gradient` takes such a vector apart.

        Args:
            parameters: those wanted.
            keep_graph: whether another pass through the same part of the body is to come.
            to_first_level: go no further than the first level, `parameters` being those that come after it;
                `backward_below_first_level` goes on from there.

        Raises:
            UsageError: a task is to be measured after the first level and looks at nothing else.
        """
        tasks = list(self._copies)
        count = sum(parameter.numel() for parameter in parameters)
        rows = torch.zeros(len(tasks), count, device=self._features[0].device)
        first = self._features[0]
        further = [first] if to_first_level and first.requires_grad else []
        self._at_first_level = [None] * len(tasks)
        for number, (row, task) in enumerate(zip(rows, tasks, strict=True)):
            pairs = [(level, copy.grad) for level, copy in self._pairs(task) if copy.grad is not None]
            if to_first_level and pairs and all(level is first for level, _ in pairs):
                raise UsageError(
                    f"The task {task} looks at no more than the first feature level, so that it cannot be compared on "
                    "the deep ones: choose --balancer.measured_on body."
                )
            reached = [(level, gradient) for level, gradient in pairs if level.requires_grad]
            if not reached:
                continue
            found = torch.autograd.grad(
                [level for level, _ in reached],
                [*parameters, *further],
                [gradient for _, gradient in reached],
                retain_graph=keep_graph or task != tasks[-1],
                allow_unused=True,
            )
            if further:
                self._at_first_level[number] = found[-1]
            for place, gradient in zip(_pieces(row, parameters), found[: len(parameters)], strict=True):
                if gradient is not None:
                    place.copy_(gradient)
        return rows

    def backward_below_first_level(self, weights: Tensor) -> None:
        """One pass through what comes before the first level, for all tasks: their gradients' sum by weights [K]."""
        pairs = zip(weights, self._at_first_level, strict=True)
        weighted = [weight * gradient.float() for weight, gradient in pairs if gradient is not None]
        if weighted:
            first = self._features[0]
            torch.autograd.backward(first, torch.stack(weighted).sum(0).to(first.dtype))

    def backward_masked(self, method: FeatureGradDrop) -> tuple[Tensor, Tensor]:
        """One pass through the body with the features' gradients that the method lets through.

        Returns:
            The Gram matrix [K, K] of the tasks' gradients of the features, and the share [K] of each that passed.
        """
        tasks = list(self._copies)
        reached, passing = [], []
        gram = self._features[0].new_zeros(len(tasks), len(tasks), dtype=torch.float32)
        passed = gram.new_zeros(len(tasks))
        size = gram.new_zeros(len(tasks))
        for place, level in enumerate(self._features):
            own = [self._copies[task][place].grad for task in tasks]
            if not level.requires_grad or all(gradient is None for gradient in own):
                continue
            gradients = torch.stack([torch.zeros_like(level) if gradient is None else gradient for gradient in own])
            kept = method.mask(gradients, level.detach())
            flat = gradients.flatten(1).float()
            gram += flat @ flat.T
            size += flat.abs().sum(1)
            passed += kept.flatten(1).float().abs().sum(1)
            reached.append(level)
            passing.append(kept.sum(0))
        if reached:
            torch.autograd.backward(reached, passing)
        return gram, passed / size.clamp(min=torch.finfo(size.dtype).tiny)

    def _pairs(self, task: str) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self._features, self._copies[task], strict=True)


def add_gradient(vector: Tensor, parameters: Sequence[nn.Parameter]) -> None:
    """Adds a vector float [P], in the order of `SharedFeatures.gradients`, to the parameters' `grad`."""
    for place, parameter in zip(_pieces(vector, parameters), parameters, strict=True):
        if parameter.grad is None:
            parameter.grad = place
        else:
            parameter.grad.add_(place)


def _pieces(vector: Tensor, parameters: Sequence[nn.Parameter]) -> Iterator[Tensor]:
    """Views of the vector with each parameter's shape and strides; parameters are dense, so none overlap."""
    offset = vector.storage_offset()
    for parameter in parameters:
        yield vector.as_strided(parameter.shape, parameter.stride(), offset)
        offset += parameter.numel()
