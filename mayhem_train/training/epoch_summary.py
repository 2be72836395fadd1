"""One line an epoch for terminals and log files."""

from __future__ import annotations

import time

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from mayhem_train.console import console
from mayhem_train.training.validation import ValidationScores

_HEADLINES = {"map": "mAP", "ap50": "AP50", "mean_iou": "mIoU"}
_OF_CLASSES = {"ap50": "ap50/", "mean_iou": "iou/"}


class EpochSummary(Callback):
    """Prints after each validation where training stands."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch, the loss and the headline metrics."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        shown = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", f"step {trainer.global_step}"]
        loss = trainer.callback_metrics.get("train/loss")
        shown += [] if loss is None else [f"last loss {float(loss):.3f}"]
        shown += headlines(pl_module.scores)  # type: ignore[arg-type]
        line = "  ".join([*shown, f"{time.monotonic() - self._started:.0f} s"])
        # A progress bar on this terminal has taken the place of sys.stdout, and lets print() write above it.
        if console.is_terminal:
            print(line)
        else:
            console.print(line, highlight=False, soft_wrap=True)


def headlines(scores: ValidationScores) -> list[str]:
    """Each headline metric with its classes, "n/a" where validation has no ground truth: AP50 0.543 (agv 0.543)."""
    told = []
    for name, label in _HEADLINES.items():
        if name not in scores.values:
            continue
        prefix = _OF_CLASSES.get(name)
        classes = [
            f"{key.removeprefix(prefix)} {_figure(value)}"
            for key, value in scores.values.items()
            if prefix is not None and key.startswith(prefix)
        ]
        told.append(f"{label} {_figure(scores.values[name])}" + (f" ({', '.join(classes)})" if classes else ""))
    return told


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
