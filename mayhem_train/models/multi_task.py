"""A network: one shared body and a head for each task."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mayhem_train.models.bodies import Body
from mayhem_train.models.features import Features
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.models.targets import Targets

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Head(Protocol):
    """What a task's head offers; it is an nn.Module as well.

    One whose task may be missing from a batch's labels has `is_labelled(targets)` besides, which says whether they
    hold anything for it.
    """

    outputs: tuple[str, ...]
    """The names of what it publishes."""

    def __call__(self, features: Features) -> Any:
        """The task's raw predictions."""

    def losses(self, predictions: Any, targets: Targets) -> dict[str, Tensor]:
        """The terms of the task's loss by name, scalars; the task's loss is their sum."""

    def publish(self, predictions: Any, height: int, width: int) -> tuple[Tensor, ...]:
        """What a robot gets, in the pixels of an image of this height and width, in the order of `outputs`."""


class MultiTaskNetwork(nn.Module):
    """A body and its heads.

    Args:
        specification: what it was built from.
        body: images to features.
        heads: task name to head.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, specification: NetworkSpecification, body: Body, heads: dict[str, nn.Module]):
        super().__init__()
        self.specification = specification
        self.body = body
        self.heads = nn.ModuleDict(heads)
        # Of values 0 to 255, so that no pixel is divided twice.
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks' names."""
        return tuple(self.heads)

    def forward(self, images: Tensor) -> dict[str, Any]:
        """Raw predictions by task from RGB images [N, 3, H, W] with values 0 to 255, at the specification's size."""
        return self.predictions(self.features(images))

    def features(self, images: Tensor) -> Features:
        """What the heads share, from RGB images [N, 3, H, W] with values 0 to 255, at the specification's size."""
        return self.body((images - self.mean) / self.std)

    def predictions(self, features: Features) -> dict[str, Any]:
        """Raw predictions by task."""
        return {task: head(features) for task, head in self.heads.items()}

    @property
    def shared_parameters(self) -> list[nn.Parameter]:
        """What every task's loss reaches, and is trained: the body's, but for frozen ones."""
        return [parameter for parameter in self.body.parameters() if parameter.requires_grad]

    @property
    def deep_parameters(self) -> list[nn.Parameter]:
        """The shared ones after level c3: nearly all of a body's parameters, and less than half of its time."""
        stages = (self.body.to_c4, self.body.to_c5)
        return [parameter for stage in stages for parameter in stage.parameters() if parameter.requires_grad]

    def labelled_tasks(self, targets: Targets) -> tuple[str, ...]:
        """The tasks that the batch has labels for; a head that cannot tell has them always."""
        return tuple(task for task, head in self.heads.items() if getattr(head, "is_labelled", lambda _: True)(targets))

    def losses(self, predictions: dict[str, Any], targets: Targets) -> dict[str, dict[str, Tensor]]:
        """Each task's loss terms."""
        heads: dict[str, Head] = dict(self.heads.items())  # type: ignore[arg-type]
        return {task: heads[task].losses(predictions[task], targets) for task in predictions}
