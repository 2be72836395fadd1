"""The training command: configuration to a run folder with checkpoints, logs and provenance."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.console import console, error_console
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.outputs import refuse_inputs_within
from mayhem_train.training.arguments import TrainingCLI, build
from mayhem_train.training.endings import told_in_one_sentence
from mayhem_train.training.joined_batch import is_first_process
from mayhem_train.training.label_presence import missing_labels
from mayhem_train.training.perception_module import PerceptionModule
from mayhem_train.training.run_folder import check_step, read_record, record_early_stop, record_run
from mayhem_train.training.starting_weights import StartingWeights, take_weights
from mayhem_train.training.trained_network import (
    CHECKPOINT_KEY,
    TrainedNetwork,
    misfits,
    read_checkpoint,
    weights_of,
)

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


def train(arguments: Sequence[str]) -> TrainingRun:
    """Trains as `mayhem train` does; a run that was stopped goes on from its last checkpoint.

    Args:
        arguments: command-line arguments: `--config FILE`, `--out FOLDER`, `--data.index FILE`, ….

    Raises:
        UsageError: an argument or a configuration is wrong, or the folder holds another run.
        MayhemError: the data cannot be used, the loss is not finite, or memory or disk do not suffice.
        SystemExit: SIGTERM came; the run can go on.
    """
    _quieten()
    cli = build(arguments, EXAMPLE)
    last = cli.last_checkpoint
    resumed = last.is_file() and not cli.config.force
    told = ""
    if not cli.config.force and is_first_process():
        _refuse_other_data(cli, read_record(cli.run_folder).get("dataset_sha256"))
        told = _check_step(cli)
    if resumed:
        done, trained = _read_last(last, cli.model)
        _refuse_other_data(cli, trained.dataset_sha256)
        if finished := _finished(cli, done):
            _tell(f"{cli.run_folder} is finished{finished}.")
            return _finished_run(cli.run_folder)
        _tell(f"Going on with {cli.run_folder} after epoch {done}.")
        if told:
            _tell(told)
    start = cli.model.start_from
    if cli.config.force:
        refuse_inputs_within(cli.run_folder, (*cli.datamodule.inputs, *([] if start is None else [start])))
    cli.datamodule.setup("fit")  # names what is missing while the folder is untouched
    _refuse_too_small_batches(cli)
    missing = missing_labels(cli.datamodule.dataset_index, cli.model.network.tasks)
    earlier = None if start is None or resumed else take_weights(cli.model.network, start)
    if is_first_process():
        record_run(cli.run_folder, cli.settings, _origin(cli, earlier), anew=cli.config.force)
        _introduce(cli, earlier)
        for sentence in (*missing, *cli.datamodule.few_levels()):
            error_console.print(f"Warning: {sentence}", markup=False, highlight=False, soft_wrap=True)
    accumulated = cli.trainer.accumulate_grad_batches
    with told_in_one_sentence(cli.run_folder, last, cli.datamodule.batch_size, accumulated):
        ckpt_path = str(last) if resumed else None
        cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=ckpt_path, weights_only=True)
    if is_first_process() and cli.trainer.should_stop and cli.trainer.current_epoch < (cli.trainer.max_epochs or 0):
        if any(stopping.stopping_reason_message for stopping in cli.trainer.early_stopping_callbacks):
            record_early_stop(cli.run_folder, cli.trainer.current_epoch)
        elif cli.config_init.trainer.max_time is not None:
            _tell("Stopped by --trainer.max_time, which counts all starts of a run: raise it to go on.")
    return _finished_run(cli.run_folder)


def _read_last(path: Path, model: PerceptionModule | None = None) -> tuple[int, TrainedNetwork]:
    """How many epochs a checkpoint has completed, and what it says of its network, which is to be the model's."""
    try:
        checkpoint = read_checkpoint(path)
    except MayhemError as error:
        said = str(error).partition(": ")[0]
        raise MayhemError(f"{said}: put a good one in its place, or pass --force to start anew.") from error
    try:
        done = int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
        trained = TrainedNetwork.from_dict(checkpoint[CHECKPOINT_KEY])
        found = "" if model is None else misfits(model.network, weights_of("network", checkpoint))
        remembered = "" if model is None else misfits(model.balancer, weights_of("balancer", checkpoint))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MayhemError(f"{path} is no checkpoint of `mayhem train`: pass --force to start anew.") from error
    if found:
        raise MayhemError(
            f"The weights in {path} are of {trained.specification.name} on {trained.specification.body} and do not "
            f"fit this network ({found}): put the run's own back, or pass --force to start anew."
        )
    if remembered:
        raise MayhemError(
            f"{path} is of another version, whose {trained.balancer} balancing keeps other things in mind "
            f"({remembered}): go on with that version, or choose another --out with --model.start_from {path}."
        )
    return done, trained


def _finished(cli: TrainingCLI, done: int) -> str:
    """What to do about a run that has come to its end; empty for one that has not."""
    if done >= (cli.trainer.max_epochs or 0):
        return f" with {done} epochs: raise --trainer.max_epochs to go on or --force to start anew"
    stopped = read_record(cli.run_folder).get("stopped_early_after_epoch")
    return "" if stopped is None else f", stopped early after epoch {stopped}: pass --force to start anew"


def _refuse_other_data(cli: TrainingCLI, sha256_before: str | None) -> None:
    """Wherever the index lies, its content is what the run is trained on."""
    if sha256_before not in (None, cli.model.dataset_sha256):
        raise UsageError(
            f"{cli.run_folder} was trained on another version of {cli.datamodule.index}: "
            "choose another --out, or pass --force to start anew."
        )


def _check_step(cli: TrainingCLI) -> str:
    if not (cli.run_folder / "config.yaml").is_file():
        return ""
    trainer = cli.trainer
    return check_step(cli.run_folder, trainer.accumulate_grad_batches, trainer.world_size, cli.datamodule.batch_size)


def _refuse_too_small_batches(cli: TrainingCLI) -> None:
    processes = cli.trainer.world_size
    smallest = cli.datamodule.smallest_batch(processes)
    if smallest == 0:
        raise UsageError(
            f"There are fewer frames to train on than the {processes} processes: set a smaller --trainer.devices."
        )
    if smallest == 1 and not cli.model.learns_from_one_image:
        larger = cli.model.learns_from_one_larger_image
        reason = (
            f"a network of {list(cli.datamodule.size)}, whose coarsest map is one pixel"
            if larger
            else f"{cli.model.network.specification.name}, which normalises the mean of a whole map over the batch"
        )
        raise UsageError(
            f"One image a step cannot train {reason}: set --data.batch_size to 2 or more (with as many frames to train "
            f"on){', or a larger --data.size' if larger else ''}."
        )


def _origin(cli: TrainingCLI, earlier: StartingWeights | None) -> dict[str, object]:
    """What run.json says of the data, the devices and the earlier run that it starts from."""
    trainer = cli.trainer
    return {
        "dataset": str(cli.datamodule.index),
        "dataset_sha256": cli.model.dataset_sha256,
        "device": str(trainer.strategy.root_device),
        "processes": trainer.world_size,
        "precision": trainer.precision,
        **({} if earlier is None else {"started_from": earlier.to_dict()}),
    }


def _introduce(cli: TrainingCLI, earlier: StartingWeights | None) -> None:
    """A line about what is about to be trained, on what and where, and others about what is easily overlooked."""
    network = cli.model.network
    index = cli.datamodule.dataset_index
    processes = "" if cli.trainer.world_size == 1 else f" in {cli.trainer.world_size} processes"
    _tell(
        f"{network.specification.name} on {network.specification.body}: "
        f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters, "
        f"{_frames(index.split('train'))} to train on, {_frames(index.split('val'))} to validate on, "
        f"{cli.trainer.precision} on {cli.trainer.strategy.root_device}{processes}."
    )
    idle, epochs = cli.model.balancer.weighting.idle_epochs, cli.trainer.max_epochs or 0
    if epochs <= idle:
        weighting = cli.model.balancer.weighting_name
        _tell(f"{weighting} weighs the tasks from epoch {idle + 1} on, which this training does not reach.")
    if earlier is not None:
        _tell(str(earlier))


def _frames(part: DatasetIndex) -> str:
    return "1 frame" if len(part.images) == 1 else f"{len(part.images)} frames"


def _finished_run(folder: Path) -> TrainingRun:
    checkpoint = folder / "checkpoints" / "best.ckpt"
    if not checkpoint.is_file():
        raise MayhemError(f"{folder} has no best checkpoint: no validation ran; train for at least one epoch.")
    return TrainingRun(folder, checkpoint, _read_last(checkpoint)[1])


def _tell(sentence: str) -> None:
    if is_first_process():
        console.print(sentence, highlight=False, soft_wrap=True)


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
        ".*ended before the epoch ended.*",  # as after SIGTERM: `TrainingLoader` goes on there
        ".*recommended to use `self.log.*sync_dist.*",  # every process logs what all have found
        ".*`training_step` returned `None`.*",  # of a batch of which nothing could be read, which is told
    ):
        warnings.filterwarnings("ignore", hint)
