"""Every few epochs a picture of the same validation frames: what is true beside what the network says by now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from mayhem_ros.errors import UsageError
from mayhem_train.datasets.samples import Sample
from mayhem_train.evaluation.metrics.score_thresholds import UNKNOWN_THRESHOLD
from mayhem_train.evaluation.reporting.comparison import Drawing, draw_comparison, stack, write_png
from mayhem_train.evaluation.reporting.gallery import evenly
from mayhem_train.evaluation.reporting.pictures import BoxShape, class_colours
from mayhem_train.models.segmentation import most_likely
from mayhem_train.outputs import whole_file
from mayhem_train.training.perception_module import PerceptionModule


class ValidationPanels(Callback):
    """Draws a few validation frames with truth and prediction into `panels/epoch-0005.png` and TensorBoard.

    The frames are the same every time, at even distances over the split. They are predicted with the weights that
    validation sees (averaged ones where weights are averaged), in float32, and drawn with the boxes above the score
    thresholds that this validation chose.

    Args:
        every_n_epochs: a picture after every so many epochs of training, and after the last; 0 draws none.
        frames: how many frames one picture shows.
        folder: where the pictures go; None takes `panels` in the run's folder.
    """

    def __init__(self, every_n_epochs: int = 5, frames: int = 4, folder: str | None = None) -> None:
        if every_n_epochs < 0 or frames < 1:
            raise UsageError(
                f"every_n_epochs is {every_n_epochs} and frames is {frames}: choose at least 0 (no panels) and 1."
            )
        self.every_n_epochs = every_n_epochs
        self.frames = frames
        self.folder = None if folder is None else Path(folder)
        self._samples: tuple[Sample, ...] | None = None
        self._predictions: dict[str, Any] | None = None
        self._due = every_n_epochs

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A resumed run goes on with the next picture."""
        if self.every_n_epochs:
            self._due = (trainer.current_epoch // self.every_n_epochs + 1) * self.every_n_epochs

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """After the last batch, while averaged weights are still in their place, predicts the frames."""
        if not self._wanted(trainer) or batch_idx + 1 < trainer.num_val_batches[dataloader_idx]:
            return
        if self._samples is None:
            self._samples = _spread_samples(trainer, self.frames)
        if self._samples:
            images = torch.stack([sample.image for sample in self._samples]).to(pl_module.device)
            with torch.no_grad(), torch.autocast(pl_module.device.type, enabled=False):
                self._predictions = pl_module(images)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draws what was predicted, by the thresholds that this validation chose.

        Raises:
            MayhemError: the picture cannot be written.
        """
        if self._predictions is None or self._samples is None:
            return
        predictions, self._predictions = self._predictions, None
        epoch = trainer.current_epoch + 1
        self._due = (epoch // self.every_n_epochs + 1) * self.every_n_epochs
        picture = _picture(cast(PerceptionModule, pl_module), self._samples, predictions, f"epoch {epoch}")
        folder = Path(trainer.default_root_dir) / "panels" if self.folder is None else self.folder
        with whole_file(folder / f"epoch-{epoch:04d}.png", force=True) as partial:
            write_png(picture, partial)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("validation/frames", picture, trainer.global_step, dataformats="HWC")

    def _wanted(self, trainer: pl.Trainer) -> bool:
        """Validation need not come every epoch: the first one from the due epoch on is drawn."""
        if not self.every_n_epochs or trainer.sanity_checking or not trainer.is_global_zero:
            return False
        epoch = trainer.current_epoch + 1
        return epoch >= self._due or epoch == trainer.max_epochs


def _spread_samples(trainer: pl.Trainer, count: int) -> tuple[Sample, ...]:
    """Validation samples at even distances; what cannot be read is left out, as it is told elsewhere."""
    loaders: Any = trainer.val_dataloaders
    dataset = (loaders[0] if isinstance(loaders, Sequence) else loaders).dataset
    found = (dataset[position] for position in evenly(range(len(dataset)), count))
    return tuple(sample for sample in found if isinstance(sample, Sample))


def _picture(
    module: PerceptionModule, samples: Sequence[Sample], predictions: dict[str, Any], heading: str
) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB: one row a frame."""
    specification = module.network.specification
    colours = class_colours(specification.detection_classes, specification.segmentation_classes)
    surfaces = {value: colours[name] for value, name in enumerate(specification.segmentation_classes, start=1)}
    masks: Sequence[NDArray[np.uint8] | None] = [None] * len(samples)
    if "segmentation" in predictions:
        size = (specification.height, specification.width)
        winners, _ = most_likely(predictions["segmentation"].float(), *size)
        masks = list(winners.cpu().numpy())
    found: Sequence[tuple[BoxShape, ...]] = [()] * len(samples)
    if "detection" in predictions:
        detections = module.network.heads["detection"].detect(predictions["detection"])  # type: ignore[operator]
        found = [_found(detections, place, sample, module, colours) for place, sample in enumerate(samples)]
    rows = []
    for sample, boxes, mask in zip(samples, found, masks, strict=True):
        truth = Drawing(
            _labelled(sample, specification.detection_classes, colours) if "detection" in predictions else (),
            None if mask is None else (sample.mask if sample.source_mask is None else sample.source_mask).numpy(),
            surfaces,
        )
        pixels = sample.image.permute(1, 2, 0).numpy()
        title = f"{sample.name}, {heading}"
        rows.append(draw_comparison(pixels, sample.source_size, truth, Drawing(boxes, mask, surfaces), title))
    return stack(rows)


def _labelled(sample: Sample, names: Sequence[str], colours: Mapping[str, str]) -> tuple[BoxShape, ...]:
    """The labels in source pixels."""
    height, width = sample.mask.shape
    shares = sample.boxes / torch.tensor([width, height, width, height])
    labels = [names[label - 1] for label in sample.labels.tolist()]
    shown = [f"{name} (crowd)" if crowd else name for name, crowd in zip(labels, sample.crowd.tolist(), strict=True)]
    return _shapes(shares, sample.source_size, shown, [colours[name] for name in labels])


def _found(
    detections: Any, place: int, sample: Sample, module: PerceptionModule, colours: Mapping[str, str]
) -> tuple[BoxShape, ...]:
    """The boxes above their classes' thresholds in source pixels."""
    count = int(detections.counts[place])
    names = [module.network.specification.detection_classes[k - 1] for k in detections.labels[place, :count].tolist()]
    scores = detections.scores[place, :count].tolist()
    kept = [
        number
        for number, (name, score) in enumerate(zip(names, scores, strict=True))
        if score >= module.score_thresholds.get(name, UNKNOWN_THRESHOLD)
    ]
    shares = detections.boxes[place, kept].float().cpu()
    shown = [f"{names[number]} {scores[number]:.2f}" for number in kept]
    return _shapes(shares, sample.source_size, shown, [colours[names[number]] for number in kept])


def _shapes(
    shares: Tensor, source_size: tuple[int, int], labels: Sequence[str], colours: Sequence[str]
) -> tuple[BoxShape, ...]:
    """Boxes [N, 4] xyxy, as shares of the image's sides, in source pixels with their labels and colours."""
    height, width = source_size
    boxes = shares.reshape(-1, 4) * torch.tensor([width, height, width, height])
    return tuple(
        BoxShape(x1, y1, x2 - x1, y2 - y1, label, colour)
        for (x1, y1, x2, y2), label, colour in zip(boxes.tolist(), labels, colours, strict=True)
    )
