"""One network under Lightning: how it learns, and how well it does on validation frames."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from mayhem_ros.errors import MayhemError
from mayhem_train.balancing.balancer import BalancedLoss, Balancer
from mayhem_train.balancing.shared_features import SharedFeatures
from mayhem_train.datasets.samples import Batch
from mayhem_train.evaluation.detection_metrics import DetectionScorer
from mayhem_train.evaluation.score_thresholds import ScoreThresholdChooser
from mayhem_train.evaluation.segmentation_metrics import SegmentationScorer
from mayhem_train.models.bodies import Weights
from mayhem_train.models.features import Features
from mayhem_train.models.lraspp import most_likely, resize_logits
from mayhem_train.models.network import build_network
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.training.provenance import git_revision
from mayhem_train.training.trained_network import CHECKPOINT_KEY, TrainedNetwork


class PerceptionModule(pl.LightningModule):
    """Trains a multi-task network.

    The optimiser is AdamW; the learning rate rises linearly for `warmup_steps` and then falls to zero as a cosine
    over the whole training (Loshchilov and Hutter 2017). The body, which starts from ImageNet, learns more slowly.

    Args:
        size: the network's input, (height, width) in pixels; the command takes it from the data.
        detection_classes: names of the boxes' classes; the command takes them from the data.
        segmentation_classes: names of the surfaces' classes, background left out; likewise.
        dataset_sha256: of the dataset index; likewise.
        balancer: how the tasks' losses are weighted, and their gradients brought together.
        name: of the network.
        body: of the network: mobilenet_v3_large or mobilenet_v2.
        weights: what the body starts from: imagenet or none.
        learning_rate: the heads' peak learning rate.
        body_learning_rate_factor: the body's, as a share of the heads'.
        weight_decay: of convolution weights; biases and normalisation have none.
        warmup_steps: optimiser steps until the peak.
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
        learning_rate: float = 1e-3,
        body_learning_rate_factor: float = 0.25,
        weight_decay: float = 1e-2,
        warmup_steps: int = 50,
    ):
        super().__init__()
        height, width = size
        specification = NetworkSpecification(
            name, body, height, width, tuple(detection_classes), tuple(segmentation_classes)
        )
        # Convolutions of a CPU and of tensor cores run about twice as fast over channels that lie together.
        self.network = build_network(specification, weights).to(memory_format=torch.channels_last)
        self.balancer = balancer
        self.balancer.bind(self.network.tasks)
        self.dataset_sha256 = dataset_sha256
        self.learning_rate = learning_rate
        self.body_learning_rate_factor = body_learning_rate_factor
        self.weight_decay = weight_decay
        self.warmup_steps = warmup_steps
        self.score_thresholds: dict[str, float] = {}
        self.metrics: dict[str, float] = {}
        self._to_be_balanced: tuple[BalancedLoss, SharedFeatures[Features]] | None = None

    def forward(self, images: Tensor) -> dict[str, Any]:
        """Raw predictions by task from RGB images uint8 [N, 3, H, W] of the network's size."""
        return self.network(_as_channels_last(images))

    @cached_property
    def learns_from_one_image(self) -> bool:
        """Whether a batch of one image will do: batch normalisation has no variance where a map is one value only."""
        specification = self.network.specification
        network = copy.deepcopy(self.network).train()
        try:
            with torch.no_grad():
                network(torch.zeros(1, 3, specification.height, specification.width, device=self.device))
        except ValueError:
            return False
        return True

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """The balanced loss of one batch; None where frames that cannot be read leave too little of it."""
        if not len(batch) or (batch.unreadable and len(batch) == 1 and not self.learns_from_one_image):
            return None
        terms, shared = self._loss_terms(batch)
        losses = _task_losses(terms)
        for task, loss in losses.items():
            if not torch.isfinite(loss):
                raise MayhemError(
                    f"The {task} loss is {float(loss.detach())} at step {self.global_step} (frames "
                    f"{', '.join(batch.names)}): lower --model.learning_rate or look at those frames' labels."
                )
        balanced = self.balancer(losses)
        self._to_be_balanced = None if shared is None else (balanced, shared)
        self._log_losses("train", terms, len(batch.names))
        self.log("train/loss", balanced.total.detach(), prog_bar=True, batch_size=len(batch.names))
        for task, coefficient in balanced.coefficients.items():
            self.log(f"train/coefficient/{task}", coefficient, batch_size=len(batch.names))
        return balanced.total

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """The gradients of the loss; those of the shared body as the gradient method has them, where there is one.

        The loss comes with the factors that Lightning gave it, for mixed precision and for accumulated batches.
        """
        if self._to_be_balanced is None:
            super().backward(loss, *args, **kwargs)
            return
        balanced, shared = self._to_be_balanced
        self._to_be_balanced = None
        (scale,) = torch.autograd.grad(loss, balanced.total)
        record = self.balancer.backward(balanced, shared, self.network.shared_parameters, scale)
        values = {"train/cosine": record.cosines[0, 1]} if len(self.network.tasks) == 2 else {}
        values |= {"train/conflict": record.conflict, "train/fallbacks": self.balancer.fallbacks.float()}
        for task, norm, weight in zip(self.network.tasks, record.norms, record.weights, strict=True):
            values |= {f"train/gradient_norm/{task}": norm, f"train/weight/{task}": weight}
        self.log_dict(values)

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

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Looks at the batch's losses once more for a weighting that learns from what a step has changed."""
        if not self.balancer.weighting.needs_losses_after_step or not len(batch) or not outputs:
            return
        with torch.no_grad(), _unchanged_statistics(self.network), self.trainer.precision_plugin.forward_context():
            terms, _ = self._loss_terms(batch)
        self.balancer.observe_losses_after_step(_task_losses(terms))

    def on_train_epoch_end(self) -> None:
        """The next epoch's coefficients may follow from this one's losses."""
        self.balancer.end_epoch()

    def on_validation_epoch_start(self) -> None:
        """New scorers, so that nothing is carried over from an earlier epoch."""
        specification = self.network.specification
        self._detections = DetectionScorer(specification.detection_classes)
        self._thresholds = ScoreThresholdChooser(specification.detection_classes)
        self._surfaces = SegmentationScorer(("background", *specification.segmentation_classes))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Scores one batch in float32 and in source pixels, as the exported file is run."""
        if not len(batch):  # none of its frames can be read
            return
        with torch.autocast(self.device.type, enabled=False):
            predictions = self(batch.images)
            self._log_losses("val", self.network.losses(predictions, batch), len(batch.names))
            if "detection" in predictions:
                self._score_boxes(batch, predictions["detection"])
            if "segmentation" in predictions:
                for logits, truth in zip(predictions["segmentation"], batch.source_masks, strict=True):
                    mask, _ = most_likely(resize_logits(logits[None], *truth.shape))
                    self._surfaces.add(truth.numpy(), mask[0].cpu().numpy())

    def on_validation_epoch_end(self) -> None:
        """Computes the metrics over the whole split; a metric without ground truth is left out."""
        if self.trainer.sanity_checking:  # a few frames seen before training say nothing about the weights to be saved
            return
        found: dict[str, float | None] = {}
        if "detection" in self.network.tasks:
            boxes = self._detections.compute()
            found |= {"map": boxes.map, "ap50": boxes.ap50, "ap75": boxes.ap75}
            found |= {f"ap50/{name}": scores.ap50 for name, scores in boxes.per_class.items()}
            self.score_thresholds = self._thresholds.compute()
        if "segmentation" in self.network.tasks:
            surfaces = self._surfaces.compute()
            found |= {"mean_iou": surfaces.mean_iou}
            found |= {f"iou/{name}": iou for name, iou in surfaces.iou.items()}
        self.metrics = {name: value for name, value in found.items() if value is not None}
        headlines = [self.metrics[name] for name in ("map", "mean_iou") if name in self.metrics]
        self.metrics["score"] = float(np.mean(headlines)) if headlines else 0.0
        self.log_dict({f"val/{name}": value for name, value in self.metrics.items()})

    def configure_optimizers(self) -> Any:
        """AdamW over four groups, body and heads, with and without weight decay, and one schedule for all."""
        optimizer = AdamW(self._parameter_groups(), lr=self.learning_rate, weight_decay=self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimizer, lambda step: warmup_cosine(step, self.warmup_steps, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the export needs to build the network again and to write its card."""
        checkpoint[CHECKPOINT_KEY] = TrainedNetwork(
            specification=self.network.specification,
            score_thresholds=dict(self.score_thresholds),
            metrics=dict(self.metrics),
            balancer=self.balancer.name,
            seed=int(torch.initial_seed()),
            dataset_sha256=self.dataset_sha256,
            git_revision=git_revision(),
        ).to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Resuming keeps the last validation's thresholds and metrics."""
        trained = TrainedNetwork.from_dict(checkpoint[CHECKPOINT_KEY])
        self.score_thresholds = dict(trained.score_thresholds)
        self.metrics = dict(trained.metrics)

    def _loss_terms(self, batch: Batch) -> tuple[dict[str, dict[str, Tensor]], SharedFeatures[Features] | None]:
        """Each task's loss terms; with a gradient method each stands on its own copy of the features."""
        features = self.network.features(_as_channels_last(batch.images))
        if not self.balancer.balances_gradients:
            return self.network.losses(_as_float32(self.network.predictions(features)), batch), None
        shared = SharedFeatures(features, self.network.tasks)
        predictions = {task: head(shared.of(task)) for task, head in self.network.heads.items()}
        return self.network.losses(_as_float32(predictions), batch), shared

    def _log_losses(self, stage: str, terms: dict[str, dict[str, Tensor]], batch_size: int) -> None:
        values = {
            f"{stage}/loss/{task}/{term}": value.detach() for task in terms for term, value in terms[task].items()
        }
        self.log_dict(values, batch_size=batch_size, on_step=stage == "train", on_epoch=stage == "val")

    def _score_boxes(self, batch: Batch, predictions: Any) -> None:
        found = self.network.heads["detection"].detect(predictions)  # type: ignore[operator]
        specification = self.network.specification
        for place, image_id in enumerate(batch.image_ids):
            height, width = batch.source_sizes[place]
            count = int(found.counts[place])
            sides = np.array([width, height, width, height], np.float32)
            boxes = found.boxes[place, :count].cpu().numpy() * sides
            scores = found.scores[place, :count].cpu().numpy()
            labels = found.labels[place, :count].cpu().numpy()
            network_sides = np.array([specification.width, specification.height] * 2, np.float32)
            objects, crowds = batch.boxes[place], batch.crowd_boxes[place]
            truth = torch.cat([objects, crowds]).cpu().numpy() / network_sides * sides
            truth_labels = torch.cat([batch.labels[place], batch.crowd_labels[place]]).cpu().numpy()
            crowd = np.arange(len(truth)) >= len(objects)
            self._detections.add(int(image_id), truth, truth_labels, crowd, boxes, scores, labels)
            self._thresholds.add(truth, truth_labels, crowd, boxes, scores, labels)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        groups = []
        parts: tuple[tuple[nn.Module, float], ...] = (
            (self.network.body, self.body_learning_rate_factor),
            (self.network.heads, 1.0),
            (self.balancer, 1.0),
        )
        for part, factor in parts:
            parameters = [p for p in part.parameters() if p.requires_grad]
            decays = part is not self.balancer
            for decayed in (True, False):
                chosen = [p for p in parameters if (decays and p.ndim > 1) is decayed]
                if chosen:
                    decay = self.weight_decay if decayed else 0.0
                    groups.append({"params": chosen, "lr": self.learning_rate * factor, "weight_decay": decay})
        return groups


def warmup_cosine(step: int, warmup_steps: int, steps: int) -> float:
    """The learning rate at an optimiser step as a share of its peak."""
    warmup_steps = min(warmup_steps, steps // 2)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _task_losses(terms: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Each task's loss: the sum of its terms."""
    return {task: torch.stack(list(of_task.values())).sum() for task, of_task in terms.items()}


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
