"""Where the training's figures go: a CSV file always, TensorBoard by default, Weights & Biases if asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from mayhem_ros.errors import UsageError

NEEDS_WANDB = "needs a Python package that is not installed: `pip install wandb`, or leave it out"
WandbMode = Literal["online", "offline"]


def run_loggers(
    folder: Path, configured: Logger | Iterable[Logger] | bool | None, wandb: WandbMode | None
) -> list[Logger]:
    """The loggers of a run; the CSV file is always one of them.

    Args:
        folder: the run's.
        configured: by the Trainer's settings; None or True stands for TensorBoard.
        wandb: whether figures go to Weights & Biases too: online to its server, offline into the folder, to be sent
            later by `wandb sync`.

    Raises:
        UsageError: Weights & Biases is asked for and not installed.
    """
    if configured is None or isinstance(configured, bool):
        chosen: list[Logger] = [TensorBoardLogger(folder, name="tensorboard", version="")]
    else:
        chosen = [configured] if isinstance(configured, Logger) else list(configured)
    chosen.insert(0, CSVLogger(folder, name="logs"))
    if wandb is not None:
        if importlib.util.find_spec("wandb") is None:
            raise UsageError(f"--wandb {NEEDS_WANDB}.")
        chosen.append(WandbLogger(name=folder.name, save_dir=folder, project="mayhem", offline=wandb == "offline"))
    return chosen
