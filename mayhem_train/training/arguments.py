"""The training's command line and YAML files: trainer, data, network and balancer by typed arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Union

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.balancer import Balancer
from mayhem_train.console import error_console
from mayhem_train.datasets.datamodule import PerceptionDataModule
from mayhem_train.training.averaged_weights import AveragedWeights
from mayhem_train.training.checkpoint_files import WholeCheckpoints
from mayhem_train.training.configuration_files import before_other_arguments
from mayhem_train.training.epoch_summary import EpochSummary
from mayhem_train.training.joined_batch import JoinedBatchStrategy, is_first_process
from mayhem_train.training.loggers import WandbMode, run_loggers
from mayhem_train.training.panels import ValidationPanels
from mayhem_train.training.perception_module import PerceptionModule
from mayhem_train.training.preemption import SaveOnTermination
from mayhem_train.training.run_folder import another_run, check_run_folder, precision_before
from mayhem_train.training.step_times import StepTimes
from mayhem_train.training.wrong_settings import told

# Weights and losses are float32 throughout; those after the first three are Lightning's short names of them.
_Precision = Literal["32-true", "bf16-mixed", "16-mixed", "32", "bf16", "16", 32, 16]
# Lightning's names of its DistributedDataParallel, and how each starts its processes.
_STRATEGIES = {"auto": "popen", "ddp": "popen", "ddp_spawn": "spawn", "ddp_fork": "fork"}


class TrainingCLI(LightningCLI):
    """Everything of the trainer, the data, the network and the balancer by typed arguments or a YAML file."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Tells a wrong setting by those that there are."""
        try:
            super().parse_arguments(parser, args)
        except (argparse.ArgumentError, ValueError) as error:
            raise _wrong(told(error, parser)) from error

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the run folder and the balancer, and ties the network to the data."""
        _correct_types(parser)
        parser.add_argument("--out", type=str, default="runs/lraspp-mtl", help="The run's folder; resumed if started.")
        parser.add_argument("--force", action="store_true", help="Start anew, replacing what the folder holds.")
        parser.add_argument(
            "--ema",
            type=float | None,
            default=None,
            help="Validate and save an exponential moving average of the weights with this decay, such as 0.999.",
        )
        parser.add_argument(
            "--wandb",
            type=WandbMode | None,
            default=None,
            help="Log to Weights & Biases too: online, or offline into the run's folder.",
        )
        parser.add_lightning_class_args(ValidationPanels, "panels")
        parser.add_class_arguments(Balancer, "balancer")
        parser.link_arguments("balancer", "model.balancer", apply_on="instantiate")
        parser.link_arguments("data.size", "model.size")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        for source, target in (
            ("thing_names", "detection_classes"),
            ("surface_names", "segmentation_classes"),
            ("dataset_hash", "dataset_sha256"),
            ("intensity_range", "intensity_range"),
        ):
            parser.link_arguments(f"data.{source}", f"model.{target}", apply_on="instantiate")

    @property
    def last_checkpoint(self) -> Path:
        """Where a run that is stopped goes on from."""
        return self.run_folder / "checkpoints" / "last.ckpt"

    def before_instantiate_classes(self) -> None:
        """Looks at the run folder before any work is done, and leaves it as it is."""
        self.run_folder = Path(self.config.out)
        self.settings: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config, skip_unset=False))
        if is_first_process():  # which has begun the folder by the time that others look
            defaults = yaml.safe_load(
                self.parser.dump(self.parser.get_defaults(), skip_unset=False, skip_validation=True)
            )
            check_run_folder(self.run_folder, self.settings, defaults, force=self.config.force)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Adds loggers, checkpoints and the fastest safe precision where the configuration names none."""
        asked = self.config_init.trainer
        _refuse_missing_devices(asked.accelerator, asked.precision)
        if asked.default_root_dir is not None:
            raise UsageError("--trainer.default_root_dir says where a run goes, and so does --out: leave it out.")
        if asked.logger is False and self.config_init.wandb is not None:
            raise UsageError("--wandb asks for a logger and --trainer.logger false for none: leave out one of them.")
        if asked.logger is not False:
            kwargs["logger"] = run_loggers(self.run_folder, asked.logger, self.config_init.wandb)
        if asked.devices == "auto":
            kwargs["devices"] = 1  # a batch is what --data.batch_size says, on every machine
        before = None if self.config.force else precision_before(self.run_folder)
        if asked.precision is None:
            kwargs["precision"] = before or fastest_precision()
            if kwargs["precision"] == "16-mixed" and not _has_gpu(asked.accelerator):
                raise UsageError(
                    f"{self.run_folder} was begun with 16-mixed, which needs a GPU: go on where there is one, choose "
                    "another --out, or pass --force to start anew."
                )
        if asked.enable_model_summary is None:
            kwargs["enable_model_summary"] = False  # one line of ours says what matters
        if asked.enable_progress_bar is None:
            kwargs["enable_progress_bar"] = error_console.is_terminal
        if asked.use_distributed_sampler:
            kwargs["use_distributed_sampler"] = False  # the data module shares out itself
        strategy = _strategy(asked.strategy, kwargs.get("devices", asked.devices), asked.num_nodes)
        if strategy is not None:
            kwargs["strategy"] = strategy
        configured = list(asked.callbacks or []) if not isinstance(asked.callbacks, Callback) else [asked.callbacks]
        own = self._callbacks(
            logs=asked.logger is not False, bar=kwargs.get("enable_progress_bar", asked.enable_progress_bar)
        )
        kwargs["callbacks"] = [*configured, *own]
        plugins = asked.plugins or []
        kwargs["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), WholeCheckpoints()]
        try:
            trainer = super().instantiate_trainer(default_root_dir=str(self.run_folder), **kwargs)
        except TypeError as error:  # of what several of the Trainer's settings may be
            raise _wrong(f"A setting of the trainer is wrong: {told(error, None)}") from error
        if before is not None and trainer.precision != before:
            raise another_run(self.run_folder, ["trainer.precision"])
        return trainer

    def _callbacks(self, *, logs: bool, bar: bool) -> list[Callback]:
        folder = self.last_checkpoint.parent
        callbacks: list[Callback] = [EpochSummary(), *([LearningRateMonitor("step"), StepTimes()] if logs else [])]
        if bar:
            callbacks.append(RichProgressBar(console_kwargs={"stderr": True}))
        if self.config_init.ema is not None:
            callbacks.append(AveragedWeights(self.config_init.ema))
        best = ModelCheckpoint(folder, filename="best", monitor="val/score", mode="max", enable_version_counter=False)
        last = ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
        return [*callbacks, SaveOnTermination(self.last_checkpoint), best, last]


def _correct_types(parser: LightningArgumentParser) -> None:
    """Makes the parser take what the Trainer takes.

    Python holds Union[int, float] and Union[float, int] for one and may hand out either inside Optional, so that "1",
    which is one batch, would be read as 1.0, which is all of them.
    """
    counts = Union[int, float, None]  # noqa: UP007 (in this order)
    action: Any  # argparse knows no types of arguments
    for action in parser._actions:
        if getattr(action, "_typehint", None) == counts:
            action._typehint = counts
        elif action.dest == "trainer.precision":
            action._typehint = _Precision | None


def build(arguments: Sequence[str], example: str) -> TrainingCLI:
    """The data, the network and the trainer that the arguments name.

    Raises:
        UsageError: an argument is wrong, or what it names does not go together.
    """
    try:
        cli = TrainingCLI(
            PerceptionModule,
            PerceptionDataModule,
            args=before_other_arguments(arguments),
            run=False,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            save_config_callback=None,
            parser_kwargs={"exit_on_error": False, "prog": "mayhem train", "epilog": f"example: {example}"},
        )
    except (argparse.ArgumentError, MisconfigurationException, ValueError) as error:
        raise _wrong(told(error, None)) from error
    if cli.trainer.max_epochs is None or cli.trainer.max_epochs < 1:
        raise UsageError("The learning rate's schedule needs an end: set --trainer.max_epochs to 1 or more.")
    if cli.config_init.trainer.fast_dev_run or cli.trainer.limit_val_batches == 0:
        raise UsageError(
            "Without validation no checkpoint is the best one: leave out --trainer.fast_dev_run and "
            "--trainer.limit_val_batches 0, and try with --trainer.max_epochs 1 --trainer.limit_train_batches 2."
        )
    if cli.trainer.accumulate_grad_batches < 1:
        batches = cli.trainer.accumulate_grad_batches
        raise UsageError(f"--trainer.accumulate_grad_batches is {batches}: choose 1 or more.")
    if (cli.trainer.gradient_clip_val or 0) < 0:  # which would turn the gradients round
        raise UsageError(f"--trainer.gradient_clip_val is {cli.trainer.gradient_clip_val:g}: choose 0 or more.")
    return cli


def _wrong(sentence: str) -> UsageError:
    return UsageError(f"{sentence} (`mayhem train --help` lists every setting).")


def fastest_precision() -> str:
    """ "bf16-mixed" where the device multiplies bfloat16 in hardware, else "32-true"."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    capabilities = torch.cpu.get_capabilities()
    return "bf16-mixed" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "32-true"


def _refuse_missing_devices(accelerator: Any, precision: Any) -> None:
    """Refuses what this machine cannot compute on, which Lightning tells less plainly or changes on its own.

    Raises:
        UsageError: a GPU is asked for and there is none, float16 on the CPU, or weights that are not float32.
    """
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available() and not torch.backends.mps.is_available():
        raise UsageError(f"--trainer.accelerator is {accelerator}, and torch finds no GPU: choose cpu or auto.")
    if str(precision).startswith("16") and not _has_gpu(accelerator):
        raise UsageError(f"--trainer.precision {precision} needs a GPU: on the CPU choose bf16-mixed or 32-true.")


def _has_gpu(accelerator: Any) -> bool:
    """Whether this machine has a GPU that may be taken."""
    return accelerator != "cpu" and (torch.cuda.is_available() or torch.backends.mps.is_available())


def _strategy(asked: Any, devices: Any, nodes: int) -> JoinedBatchStrategy | None:
    """What brings several processes together; None for one process.

    Raises:
        UsageError: another strategy is asked for.
    """
    if isinstance(asked, JoinedBatchStrategy):
        return None
    if asked not in _STRATEGIES:
        name = asked if isinstance(asked, str) else type(asked).__name__
        raise UsageError(
            f"The strategy {name!r} cannot balance gradients over several processes: choose {', '.join(_STRATEGIES)}."
        )
    one = str(devices) == "1" or (isinstance(devices, list) and len(devices) == 1)
    if one and nodes == 1:
        return None
    return JoinedBatchStrategy(start_method=_STRATEGIES[asked])  # type: ignore[arg-type]
