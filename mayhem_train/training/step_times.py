"""How long each training step took, and how long it waited for its data."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class StepTimes(Callback):
    """Logs `train/data_seconds` and `train/step_seconds`.

    A GPU works on while Python goes on, so a single step's time says little there, and their mean says all.
    """

    def __init__(self) -> None:
        self._ready: float | None = None
        self._started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The first batch of an epoch is waited for from here."""
        self._ready = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The data have come."""
        self._started = time.perf_counter()
        if self._ready is not None:
            pl_module.log("train/data_seconds", self._started - self._ready, batch_size=1)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The step is done."""
        self._ready = time.perf_counter()
        pl_module.log("train/step_seconds", self._ready - self._started, batch_size=1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A validation in mid-epoch is no waiting for data."""
        self._ready = None
