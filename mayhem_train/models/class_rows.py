"""The rows of a head's last layers that belong to one class each, moved to where another head has that class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn


class ClassHead(Protocol):
    """A head that tells classes apart."""

    @property
    def class_layers(self) -> dict[str, int]:
        """By the names of the layers whose outputs go by class: how many values of one class lie together.

        A layer's outputs are [G, classes, values] in this order, for G default boxes at a place, or 1.
        """

    @property
    def tells_background(self) -> bool:
        """Whether the background is a class of these layers, the first one."""


def class_rows(head: nn.Module) -> dict[str, int]:
    """The parameters whose rows go by class, with how many rows of one class lie together; none of other heads."""
    layers: dict[str, int] = getattr(head, "class_layers", {})
    return {name: layers[layer] for name, _ in head.named_parameters() if (layer := name.rpartition(".")[0]) in layers}


@torch.no_grad()
def move_class_rows(to: nn.Module, classes: Sequence[str], origin: nn.Module, origin_classes: Sequence[str]) -> None:
    """Copies the rows of the background and of every class that both heads tell; the others stay as they are.

    Args:
        to: a head.
        classes: its classes in their order, background left out.
        origin: a head of the same kind.
        origin_classes: likewise.
    """
    first = int(getattr(to, "tells_background", False))
    shared = [
        (first + classes.index(name), first + place) for place, name in enumerate(origin_classes) if name in classes
    ]
    shared += [(0, 0)] * first
    for name, values in class_rows(to).items():
        rows = _by_class(to.get_parameter(name), first + len(classes), values)
        found = _by_class(origin.get_parameter(name), first + len(origin_classes), values)
        for place, origin_place in shared:
            rows[:, place] = found[:, origin_place]


def _by_class(parameter: Tensor, classes: int, values: int) -> Tensor:
    """A view [G, classes, values, ...] of a weight or a bias."""
    return parameter.detach().view(-1, classes, values, *parameter.shape[1:])
