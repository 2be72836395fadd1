"""What each task showed in the last batch that had it, to stand in for it where a batch lacks it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class LastKnown(nn.Module):
    """Completes one number a task, such as its loss, for the tasks that a batch lacks; checkpoints hold what it knows.

    So the tasks that are there have the weights they would have had beside the others.
    """

    def __init__(self) -> None:
        super().__init__()
        self._values: Tensor | None = None
        self.register_load_state_dict_pre_hook(_know_nothing)

    def complete(self, values: Tensor, present: Tensor) -> Tensor:
        """The values float [K] where `present` (bool [K]), elsewhere the last ones; the others' mean before any.

        Values that are not finite are not remembered.
        """
        before = torch.full_like(values, torch.nan) if self._values is None else self._values.to(values)
        self._values = torch.where(present & torch.isfinite(values), values, before)
        stand_ins = torch.where(torch.isnan(self._values), self._values.nanmean(), self._values)
        return torch.where(present, values, stand_ins)

    def get_extra_state(self) -> Tensor | None:
        """The last values, float [K], not a number where there was none."""
        return self._values

    def set_extra_state(self, state: Tensor | None) -> None:
        """The inverse of `get_extra_state`."""
        self._values = state


def _know_nothing(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Checkpoints from before anything was remembered hold none of it."""
    state.setdefault(f"{prefix}_extra_state", None)
