"""The data of one training run: a dataset index and its recordings as Lightning's loaders."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import cv2
import pytorch_lightning as pl
import torch
from jsonargparse.typing import register_type
from torch import nn
from torch.utils.data import DataLoader, Sampler

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.console import error_console, warn
from mayhem_train.datasets.dataset import FrameDataset, Transform
from mayhem_train.datasets.frame_reader import FrameReader, UnreadableFrame
from mayhem_train.datasets.index import DatasetIndex, dataset_hash
from mayhem_train.datasets.samples import Batch, Sample, collate
from mayhem_train.datasets.transforms.mosaic import Mosaic
from mayhem_train.datasets.transforms.photometric import Photometric
from mayhem_train.datasets.transforms.transforms import EvaluationTransform, TrainTransform
from mayhem_train.recordings.locating import refuse_missing_folder


def _number(value: object) -> float:
    """A number of a YAML file, or of the command line, where it is text."""
    if isinstance(value, str):
        return int(value) if value.lstrip("+-").isdecimal() else float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is no number")
    return value


# torchvision declares arguments such as RandomRotation's `degrees` as this, which jsonargparse could not write down.
register_type(numbers.Number, serializer=_number, deserializer=_number)

# A few damaged frames are no reason to lose a night; more than this share of the index is.
_MOST_UNREADABLE = 0.05
_NAMED = 10  # of the frames that end a run


class PerceptionDataModule(pl.LightningDataModule):
    """Loaders over the splits "train", "val" and "test" of a dataset index.

    A frame that cannot be read in the middle of the training is left out of its batch, named once on stderr and counted
    at the end. Where that leaves nothing the batch is empty, and a training step should give None for it. A run stops
    where more than 5 % of the index's frames, and more than one, cannot be read.

    Args:
        index: path of the dataset index.
        recordings: folder of the recordings it names; not needed where every frame is an image in `images`.
        size: (height, width) of the network's input, pixels.
        batch_size: images a step.
        workers: processes that read and transform; 0 does it in the training process.
        images: folder of extracted images, for the frames of the index that have a `file_name`.
        distro: ROS distribution whose message definitions to take where a recording carries none, such as noetic.
        flip: share of training samples mirrored.
        min_scale: smallest zoom in training; see `TrainTransform` for all of these.
        max_scale: largest zoom in training.
        aspect: how much the aspect is varied in training.
        rotation: largest turn in training, degrees.
        photometric: how far colours are varied in training; None leaves them alone.
        mosaic: share of training samples that show four frames at once; see `Mosaic`.
        transforms: torchvision transforms (v2) by class path, applied in training after all others.
        on_unreadable: what a frame that cannot be read does: skip leaves it out and says so, stop ends the run.
        seed: order and variation of every epoch follow from it, whatever the number of workers.
    """

    def __init__(
        self,
        index: str,
        recordings: str | None = None,
        size: tuple[int, int] | list[int] = (288, 384),
        batch_size: int = 8,
        workers: int = 2,
        images: str | None = None,
        distro: str | None = None,
        flip: float = 0.5,
        min_scale: float = 0.8,
        max_scale: float = 2.0,
        aspect: float = 0.1,
        rotation: float = 0.0,
        photometric: Photometric | None = Photometric(),  # noqa: B008 (it is frozen)
        mosaic: float = 0.0,
        transforms: list[nn.Module] | None = None,
        on_unreadable: Literal["skip", "stop"] = "skip",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or workers < 0:
            raise UsageError(f"batch_size is {batch_size} and workers is {workers}: choose at least 1 and 0.")
        self.index = Path(index)
        self.recordings = None if recordings is None else Path(recordings)
        self.images = None if images is None else Path(images)
        if self.recordings is not None:  # before a network is built, or its weights are downloaded
            refuse_missing_folder(self.recordings)
        self.distro = distro
        self.train_transform = TrainTransform(
            size, flip, min_scale, max_scale, aspect, photometric, rotation, transforms or ()
        )
        self.mosaic = Mosaic(self.train_transform, mosaic) if mosaic else None
        self.evaluation_transform = EvaluationTransform(size)
        self.batch_size = batch_size
        self.workers = workers
        self.on_unreadable = on_unreadable
        self.seed = seed
        self._unreadable: dict[str, UnreadableFrame] = {}

    def smallest_batch(self, processes: int = 1) -> int:
        """How many images the smallest batch of each training process has, if all can be read."""
        return min(self.batch_size, len(self._train) // processes)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files and folders it reads."""
        return tuple(path for path in (self.index, self.recordings, self.images) if path is not None)

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
    def intensity_range(self) -> IntensityRange | None:
        """What the dataset's 16-bit cameras show; None is the full range."""
        return self.dataset_index.intensity_range

    @property
    def dataset_hash(self) -> str:
        """SHA-256 of the index file."""
        return dataset_hash(self.index)

    def few_levels(self) -> list[str]:
        """A sentence for each topic whose 16-bit camera uses few grey levels, since the dataset has no range for it."""
        frames = self.dataset_index.split("train").images
        return FrameReader(frames, self.recordings, self.images, self.distro, self.intensity_range).few_levels(frames)

    def setup(self, stage: str) -> None:
        """Opens what the stage needs, so that what is missing is named before anything runs.

        Raises:
            MayhemError: the index has no images for the stage, none with a label to train on, or a recording it names
                is missing.
        """
        if stage == "fit":
            self._train = self._dataset("train", self.train_transform, self.mosaic)
            if not any(image.boxes or image.surfaces for image in self.dataset_index.split("train").images):
                raise MayhemError(
                    f"{self.index} has no label on any image of its split 'train', so there is nothing to learn: "
                    "import annotations that have shapes."
                )
        if stage in ("fit", "validate"):
            self._validation = self._dataset("val", self.evaluation_transform)
        if stage in ("test", "predict"):
            held_out = "test" if self.dataset_index.split("test").images else "val"
            self._test = self._dataset(held_out, self.evaluation_transform)

    def train_dataloader(self) -> DataLoader[Sample | UnreadableFrame]:
        """Shuffled; a last partial batch is left out where there is a whole one.

        Of several processes each gets its share, so that their batches together are those of one process.
        """
        process, processes = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        sampler = SeededSampler(len(self._train), self.seed, process, processes)
        loader = TrainingLoader(
            self._train, sampler=sampler, drop_last=len(sampler) > self.batch_size, **self._loading()
        )
        loader.trainer = self.trainer
        return loader

    def val_dataloader(self) -> DataLoader[Sample | UnreadableFrame]:
        """Every validation image once, in the index's order."""
        return self._loader(self._validation)

    def test_dataloader(self) -> DataLoader[Sample | UnreadableFrame]:
        """Every image of the split "test" once; of "val" where there is none."""
        return self._loader(self._test)

    def predict_dataloader(self) -> DataLoader[Sample | UnreadableFrame]:
        """The images of `test_dataloader`."""
        return self._loader(self._test)

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Says which frames the batch lacks, and what is wrong with the recordings of the others.

        Raises:
            MayhemError: by now more than 5 % of the frames could not be read.
        """
        warn(*batch.warnings)
        for frame in batch.unreadable:
            if frame.name not in self._unreadable:
                self._unreadable[frame.name] = frame
                error_console.print(f"Left out: {frame.reason}", markup=False, highlight=False, soft_wrap=True)
        frames = len(self.dataset_index.images)
        if batch.unreadable and len(self._unreadable) > max(1.0, _MOST_UNREADABLE * frames):
            names = sorted(self._unreadable)
            told = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
            raise MayhemError(
                f"{len(names)} of {frames} frames of {self.index} could not be read ({told}): "
                "look at the recordings and the disk they are on."
            )
        return batch

    def teardown(self, stage: str) -> None:
        """Counts what was left out."""
        if self._unreadable:
            count = len(self._unreadable)
            told = "1 frame could not be read and was" if count == 1 else f"{count} frames could not be read and were"
            error_console.print(
                f"Warning: {told} left out: {', '.join(sorted(self._unreadable))}.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            self._unreadable.clear()

    def _dataset(self, split: str, transform: Transform, mosaic: Mosaic | None = None) -> FrameDataset:
        part = self.dataset_index.split(split)
        if not part.images:
            found = ", ".join(sorted({image.split for image in self.dataset_index.images}))
            raise MayhemError(
                f"{self.index} has no images in the split {split!r} "
                f"({'only in ' + found if found else 'it lists no images at all'}): "
                "import it again with other --val recordings."
            )
        return FrameDataset(
            part,
            self.recordings,
            transform,
            images=self.images,
            distro=self.distro,
            mosaic=mosaic,
            skip_unreadable=self.on_unreadable == "skip",
        )

    def _loader(self, dataset: FrameDataset) -> DataLoader[Sample | UnreadableFrame]:
        return DataLoader(dataset, **self._loading())

    def _loading(self) -> dict[str, Any]:
        """What all loaders have in common."""
        if self.workers:
            # A forked worker waits for ever for OpenCV's threads, which did not come along. So none are left before.
            cv2.setNumThreads(1)
        return {
            "batch_size": self.batch_size,
            "num_workers": self.workers,
            "collate_fn": collate,
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": self.workers > 0,
        }


class TrainingLoader(DataLoader[Sample | UnreadableFrame]):
    """Begins a pass when its first batch is asked for, and there where its epoch stands.

    Lightning asks for the iterator before it has restored a checkpoint's progress, and says afterwards which epoch it
    is. Worker processes would have begun with the first one by then.

    Attributes:
        trainer: whose epoch it is; without one every pass is a whole one.
    """

    trainer: pl.Trainer | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self.trainer is not None and isinstance(self.sampler, SeededSampler):
            batches_done = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
            self.sampler.first = batches_done * (self.batch_size or 1)
        yield from super().__iter__()


class SeededSampler(Sampler[tuple[int, int]]):
    """A new order every epoch, and with every position the seed of its sample's variation.

    Both follow from (seed, epoch) alone, so a run is the same with any number of workers, and a resumed one goes on
    with the epoch that Lightning sets. Each pass without `set_epoch` is the next epoch. Several processes take turns in
    the same order; what cannot be shared out evenly is left out.

    Attributes:
        epoch: of the next pass.
        first: the place in this process's share at which the next pass begins; those after it are whole again.
    """

    def __init__(self, length: int, seed: int, process: int = 0, processes: int = 1) -> None:
        self.length = length
        self.seed = seed
        self.process = process
        self.processes = processes
        self.epoch = 0
        self.first = 0

    def __len__(self) -> int:
        return self.length // self.processes

    def set_epoch(self, epoch: int) -> None:
        """The epoch the next pass belongs to."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        self.epoch += 1
        order = torch.randperm(self.length, generator=generator).tolist()
        seeds = torch.randint(2**62, (self.length,), generator=generator).tolist()
        shared_out = len(self) * self.processes
        first, self.first = self.first, 0
        return iter(list(zip(order, seeds, strict=True))[self.process : shared_out : self.processes][first:])
