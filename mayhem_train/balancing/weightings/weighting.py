"""What every loss weighting offers to the balancer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

# A loss below it has nothing to teach, and its logarithm and inverse no use.
LEAST_LOSS = 1e-8


class LossWeighting(nn.Module, ABC):
    """A map from the losses L_1 .. L_K of named tasks to their coefficients c_1 .. c_K.

    State is kept in buffers and parameters, so that checkpoints hold it. A task that a batch has no labels for comes
    with its last loss, so that the others get the coefficients they would have had beside it; what is learned or
    averaged leaves it out (`present`). A loss of zero that was measured is a loss like any other.

    Attributes:
        needs_gradients: each step, `observe_gradients` must be given the tasks' gradients of the shared body.
        needs_losses_after_step: each step, `observe_losses_after_step` must be given the same batch's losses anew.
        idle_epochs: how many epochs at the start only tell it where the tasks begin; it weighs by them afterwards.
    """

    needs_gradients = False
    needs_losses_after_step = False
    idle_epochs = 0

    @abstractmethod
    def forward(self, losses: Tensor, present: Tensor | None = None) -> Tensor:
        """The coefficients float [K] of losses float [K], which carry no gradient; one call for each training batch.

        Coefficients carry a gradient only to the weighting's own parameters.

        Args:
            losses: of the tasks.
            present: bool [K], those the batch has labels for; all where None.
        """

    def bind(self, tasks: Sequence[str]) -> None:
        """Called once with the tasks' names, in the order of all losses to come, before training or loading."""

    def own_loss(self, losses: Tensor, present: Tensor | None = None) -> Tensor | None:
        """What the weighting's own parameters minimise besides, a scalar; None where it learns none by gradients."""
        return None

    def end_epoch(self) -> None:
        """Called after the last batch of each epoch."""

    def observe_gradients(self, gradients: Tensor) -> None:
        """Takes the gradients float [K, P] of the losses (no coefficient applied) that `forward` saw last.

        A task that the batch lacks has a gradient of zero.
        """

    def observe_losses_after_step(self, losses: Tensor) -> None:
        """Takes the losses float [K] of the batch that `forward` saw last, after the optimiser's step."""
