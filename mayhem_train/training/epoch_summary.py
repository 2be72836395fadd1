"""One line an epoch for terminals and log files."""

from __future__ import annotations

import time

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from mayhem_train.console import console


class EpochSummary(Callback):
    """Prints after each validation where training stands."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch, the loss and the headline metrics."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        shown = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", f"step {trainer.global_step}"]
        for label, name in (
            ("last loss", "train/loss"),
            ("mAP", "val/map"),
            ("AP50", "val/ap50"),
            ("mIoU", "val/mean_iou"),
        ):
            if name in values:
                shown.append(f"{label} {values[name]:.3f}")
        shown.append(f"{time.monotonic() - self._started:.0f} s")
        console.print("  ".join(shown), highlight=False, soft_wrap=True)
