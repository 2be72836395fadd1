"""SIGTERM, by which clusters take a machine back: the step is finished and saved, and the training ends."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.exceptions import SIGTERMException

from mayhem_train.training.joined_batch import any_process


class SaveOnTermination(Callback):
    """Saves a checkpoint to go on from after the step in which SIGTERM came, then lets Lightning end the training.

    Lightning's own handler lets processes talk to one another wherever the signal finds them, in the middle of a
    gradient's exchange, say. Here the signal is only noted, and all processes agree on it between two steps. One that
    comes in an epoch's last step or during a validation waits for the validation's end.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: Path):
        self.path = path
        self._noted = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes Lightning's place as the handler; Lightning puts the handler back that was there before both."""
        self._noted = False
        launched = getattr(trainer.strategy.launcher, "procs", ())

        def note(number: int, frame: FrameType | None) -> None:
            self._noted = True
            for process in launched:
                process.send_signal(number)

        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, note)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tells Lightning, which ends the training as soon as everything of this step is done.

        Not after an epoch's last step: Lightning would leave out the validation and take the epoch for complete. Nor
        between batches that are accumulated, whose gradients no checkpoint holds.
        """
        between_steps = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if any_process(self._noted, pl_module.device) and between_steps and not trainer.is_last_batch:
            trainer._signal_connector.received_sigterm = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tells Lightning, which ends the training as soon as everything of this epoch is done."""
        if any_process(self._noted, pl_module.device):
            trainer._signal_connector.received_sigterm = True

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Between two steps everything is as a checkpoint wants it."""
        if isinstance(exception, SIGTERMException):
            trainer.save_checkpoint(self.path)
