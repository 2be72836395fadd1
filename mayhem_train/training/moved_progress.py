"""How far a run has come, told to a machine whose steps take other numbers of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEY = "mayhem_step"


def note_step(checkpoint: dict[str, Any], processes: int, accumulated: int) -> None:
    """Writes into a checkpoint what its steps are made of: processes, and batches that each of them accumulates."""
    checkpoint[_KEY] = {"processes": processes, "accumulated": accumulated}


def move_progress(checkpoint: dict[str, Any], processes: int, accumulated: int) -> None:
    """Counts a checkpoint's progress in steps of so many processes and accumulated batches.

    The learning rate's schedule stands at the same share of the training, and an epoch that was begun is gone on with
    at the same frame or up to a step before it.
    """
    before: Mapping[str, int] = checkpoint.get(_KEY) or {"processes": processes, "accumulated": accumulated}
    if (before["processes"], before["accumulated"]) == (processes, accumulated):
        return
    ratio = before["processes"] * before["accumulated"] / (processes * accumulated)
    for schedule in checkpoint["lr_schedulers"]:
        schedule["last_epoch"] = round(schedule["last_epoch"] * ratio)
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    if not progress["is_last_batch"]:
        for name, batches in progress["current"].items():
            progress["current"][name] = batches * before["processes"] // processes // accumulated * accumulated
