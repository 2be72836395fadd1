"""One network under Lightning: how it learns, and how well it does on validation frames."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from mayhem_ros.errors import UsageError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.balancing.balancer import BalancedLoss, Balancer
from mayhem_train.balancing.processes import mean_over_processes
from mayhem_train.balancing.shared_features import SharedFeatures
from mayhem_train.datasets.samples import Batch
from mayhem_train.models.bodies import Weights
from mayhem_train.models.features import Features
from mayhem_train.models.network import build_network
from mayhem_train.models.specification import NetworkSpecification, Preset
from mayhem_train.naming import look_up
from mayhem_train.training.averaged_weights import average_statistics
from mayhem_train.training.joined_batch import (
    all_flags,
    any_process,
    average_gradients,
    first_told,
    processes,
    refuse_together,
)
from mayhem_train.training.monitors import refuse_unmeasured_monitors
from mayhem_train.training.moved_folder import move_checkpoints
from mayhem_train.training.moved_progress import move_progress, note_step
from mayhem_train.training.optimizers import OPTIMIZERS, OptimizerRecipe
from mayhem_train.training.provenance import git_revision
from mayhem_train.training.repeated_draws import DrawsSoFar
from mayhem_train.training.schedules import SCHEDULES, Schedule, learning_rate_share
from mayhem_train.training.trained_network import CHECKPOINT_KEY, TrainedNetwork
from mayhem_train.training.validation import Validation, ValidationScores


class PerceptionModule(pl.LightningModule):
    """Trains a multi-task network.

    The learning rate rises linearly for `warmup_steps` and then follows the schedule over the rest of the training. The
    body, which starts from ImageNet, learns more slowly.

    Args:
        size: the network's input, (height, width) in pixels; the command takes it from the data.
        detection_classes: names of the boxes' classes; the command takes them from the data.
        segmentation_classes: names of the surfaces' classes, background left out; likewise.
        dataset_sha256: of the dataset index; likewise.
        intensity_range: by which the data scale 16-bit cameras; likewise.
        balancer: how the tasks' losses are weighted, and their gradients brought together.
        name: of the network.
        body: of the network: mobilenet_v3_large, mobilenet_v2 or resnet50.
        weights: what the body starts from: imagenet or none.
        start_from: a checkpoint of an earlier run, whose weights the command takes instead; a head that is built
            otherwise there, or tells other classes, starts fresh.
        preset: fair, networks that can be compared with one another, or original, those of the original work.
        learning_rate: the heads' peak learning rate.
        body_learning_rate_factor: the body's, as a share of the heads'.
        weight_decay: of convolution weights; biases and normalisation have none.
        warmup_steps: optimiser steps until the peak; 0 for none.
        optimizer: adamw or sgd, or by class path with arguments of its own.
        schedule: of the learning rate: cosine, step or constant, or by class path with arguments of its own.

    Raises:
        UsageError: there is no such network, optimiser or schedule, or a number is out of its range.
    """

    def __init__(
        self,
        size: Sequence[int],
        detection_classes: Sequence[str],
        segmentation_classes: Sequence[str],
        dataset_sha256: str,
        balancer: Balancer,
        name: str = "lraspp-mtl",
        body: str = "mobilenet_v3_large",
        weights: Weights = "imagenet",
        preset: Preset = "fair",
        learning_rate: float = 1e-3,
        body_learning_rate_factor: float = 0.25,
        weight_decay: float = 1e-2,
        warmup_steps: int = 50,
        optimizer: OptimizerRecipe | str = "adamw",
        schedule: Schedule | str = "cosine",
        start_from: str | None = None,
        intensity_range: Sequence[int] | None = None,
    ):
        super().__init__()
        for setting, value in (
            ("learning_rate", learning_rate),
            ("body_learning_rate_factor", body_learning_rate_factor),
            ("weight_decay", weight_decay),
            ("warmup_steps", warmup_steps),
        ):
            if not 0 <= value < math.inf:
                raise UsageError(f"--model.{setting} is {value}: choose a number from 0.")
        self.optimizer = look_up("optimiser", OPTIMIZERS, optimizer)() if isinstance(optimizer, str) else optimizer
        self.schedule = look_up("schedule", SCHEDULES, schedule)() if isinstance(schedule, str) else schedule
        height, width = size
        specification = NetworkSpecification(
            name, body, height, width, tuple(detection_classes), tuple(segmentation_classes), preset
        )
        self.start_from = None if start_from is None else Path(start_from)
        network = build_network(specification, weights if start_from is None else "none")
        # Convolutions of a CPU and of tensor cores run about twice as fast over channels that lie together.
        self.network = network.to(memory_format=torch.channels_last)
        self.balancer = balancer
        self.balancer.bind(self.network.tasks)
        self.dataset_sha256 = dataset_sha256
        self.intensity_range = None if intensity_range is None else IntensityRange.of(tuple(intensity_range))
        self._seed = int(torch.initial_seed())
        self.learning_rate = learning_rate
        self.body_learning_rate_factor = body_learning_rate_factor
        self.weight_decay = weight_decay
        self.warmup_steps = warmup_steps
        self.scores: ValidationScores | None = None
        self.score_thresholds: dict[str, float] = {}
        self.metrics: dict[str, float | None] = {}
        self._left_out = False
        self._labelled: list[str] = []
        self._logged: dict[str, dict[str, float]] = {}
        self._names: tuple[str, ...] = ()
        self._steps_before = 0
        self._draws_before: DrawsSoFar | None = None
        self._to_be_balanced: tuple[BalancedLoss, SharedFeatures[Features]] | None = None

    def forward(self, images: Tensor) -> dict[str, Any]:
        """Raw predictions by task from RGB images uint8 [N, 3, H, W] of the network's size."""
        return self.network(_as_channels_last(images))

    @cached_property
    def learns_from_one_image(self) -> bool:
        """Whether a batch of one image will do: batch normalisation has no variance where a map is one value only."""
        return self._learns_from_one_image(1)

    @cached_property
    def learns_from_one_larger_image(self) -> bool:
        """Whether it would with four times the sides; not where a head averages over whole maps."""
        return self._learns_from_one_image(4)

    def _learns_from_one_image(self, times: int) -> bool:
        specification = self.network.specification
        network = copy.deepcopy(self.network).train()
        sides = times * specification.height, times * specification.width
        try:
            with torch.no_grad():
                network(torch.zeros(1, 3, *sides, device=self.device))
        except ValueError:
            return False
        return True

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """The balanced loss of one batch, over the tasks that it has labels for.

        None where it has none for any, or where frames that cannot be read leave too little of it. With several
        processes, all of them leave out a batch that one has too little of, and a task that no process has labels for.
        """
        too_small = not len(batch) or (bool(batch.unreadable) and len(batch) == 1 and not self.learns_from_one_image)
        here = self.network.labelled_tasks(batch)
        flags = all_flags([too_small, *(task in here for task in self.network.tasks)], self.device)
        self._labelled = [task for task, flag in zip(self.network.tasks, flags[1:], strict=True) if flag]
        self._left_out = flags[0] or not self._labelled
        if self._left_out:
            # Lightning knows no None of several processes: a loss that moves nothing stands in.
            trained = [parameter.sum() for parameter in self.parameters() if parameter.requires_grad]
            return None if processes() == 1 else 0 * torch.stack(trained).sum()
        if self.balancer.weighting.needs_losses_after_step:
            self._draws_before = DrawsSoFar.of(self.device)
        self._names = tuple(batch.names)
        terms, shared = self._loss_terms(batch)
        named = _named("train", terms)
        joined = mean_over_processes(torch.stack([value.detach() for value in named.values()]))
        if not torch.isfinite(joined).all():
            self._refuse_losses(_task_losses(terms))
        balanced = self.balancer(_task_losses(terms))
        self._to_be_balanced = None if shared is None else (balanced, shared)
        coefficients = {f"train/coefficient/{task}": value for task, value in balanced.coefficients.items()}
        self._log_tasks("losses", dict(zip(named, joined, strict=True)) | coefficients)
        # A weighting that learns has the weighted losses in its own loss once more, which would be counted twice.
        weighted = balanced.total if balanced.own is None else balanced.total - balanced.own
        self.log("train/loss", mean_over_processes(weighted.detach()), prog_bar=True, batch_size=len(batch))
        return balanced.total

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """The gradients of the loss; those of the shared body as the gradient method has them, where there is one.

        The loss comes with the factors that Lightning gave it, for mixed precision and for accumulated batches.
        """
        # Gradients of zero would still move weights by momentum and decay.
        if self._left_out and not self._scales_losses:
            return
        if self._to_be_balanced is None:
            super().backward(loss, *args, **kwargs)
            return
        balanced, shared = self._to_be_balanced
        self._to_be_balanced = None
        (scale,) = torch.autograd.grad(loss, balanced.total)
        deep = self.balancer.measured_on == "deep"
        parameters = self.network.deep_parameters if deep else self.network.shared_parameters
        record = self.balancer.backward(balanced, shared, parameters, scale)
        tasks = self.network.tasks
        values = {"train/fallbacks": self.balancer.fallbacks.float()}
        for first, second in record.pairs:
            name = "train/cosine" if len(tasks) == 2 else f"train/cosine/{tasks[first]}/{tasks[second]}"
            values[name] = record.cosines[first, second]
        for number in record.present:
            values[f"train/gradient_norm/{tasks[number]}"] = record.norms[number]
            values[f"train/weight/{tasks[number]}"] = record.weights[number]
        if record.pairs:
            values["train/conflict"] = record.conflict
            self.log("train/conflict_rate", record.conflict, on_step=False, on_epoch=True, batch_size=1)
        self._log_tasks("gradients", values)

    def _log_tasks(self, kind: str, values: dict[str, Tensor]) -> None:
        """Logs one step's values of a kind, those of tasks that the batch lacks as not a number.

        Lightning would say an earlier step's once more.
        """
        self._logged[kind] = {**self._logged.get(kind, {}), **dict.fromkeys(values, torch.nan)}
        self.log_dict({**self._logged[kind], **values}, batch_size=1)

    def on_after_backward(self) -> None:
        """Every process goes on with the gradients of the joined batch.

        Raises:
            MayhemError: they are not finite, and no loss scaling is there to leave the step out.
        """
        if not self._scales_losses:
            self._refuse_gradients()
        average_gradients(self.parameters())

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the network's gradients; what the balancer learns has a scale of its own."""
        if not gradient_clip_val:
            return
        parameters = [parameter for parameter in self.network.parameters() if parameter.grad is not None]
        if gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        else:
            nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    @property
    def _scales_losses(self) -> bool:
        """Whether float16 is trained, whose scaled gradients overflow now and then and are then left out."""
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def _refuse_gradients(self) -> None:
        """Ends the training over gradients that are not finite here, or in another process, before they reach a weight.

        Raises:
            MayhemError: as `_refuse_losses`.
        """
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        broken = []
        # The norm is quick and tells nearly always; squares of finite gradients may overflow.
        if gradients and not torch.isfinite(nn.utils.get_total_norm(gradients)):
            parts = {"body": self.network.body, **self.network.heads, "balancer": self.balancer}
            broken = [part for part, module in parts.items() if not _has_finite_gradients(module)]
        if not any_process(bool(broken), self.device):
            return
        told = None
        if broken:
            # What is wrong in a head reaches the body too.
            part = next((part for part in reversed(broken) if part != "body"), "body")
            whose = f"{part} loss's gradient" if part in self.network.tasks else f"{part}'s gradient"
            told = (
                f"The {whose} is not finite at step {self.global_step} (frames {', '.join(self._names)}): "
                "lower --model.learning_rate or look at those frames' labels."
            )
        refuse_together(first_told(told) or f"A gradient is not finite at step {self.global_step}.")

    def _refuse_losses(self, losses: dict[str, Tensor]) -> None:
        """Ends the training over losses that are not finite here, or in another process.

        Raises:
            MayhemError: always; in several processes, the first one with the sentence of the one concerned.
        """
        broken = [(task, float(loss.detach())) for task, loss in losses.items() if not torch.isfinite(loss)]
        told = None
        if broken:
            task, value = broken[0]
            told = (
                f"The {task} loss is {value} at step {self.global_step} (frames {', '.join(self._names)}): "
                "lower --model.learning_rate or look at those frames' labels."
            )
        refuse_together(first_told(told) or f"A loss is not finite at step {self.global_step}.")

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Notes how many steps were made, and lets dropout and samplers draw what belongs to this batch.

        Their draws follow from seed, epoch and batch alone, so that a resumed run draws what an undisturbed one does.
        """
        batch_number = (self.current_epoch << 24) + batch_idx
        torch.manual_seed((self._seed + 1_000_003 * (batch_number * processes() + self.global_rank)) % 2**63)
        self._steps_before = self.trainer.global_step

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Looks at the batch's losses once more for a weighting that learns from what a step has changed.

        Dropout and samplers draw as they did before; batches that are only accumulated have changed nothing.
        """
        if self._draws_before is None or self._left_out or self.trainer.global_step == self._steps_before:
            return
        same_draws, precision = self._draws_before.repeated(), self.trainer.precision_plugin.forward_context()
        with torch.no_grad(), _unchanged_statistics(self.network), same_draws, precision:
            terms, _ = self._loss_terms(batch)
        self.balancer.observe_losses_after_step(_task_losses(terms))

    def on_train_epoch_end(self) -> None:
        """The next epoch's coefficients may follow from this one's losses."""
        self.balancer.end_epoch()

    def on_validation_start(self) -> None:
        """Every process validates one and the same network."""
        if not self.trainer.sanity_checking:
            average_statistics(self.network)

    def on_validation_epoch_start(self) -> None:
        """A new collector, so that nothing is carried over from an earlier epoch."""
        self._validation = Validation(self.network)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Scores one batch in float32 and in source pixels, as the exported file is run."""
        if not len(batch):  # none of its frames can be read
            return
        with torch.autocast(self.device.type, enabled=False):
            predictions = self(batch.images)
            terms = self.network.losses(predictions, batch)
            labelled = {task: terms[task] for task in self.network.labelled_tasks(batch)}
            self.log_dict(_named("val", labelled), batch_size=len(batch), on_step=False, on_epoch=True)
            self._validation.add(batch, predictions)

    def on_validation_epoch_end(self) -> None:
        """Computes the metrics over the whole split; a metric without ground truth is not logged.

        Raises:
            UsageError: a callback of the configuration watches what is not measured.
        """
        scores = self._validation.compute()
        refuse_unmeasured_monitors(self.trainer, scores)
        if self.trainer.sanity_checking:  # a few frames seen before training say nothing about the weights to be saved
            return
        self.scores = scores
        self.score_thresholds = scores.thresholds
        self.metrics = {**scores.values, "score": scores.score}
        self.log_dict({f"val/{name}": value for name, value in scores.known.items()})

    def configure_optimizers(self) -> Any:
        """The optimiser over body, heads and balancer, with and without weight decay, and one schedule for all."""
        optimizer = self.optimizer.build(self._parameter_groups())
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimizer, lambda step: learning_rate_share(self.schedule, step, self.warmup_steps, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the export needs to build the network again and to write its card.

        Raises:
            MayhemError: a weight is not finite; what was saved before stays.
        """
        broken = [name for name, p in self.network.named_parameters() if not torch.isfinite(p).all()]
        if broken:
            refuse_together(
                f"The weights are not finite any more after step {self.global_step} ({broken[0]} among {len(broken)}), "
                "so they are not saved: lower --model.learning_rate or set --trainer.gradient_clip_val."
            )
        note_step(checkpoint, processes(), self.trainer.accumulate_grad_batches)
        checkpoint[CHECKPOINT_KEY] = TrainedNetwork(
            specification=self.network.specification,
            score_thresholds=dict(self.score_thresholds),
            metrics=dict(self.metrics),
            balancer=self.balancer.name,
            seed=self._seed,
            dataset_sha256=self.dataset_sha256,
            git_revision=git_revision(),
            intensity_range=self.intensity_range,
        ).to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Resuming keeps the last validation's thresholds and metrics, and goes on where the run stands."""
        move_progress(checkpoint, processes(), self.trainer.accumulate_grad_batches)
        move_checkpoints(checkpoint, self.trainer)
        trained = TrainedNetwork.from_dict(checkpoint[CHECKPOINT_KEY])
        self.score_thresholds = dict(trained.score_thresholds)
        self.metrics = dict(trained.metrics)

    def _loss_terms(self, batch: Batch) -> tuple[dict[str, dict[str, Tensor]], SharedFeatures[Features] | None]:
        """The labelled tasks' loss terms; with a gradient method each stands on its own copy of the features."""
        features = self.network.features(_as_channels_last(batch.images))
        shared = SharedFeatures(features, self.network.tasks) if self.balancer.balances_gradients else None
        if shared is None:
            predictions = self.network.predictions(features)
        else:
            predictions = {task: head(shared.of(task)) for task, head in self.network.heads.items()}
        terms = self.network.losses(_as_float32(predictions), batch)
        return {task: terms[task] for task in self._labelled}, shared

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Named, so that the logged learning rates say whose they are."""
        groups = []
        parts: tuple[tuple[str, nn.Module, float], ...] = (
            ("body", self.network.body, self.body_learning_rate_factor),
            ("heads", self.network.heads, 1.0),
            ("balancer", self.balancer, 1.0),
        )
        for name, part, factor in parts:
            parameters = [p for p in part.parameters() if p.requires_grad]
            decays = part is not self.balancer
            for decayed in (True, False):
                chosen = [p for p in parameters if (decays and p.ndim > 1) is decayed]
                if chosen:
                    decay = self.weight_decay if decayed else 0.0
                    named = name if decayed or not decays else f"{name}-undecayed"
                    rate = self.learning_rate * factor
                    groups.append({"params": chosen, "lr": rate, "weight_decay": decay, "name": named})
        return groups


def _named(stage: str, terms: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Each task's loss and every term of it by the name it is logged under."""
    named = {f"{stage}/loss/{task}": loss for task, loss in _task_losses(terms).items()}
    for task, of_task in terms.items():
        named |= {f"{stage}/loss/{task}/{term}": value for term, value in of_task.items()}
    return named


def _task_losses(terms: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Each task's loss: the sum of its terms."""
    return {task: torch.stack(list(of_task.values())).sum() for task, of_task in terms.items()}


def _has_finite_gradients(module: nn.Module) -> bool:
    return all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in module.parameters())


@contextmanager
def _unchanged_statistics(network: nn.Module) -> Iterator[None]:
    """Batch normalisation works as in training and learns nothing from it."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _as_channels_last(images: Tensor) -> Tensor:
    return images.float().contiguous(memory_format=torch.channels_last)


def _as_float32(predictions: Any) -> Any:
    """Raw predictions of mixed precision as float32: losses and box decoding need its range."""
    if isinstance(predictions, Tensor):
        return predictions.float()
    if isinstance(predictions, dict):
        return {task: _as_float32(of_task) for task, of_task in predictions.items()}
    return type(predictions)(*(_as_float32(field) for field in predictions))
