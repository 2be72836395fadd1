"""What a network is made of: a body and heads, each by a small builder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from mayhem_train.models.bodies import Body, Weights, build_body
from mayhem_train.models.multi_task import MultiTaskNetwork
from mayhem_train.models.specification import NetworkSpecification


@dataclass(frozen=True)
class HeadRecipe:
    """A head.

    Attributes:
        task: its name.
        build: makes it for a body.
        dilates: whether it wants the body's c5 dense, at stride 16.
    """

    task: str
    build: Callable[[Body, NetworkSpecification], nn.Module]
    dilates: bool = False


@dataclass(frozen=True)
class NetworkRecipe:
    """A network.

    Attributes:
        heads: one for each task.
        body: makes the body of a name, starting from weights, dilated if a head wants it.
    """

    heads: tuple[HeadRecipe, ...]
    body: Callable[[str, Weights, bool], Body] = build_body

    def build(self, specification: NetworkSpecification, weights: Weights) -> MultiTaskNetwork:
        """The network.

        Raises:
            UsageError: there is no body of this name, or a head has no classes to learn.
        """
        body = self.body(specification.body, weights, any(head.dilates for head in self.heads))
        heads = {head.task: head.build(body, specification) for head in self.heads}
        return MultiTaskNetwork(specification, body, heads)
