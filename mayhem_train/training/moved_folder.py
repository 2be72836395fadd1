"""Where a run's best checkpoint lies once its folder has been moved or copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint


def move_checkpoints(checkpoint: dict[str, Any], trainer: pl.Trainer) -> None:
    """Tells what keeps the best checkpoint of its folder's new path, in a checkpoint that is about to be loaded.

    Lightning forgets the best score where the path is another, and would keep a worse checkpoint in its place.
    """
    for callback in trainer.checkpoint_callbacks:
        state = checkpoint["callbacks"].get(callback.state_key)
        if state is None or not isinstance(callback, ModelCheckpoint) or state["dirpath"] == callback.dirpath:
            continue
        folder = Path(str(callback.dirpath))
        state["dirpath"] = callback.dirpath
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = str(folder / Path(state[name]).name) if state[name] else ""
        state["best_k_models"] = {
            str(folder / Path(path).name): score for path, score in state["best_k_models"].items()
        }
