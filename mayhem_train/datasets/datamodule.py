"""The data of one training run: a dataset index and its recordings as Lightning's loaders."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.datasets.dataset import FrameDataset, Transform
from mayhem_train.datasets.index import DatasetIndex, dataset_hash
from mayhem_train.datasets.photometric import Photometric
from mayhem_train.datasets.samples import Sample, collate
from mayhem_train.datasets.transforms import EvaluationTransform, TrainTransform


class PerceptionDataModule(pl.LightningDataModule):
    """Loaders over the splits "train", "val" and "test" of a dataset index.

    Args:
        index: path of the dataset index.
        recordings: folder of the recordings it names.
        size: (height, width) of the network's input, pixels.
        batch_size: images a step.
        workers: processes that read and transform; 0 does it in the training process.
        flip: share of training samples mirrored.
        min_scale: smallest zoom in training; see `TrainTransform` for all of these.
        max_scale: largest zoom in training.
        aspect: how much the aspect is varied in training.
        photometric: how far colours are varied in training; None leaves them alone.
        seed: order and variation of every epoch follow from it, whatever the number of workers.
    """

    def __init__(
        self,
        index: str,
        recordings: str,
        size: tuple[int, int] | list[int] = (288, 384),
        batch_size: int = 8,
        workers: int = 2,
        flip: float = 0.5,
        min_scale: float = 0.8,
        max_scale: float = 2.0,
        aspect: float = 0.1,
        photometric: Photometric | None = Photometric(),  # noqa: B008 (it is frozen)
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or workers < 0:
            raise UsageError(f"batch_size is {batch_size} and workers is {workers}: choose at least 1 and 0.")
        self.index = Path(index)
        self.recordings = Path(recordings)
        self.train_transform = TrainTransform(size, flip, min_scale, max_scale, aspect, photometric)
        self.evaluation_transform = EvaluationTransform(size)
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network's input, pixels."""
        return self.evaluation_transform.size

    @cached_property
    def dataset_index(self) -> DatasetIndex:
        """The whole index, all splits."""
        return DatasetIndex.load(self.index)

    @property
    def thing_names(self) -> tuple[str, ...]:
        """The detection classes: label k is `thing_names[k - 1]`."""
        return tuple(category.name for category in self.dataset_index.things)

    @property
    def surface_names(self) -> tuple[str, ...]:
        """The segmentation classes: mask value k is `surface_names[k - 1]`."""
        return tuple(category.name for category in self.dataset_index.surfaces)

    @property
    def dataset_hash(self) -> str:
        """SHA-256 of the index file."""
        return dataset_hash(self.index)

    def setup(self, stage: str) -> None:
        """Opens what the stage needs, so that what is missing is named before anything runs.

        Raises:
            MayhemError: the index has no images for the stage, or a recording it names is missing.
        """
        if stage == "fit":
            self._train = self._dataset("train", self.train_transform)
        if stage in ("fit", "validate"):
            self._validation = self._dataset("val", self.evaluation_transform)
        if stage in ("test", "predict"):
            held_out = "test" if self.dataset_index.split("test").images else "val"
            self._test = self._dataset(held_out, self.evaluation_transform)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled; a last partial batch is left out where there is a whole one."""
        sampler = SeededSampler(len(self._train), self.seed)
        return self._loader(self._train, sampler, drop_last=len(self._train) > self.batch_size)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Every validation image once, in the index's order."""
        return self._loader(self._validation)

    def test_dataloader(self) -> DataLoader[Sample]:
        """Every image of the split "test" once; of "val" where there is none."""
        return self._loader(self._test)

    def predict_dataloader(self) -> DataLoader[Sample]:
        """The images of `test_dataloader`."""
        return self._loader(self._test)

    def _dataset(self, split: str, transform: Transform) -> FrameDataset:
        part = self.dataset_index.split(split)
        if not part.images:
            raise MayhemError(
                f"{self.index} has no images in the split {split!r}: import it again with other --val recordings."
            )
        return FrameDataset(part, self.recordings, transform)

    def _loader(
        self, dataset: FrameDataset, sampler: SeededSampler | None = None, drop_last: bool = False
    ) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
        )


class SeededSampler(Sampler[tuple[int, int]]):
    """A new order every epoch, and with every position the seed of its sample's variation.

    Both follow from (seed, epoch) alone, so a run is the same with any number of workers, and a resumed one goes on
    with the epoch that Lightning sets. Each pass without `set_epoch` is the next epoch.
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """The epoch the next pass belongs to."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        self.epoch += 1
        order = torch.randperm(self.length, generator=generator).tolist()
        seeds = torch.randint(2**62, (self.length,), generator=generator).tolist()
        return iter(list(zip(order, seeds, strict=True)))
