"""The training command: configuration to a run folder with checkpoints, logs and provenance."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.balancing.balancer import Balancer
from mayhem_train.console import console, error_console
from mayhem_train.datasets.datamodule import PerceptionDataModule
from mayhem_train.outputs import whole_file
from mayhem_train.training.epoch_summary import EpochSummary
from mayhem_train.training.perception_module import PerceptionModule
from mayhem_train.training.provenance import environment, git_revision
from mayhem_train.training.trained_network import CHECKPOINT_KEY, TrainedNetwork, read_checkpoint


@dataclass(frozen=True)
class TrainingRun:
    """A finished run: its folder, its best checkpoint and what validation said of that."""

    folder: Path
    checkpoint: Path
    trained: TrainedNetwork


class _TrainingCLI(LightningCLI):
    """Everything of the trainer, the data, the network and the balancer by typed arguments or a YAML file."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the run folder and the balancer, and ties the network to the data."""
        parser.add_argument("--out", type=str, default="runs/lraspp-mtl", help="The run's folder; resumed if started.")
        parser.add_argument("--force", action="store_true", help="Start anew, replacing what the folder holds.")
        parser.add_class_arguments(Balancer, "balancer")
        parser.link_arguments("balancer", "model.balancer", apply_on="instantiate")
        parser.link_arguments("data.size", "model.size")
        for source, target in (
            ("thing_names", "detection_classes"),
            ("surface_names", "segmentation_classes"),
            ("dataset_hash", "dataset_sha256"),
        ):
            parser.link_arguments(f"data.{source}", f"model.{target}", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Opens the run folder before any work is done."""
        self.run_folder = Path(self.config.out)
        settings = yaml.safe_load(self.parser.dump(self.config, skip_unset=False))
        _open_run_folder(self.run_folder, settings, force=self.config.force)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Adds loggers, checkpoints and the fastest safe precision where the configuration names none."""
        asked = self.config_init.trainer
        if asked.logger in (None, True):
            kwargs["logger"] = _loggers(self.run_folder)
        if asked.precision is None:
            kwargs["precision"] = fastest_precision()
        if asked.enable_model_summary is None:
            kwargs["enable_model_summary"] = False  # one line of ours says what matters
        if asked.enable_progress_bar is None:
            kwargs["enable_progress_bar"] = error_console.is_terminal
        kwargs["callbacks"] = [*(asked.callbacks or []), *_callbacks(self.run_folder)]
        return super().instantiate_trainer(default_root_dir=str(self.run_folder), **kwargs)


def train(arguments: Sequence[str]) -> TrainingRun:
    """Trains as `mayhem train` does; a run that was stopped goes on from its last checkpoint.

    Args:
        arguments: command-line arguments: `--config FILE`, `--out FOLDER`, `--data.index FILE`, ….

    Raises:
        UsageError: an argument or a configuration is wrong, or the folder holds another run.
        MayhemError: the data cannot be used, or the loss is not finite.
    """
    _quieten()
    try:
        cli = _TrainingCLI(
            PerceptionModule,
            PerceptionDataModule,
            args=list(arguments),
            run=False,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            save_config_callback=None,
            parser_kwargs={"exit_on_error": False, "prog": "mayhem train"},
        )
    except argparse.ArgumentError as error:
        raise UsageError(f"{_first_sentence(error)} (`mayhem train --help` lists every setting)") from error
    last = cli.run_folder / "checkpoints" / "last.ckpt"
    resumed = last.is_file()
    if resumed:
        done = int(read_checkpoint(last)["epoch"]) + 1
        if cli.trainer.max_epochs is not None and done >= cli.trainer.max_epochs > 0:
            console.print(
                f"{cli.run_folder} is finished: raise --trainer.max_epochs to go on or --force to start anew."
            )
            return _finished_run(cli.run_folder)
        console.print(f"Going on with {cli.run_folder} after epoch {done}.", highlight=False, soft_wrap=True)
    _introduce(cli)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=str(last) if resumed else None, weights_only=True)
    if cli.trainer.interrupted:
        raise MayhemError(f"Stopped before the end: the same command goes on from {last}.")
    return _finished_run(cli.run_folder)


def fastest_precision() -> str:
    """ "bf16-mixed" where the device multiplies bfloat16 in hardware, else "32-true"."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    capabilities = torch.cpu.get_capabilities()
    return "bf16-mixed" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "32-true"


def _introduce(cli: _TrainingCLI) -> None:
    """One line about what is about to be trained, on what and where."""
    network = cli.model.network
    index = cli.datamodule.dataset_index
    console.print(
        f"{network.specification.name} on {network.specification.body}: "
        f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters, "
        f"{len(index.split('train').images)} frames to train on, {len(index.split('val').images)} to validate on, "
        f"{cli.trainer.precision} on {cli.trainer.strategy.root_device}.",
        highlight=False,
        soft_wrap=True,
    )


def _open_run_folder(folder: Path, settings: dict[str, Any], *, force: bool) -> None:
    """Writes config.yaml and run.json into a new folder, or checks that the folder's run is this one."""
    saved = folder / "config.yaml"
    for passing in ("force", "config", "out"):
        settings.pop(passing, None)
    if force and folder.exists():
        _remove_run(folder)
    if saved.is_file():
        before = yaml.safe_load(saved.read_text())
        differing = sorted(_differences(before, settings) - {"trainer.max_epochs"})
        if differing:
            raise UsageError(
                f"{folder} holds a run with other settings ({', '.join(differing[:4])}): "
                "choose another --out, or pass --force to replace it."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} exists and is no training run: choose another --out.")
    with whole_file(saved, force=True) as partial:
        partial.write_text(yaml.safe_dump(settings, sort_keys=False))
    provenance = {"git_revision": git_revision(), "environment": environment()}
    with whole_file(folder / "run.json", force=True) as partial:
        partial.write_text(json.dumps(provenance, indent=2) + "\n")


def _remove_run(folder: Path) -> None:
    """Removes a run's folder, and only ever a run's."""
    if not any(folder.iterdir()):
        return
    if not (folder / "config.yaml").is_file():
        raise UsageError(
            f"{folder} exists and is no training run, so --force does not replace it: choose another --out."
        )
    shutil.rmtree(folder)


def _differences(before: Any, after: Any, place: str = "") -> set[str]:
    """The dotted names of the settings that differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return {
            name
            for key in before.keys() | after.keys()
            for name in _differences(before.get(key), after.get(key), f"{place}.{key}" if place else key)
        }
    return set() if before == after else {place}


def _finished_run(folder: Path) -> TrainingRun:
    checkpoint = folder / "checkpoints" / "best.ckpt"
    if not checkpoint.is_file():
        raise MayhemError(f"{folder} has no best checkpoint: no validation ran; train for at least one epoch.")
    return TrainingRun(folder, checkpoint, TrainedNetwork.from_dict(read_checkpoint(checkpoint)[CHECKPOINT_KEY]))


def _loggers(folder: Path) -> list[Logger]:
    return [CSVLogger(folder, name="logs"), TensorBoardLogger(folder, name="tensorboard", version="")]


def _callbacks(folder: Path) -> list[Callback]:
    callbacks: list[Callback] = [EpochSummary(), LearningRateMonitor("step")]
    if error_console.is_terminal:
        callbacks.append(RichProgressBar())
    checkpoints = folder / "checkpoints"
    best = ModelCheckpoint(checkpoints, filename="best", monitor="val/score", mode="max", enable_version_counter=False)
    last = ModelCheckpoint(checkpoints, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    return [*callbacks, best, last]


def _first_sentence(error: Exception) -> str:
    """The line of a parser's message that names what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3]).rstrip(".")


def _quieten() -> None:
    """Leaves out Lightning's advertisements and hints; its warnings about the training itself stay."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for hint in (
        ".*does not have many workers.*",
        ".*number of training batches.*smaller than the logging interval.*",
        ".*LightningCLI's args parameter.*",
        ".*exists and is not empty.*",
        ".*`isinstance.treespec, LeafSpec.*",
        ".*instantiate_classes.*was deprecated.*",
    ):
        warnings.filterwarnings("ignore", hint)
