"""The training command: configuration to a run folder with checkpoints, logs and provenance."""

from __future__ import annotations

import argparse
import logging
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.balancing.balancer import Balancer
from mayhem_train.console import console, error_console
from mayhem_train.datasets.datamodule import PerceptionDataModule
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.outputs import refuse_inputs_within
from mayhem_train.training.epoch_summary import EpochSummary
from mayhem_train.training.perception_module import PerceptionModule
from mayhem_train.training.run_folder import check_run_folder, record_run
from mayhem_train.training.trained_network import CHECKPOINT_KEY, TrainedNetwork, read_checkpoint

EXAMPLE = (
    "mayhem train --config config/train/lraspp-mtl.yaml --data.index index.json --data.recordings recordings "
    "--out runs/first"
)


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
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        for source, target in (
            ("thing_names", "detection_classes"),
            ("surface_names", "segmentation_classes"),
            ("dataset_hash", "dataset_sha256"),
        ):
            parser.link_arguments(f"data.{source}", f"model.{target}", apply_on="instantiate")

    def before_instantiate_classes(self) -> None:
        """Looks at the run folder before any work is done, and leaves it as it is."""
        self.run_folder = Path(self.config.out)
        self.settings: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config, skip_unset=False))
        check_run_folder(self.run_folder, self.settings, force=self.config.force)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Adds loggers, checkpoints and the fastest safe precision where the configuration names none."""
        asked = self.config_init.trainer
        if asked.logger in (None, True):
            kwargs["logger"] = _loggers(self.run_folder)
        if asked.devices == "auto":
            kwargs["devices"] = 1  # validation scores whole splits in one process
        if asked.precision is None:
            kwargs["precision"] = fastest_precision()
        if asked.enable_model_summary is None:
            kwargs["enable_model_summary"] = False  # one line of ours says what matters
        if asked.enable_progress_bar is None:
            kwargs["enable_progress_bar"] = error_console.is_terminal
        logs = kwargs.get("logger", asked.logger) is not False
        kwargs["callbacks"] = [*(asked.callbacks or []), *_callbacks(self.run_folder, logs)]
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
    cli = _build(arguments)
    last = cli.run_folder / "checkpoints" / "last.ckpt"
    resumed = last.is_file() and not cli.config.force
    if resumed:
        done, trained = _read_last(last)
        if trained.dataset_sha256 != cli.model.dataset_sha256:
            raise UsageError(
                f"{cli.run_folder} was trained on another version of {cli.datamodule.index}: "
                "choose another --out, or pass --force to start anew."
            )
        if done >= (cli.trainer.max_epochs or 0):
            console.print(
                f"{cli.run_folder} is finished: raise --trainer.max_epochs to go on or --force to start anew.",
                soft_wrap=True,
            )
            return _finished_run(cli.run_folder)
        console.print(f"Going on with {cli.run_folder} after epoch {done}.", highlight=False, soft_wrap=True)
    if cli.config.force:
        refuse_inputs_within(cli.run_folder, cli.datamodule.inputs)
    cli.datamodule.setup("fit")  # names what is missing while the folder is untouched
    if cli.datamodule.smallest_batch == 1 and not cli.model.learns_from_one_image:
        raise UsageError(
            f"One image a step cannot train a network of {list(cli.datamodule.size)}, whose coarsest map is one pixel: "
            "set --data.batch_size to 2 or more (with as many frames to train on), or a larger --data.size."
        )
    record_run(cli.run_folder, cli.settings, anew=cli.config.force)
    _introduce(cli)
    _fit(cli, last, resumed=resumed)
    return _finished_run(cli.run_folder)


def _build(arguments: Sequence[str]) -> _TrainingCLI:
    """The data, the network and the trainer that the arguments name."""
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
            parser_kwargs={"exit_on_error": False, "prog": "mayhem train", "epilog": f"example: {EXAMPLE}"},
        )
    except (argparse.ArgumentError, MisconfigurationException, ValueError) as error:
        raise UsageError(f"{_sentence(error)} (`mayhem train --help` lists every setting)") from error
    if cli.trainer.world_size > 1:
        raise UsageError(
            f"{cli.trainer.world_size} processes cannot train one network yet: leave out --trainer.devices."
        )
    if cli.trainer.max_epochs is None or cli.trainer.max_epochs < 1:
        raise UsageError("The learning rate's cosine needs an end: set --trainer.max_epochs to 1 or more.")
    return cli


def _fit(cli: _TrainingCLI, last: Path, *, resumed: bool) -> None:
    """Trains; whatever ends it early is told in one sentence."""
    ckpt_path = str(last) if resumed else None
    try:
        cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=ckpt_path, weights_only=True)
    except MayhemError as error:  # a DataLoader's worker puts its traceback before the sentence
        kind = type(error)
        sentence = str(error).rstrip().rsplit("\n", 1)[-1]
        raise kind(sentence.removeprefix(f"{kind.__module__}.{kind.__qualname__}: ")) from error
    except OSError as error:
        reason = error.strerror or error
        raise MayhemError(
            f"Cannot write {cli.run_folder} ({reason}): free the disk or choose another --out."
        ) from error
    except SystemExit as stopped:  # what Lightning makes of Ctrl-C
        hint = "the same command goes on from the last epoch" if last.is_file() else "no epoch was complete"
        error_console.print(f"Stopped: {hint}.", highlight=False, soft_wrap=True)
        raise KeyboardInterrupt from stopped


def _read_last(path: Path) -> tuple[int, TrainedNetwork]:
    """How many epochs the last checkpoint has seen, and what it says of its network."""
    checkpoint = read_checkpoint(path)
    try:
        return int(checkpoint["epoch"]) + 1, TrainedNetwork.from_dict(checkpoint[CHECKPOINT_KEY])
    except (KeyError, TypeError, ValueError) as error:
        raise MayhemError(f"{path} is no checkpoint of `mayhem train`: pass --force to start anew.") from error


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
        f"{_frames(index.split('train'))} to train on, {_frames(index.split('val'))} to validate on, "
        f"{cli.trainer.precision} on {cli.trainer.strategy.root_device}.",
        highlight=False,
        soft_wrap=True,
    )


def _frames(part: DatasetIndex) -> str:
    return "1 frame" if len(part.images) == 1 else f"{len(part.images)} frames"


def _finished_run(folder: Path) -> TrainingRun:
    checkpoint = folder / "checkpoints" / "best.ckpt"
    if not checkpoint.is_file():
        raise MayhemError(f"{folder} has no best checkpoint: no validation ran; train for at least one epoch.")
    return TrainingRun(folder, checkpoint, _read_last(checkpoint)[1])


def _loggers(folder: Path) -> list[Logger]:
    return [CSVLogger(folder, name="logs"), TensorBoardLogger(folder, name="tensorboard", version="")]


def _callbacks(folder: Path, logs: bool) -> list[Callback]:
    callbacks: list[Callback] = [EpochSummary(), *([LearningRateMonitor("step")] if logs else [])]
    checkpoints = folder / "checkpoints"
    best = ModelCheckpoint(checkpoints, filename="best", monitor="val/score", mode="max", enable_version_counter=False)
    last = ModelCheckpoint(checkpoints, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    return [*callbacks, best, last]


def _sentence(error: BaseException) -> str:
    """What of a parser's message names what is wrong: beneath "no Union subtype fits" stands why it does not."""
    settings = ".".join(re.findall(r'Parser key "([^"]+)"', str(error)))
    reason: BaseException = error
    while reason.__cause__ is not None and not isinstance(reason, MayhemError):
        reason = reason.__cause__
    if not settings and not isinstance(reason, MayhemError):
        reason = error
    lines = [line.strip() for line in str(reason).splitlines() if line.strip()]
    names_itself = isinstance(reason, MayhemError) or reason is error
    return ("" if names_itself else f"{settings}: ") + " ".join(lines[:3]).rstrip(".")


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
        ".*`training_step` returned `None`.*",  # of a batch of which nothing could be read, which is told
    ):
        warnings.filterwarnings("ignore", hint)
