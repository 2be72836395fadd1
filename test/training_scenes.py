"""Small scenes in memory, and how the training's tests learn from them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mayhem_train.balancing.balancer import Balancer, MeasuredOn
from mayhem_train.balancing.names import CONSTANT
from mayhem_train.balancing.weightings.weighting import LossWeighting
from mayhem_train.datasets.samples import Batch, Sample, collate
from mayhem_train.training.perception_module import PerceptionModule

SIZE = (64, 96)


class Scenes(Dataset[Sample]):
    """A coloured box on a grey floor, drawn from the place's number.

    Even ones have the box at the same place; uneven ones have none in every third scene, and every second is unlabelled
    on its right. Of bare ones the first six have no labelled surface.
    """

    def __init__(self, count: int, kind: Literal["any", "even", "uneven", "bare"] = "any"):
        self.count = count
        self.kind = kind

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        place = key[0] if isinstance(key, tuple) else key
        generator = torch.Generator().manual_seed(place)
        image = torch.randint(0, 60, (3, *SIZE), generator=generator, dtype=torch.uint8)
        image[:, 32:] += 90
        left = 20 if self.kind == "even" else int(torch.randint(0, 50, (), generator=generator))
        image[place % 3, 20:50, left : left + 30] = 220
        mask = torch.zeros(SIZE, dtype=torch.uint8)
        mask[32:] = 1
        boxes, labels = torch.tensor([[left, 20.0, left + 30, 50]]), torch.tensor([1])
        crowd = torch.tensor([False])
        if self.kind == "bare" and place < 6:
            mask[:] = 255
        if self.kind == "uneven" and place % 2:
            mask[:, 60:] = 255
        if self.kind == "uneven" and place % 3 == 0:
            boxes, labels, crowd = boxes[:0], labels[:0], crowd[:0]
        return Sample(image, boxes, labels, crowd, mask, f"scene-{place:06d}.png", place, SIZE, mask)


def scenes(count: int = 4, batch_size: int = 2) -> DataLoader[Batch]:
    return DataLoader(Scenes(count), batch_size, collate_fn=collate)


def module(
    weighting: LossWeighting | str = "equal",
    gradient: str = "none",
    seed: int = 0,
    measured_on: MeasuredOn = "body",
    measure_gradients: bool = False,
    **options: object,
) -> PerceptionModule:
    pl.seed_everything(seed, verbose=False)
    constants = {"segmentation": 2.0} if weighting == CONSTANT else None
    balancer = Balancer(weighting, gradient, constants, measured_on, measure_gradients)
    options = {"body": "mobilenet_v2", "weights": "none", "warmup_steps": 0, **options}
    return PerceptionModule(SIZE, ("box",), ("floor",), "0" * 64, balancer, **options)


def fit(module: PerceptionModule, loader: DataLoader[Batch], folder: Path, **options: object) -> pl.Trainer:
    options = {"max_epochs": 1, "precision": "32-true", "logger": False, "enable_checkpointing": False, **options}
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(module, loader)
    return trainer


def weights(module: PerceptionModule) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]
