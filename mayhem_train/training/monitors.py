"""Callbacks of the configuration may watch only what validation measures."""

from __future__ import annotations

import difflib

import pytorch_lightning as pl

from mayhem_ros.errors import UsageError
from mayhem_train.training.validation import ValidationScores


def refuse_unmeasured_monitors(trainer: pl.Trainer, scores: ValidationScores) -> None:
    """Compares what early stopping, checkpoints and the like watch with what a validation measures.

    Before the training, a few frames that lack a class say nothing; after a whole validation they do.

    Raises:
        UsageError: one of them watches another name, or what the split has no ground truth for.
    """
    names = ["val/score", *(f"val/{name}" for name in scores.values), *trainer.callback_metrics]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        monitor = getattr(callback, "monitor", None)
        if monitor is None or monitor.startswith("train/"):  # known once a step is done
            continue
        watches = f"{type(callback).__name__} watches {monitor!r}, which"
        if monitor not in names:
            nearest = difflib.get_close_matches(monitor, names, 1, 0.4)
            hint = f"did you mean {nearest[0]}? There are" if nearest else "choose one of"
            raise UsageError(f"{watches} is not measured: {hint} {', '.join(names)}.")
        if not trainer.sanity_checking and scores.values.get(monitor.removeprefix("val/"), 0) is None:
            raise UsageError(f"{watches} no validation frame has the truth for: watch val/score.")
