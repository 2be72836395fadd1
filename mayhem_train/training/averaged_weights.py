"""An exponential moving average of the weights, which is what is validated, saved and exported."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeGuard

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.processes import mean_over_processes
from mayhem_train.datasets.datamodule import SeededSampler
from mayhem_train.datasets.samples import Batch


class AveragedWeights(WeightAveraging):
    """Lightning's weight averaging with an exponential moving average, and batch normalisation that fits it.

    Running means and variances belong to the weights that made them. Those of the averaged weights are therefore
    estimated anew, on training batches, before every validation; validation and what is saved after it have them. A
    `last.ckpt` of a training that was stopped since has the current weights' statistics, and is there to go on from.
    Training itself goes on from the weights as they are.

    Args:
        decay: how much of the average is kept at each optimiser step. Early on it is less, (1 + n) / (10 + n) after n
            steps, so that a short training does not remember where it began.
        images: how many training images the statistics are estimated on; a whole number of batches.
    """

    def __init__(self, decay: float = 0.999, images: int = 256):
        if not 0 <= decay < 1:
            raise UsageError(f"The decay of the averaged weights is {decay}: choose a value from 0 up to 1, as 0.999.")
        super().__init__(use_buffers=False, multi_avg_fn=_moving_average(decay))
        self.decay = decay
        self.images = images
        self._swapped = False

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the averaged weights in the place of the current ones, with statistics of their own."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._swapped = self._average_model is not None
        if not trainer.sanity_checking:
            estimate_statistics(pl_module, self._batches(trainer, pl_module))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the current weights back."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._swapped = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """What ends a validation early leaves the current weights in their place, to be saved."""
        if self._swapped:
            self.on_validation_epoch_end(trainer, pl_module)

    def _batches(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Iterator[Batch]:
        """Training batches for `images` images, from a loader beside the training's own, which may be in mid-epoch."""
        loader: Any = trainer.train_dataloader
        sampler = copy.deepcopy(loader.sampler)
        if isinstance(sampler, SeededSampler):  # a run that goes on has made fewer passes
            sampler.set_epoch(trainer.current_epoch)
        beside: DataLoader[Any] = DataLoader(
            loader.dataset,
            batch_size=loader.batch_size,
            sampler=sampler,
            drop_last=loader.drop_last,
            collate_fn=loader.collate_fn,
            num_workers=loader.num_workers,
            pin_memory=loader.pin_memory,
            generator=torch.Generator().manual_seed(trainer.current_epoch),  # leaves the training's own draws alone
        )
        for number, batch in enumerate(beside):
            if number * loader.batch_size >= self.images:
                return
            yield batch.to(pl_module.device)


def estimate_statistics(module: pl.LightningModule, batches: Iterator[Batch]) -> None:
    """Gives the network's batch normalisation the mean statistics of these batches, over all processes.

    Layers that do not learn statistics in training (frozen ones) keep theirs. The module is left in evaluation mode.
    """
    network: nn.Module = module.network  # type: ignore[assignment]
    least = 1 if module.learns_from_one_image else 2
    network.train()
    norms = [layer for layer in network.modules() if _learns_statistics(layer)]
    network.eval()
    usable = (batch for batch in batches if len(batch) >= least)
    seen = 0
    if (first := next(usable, None)) is not None:
        with torch.no_grad(), _cumulative(norms), module.trainer.precision_plugin.forward_context():
            for seen, batch in enumerate(chain([first], usable), start=1):  # noqa: B007 (how many there were)
                module(batch.images)
    _average_statistics(norms, seen)


def average_statistics(network: nn.Module) -> None:
    """Every process's batch normalisation gets the mean of all processes' statistics."""
    _average_statistics([layer for layer in network.modules() if isinstance(layer, _BatchNorm)], 1)


def _average_statistics(norms: Sequence[_BatchNorm], seen: int) -> None:
    buffers = [b for norm in norms for b in (norm.running_mean, norm.running_var) if b is not None]
    if not buffers:
        return
    flat = torch.cat([*(buffer.reshape(-1) * seen for buffer in buffers), buffers[0].new_tensor([float(seen)])])
    joined = mean_over_processes(flat)
    if joined is flat or joined[-1] == 0:
        return
    for buffer, mean in zip(buffers, (joined[:-1] / joined[-1]).split([b.numel() for b in buffers]), strict=True):
        buffer.copy_(mean.view_as(buffer))


def _learns_statistics(layer: nn.Module) -> TypeGuard[_BatchNorm]:
    return isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats


@contextmanager
def _cumulative(norms: Sequence[Any]) -> Iterator[None]:
    """Within, these layers learn the plain mean of what they see, from nothing."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], updates: Tensor) -> None:
        count = int(updates)
        kept = min(decay, (1 + count) / (10 + count))
        torch._foreach_lerp_(averaged, current, 1 - kept)

    return update
