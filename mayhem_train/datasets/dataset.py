"""The frames of a dataset index as samples, read from their recordings when asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.datasets.frame_reader import FrameReader, UnreadableFrame
from mayhem_train.datasets.index import DatasetIndex, LabelledImage
from mayhem_train.datasets.samples import Sample
from mayhem_train.datasets.transforms.mosaic import Mosaic

Transform = Callable[[Sample], Sample]


class FrameDataset(Dataset[Sample | UnreadableFrame]):
    """Map-style dataset over an index: sample i is `index.images[i]`, its frame decoded once, then transformed.

    Its key is i, or (i, seed): then everything random in the transform follows from the seed alone, in whatever
    process it runs: what it asks of torch's CPU generator, of Python's `random` and of NumPy's global one.
    Safe to copy into DataLoader workers, by fork or by pickle.

    Args:
        index: the frames, in their order.
        recordings: folder of the recordings; None where every frame is an image file in `images`.
        transform: applied to every sample.
        images: folder of extracted images, for the frames that have a `file_name`.
        distro: see `FrameReader`.
        mosaic: makes some samples out of the frame asked for and three others of the index; `transform` is not applied
            to those.
        skip_unreadable: a frame that cannot be read is given as an `UnreadableFrame` rather than raised.

    Raises:
        MayhemError: a recording or an image file of the index is missing; the sentence names it.
    """

    def __init__(
        self,
        index: DatasetIndex,
        recordings: Path | None,
        transform: Transform | None = None,
        *,
        images: Path | None = None,
        distro: str | None = None,
        mosaic: Mosaic | None = None,
        skip_unreadable: bool = False,
    ) -> None:
        self.index = index
        self.transform = transform
        self.mosaic = mosaic
        self.skip_unreadable = skip_unreadable
        self._reader = FrameReader(index.images, recordings, images, distro, index.intensity_range, repeatedly=True)
        self._numbers = {c.id: number for number, c in enumerate(index.things, start=1)}

    def __len__(self) -> int:
        return len(self.index.images)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample | UnreadableFrame:
        position, seed = key if isinstance(key, tuple) else (key, None)
        with nullcontext() if seed is None else seeded(seed):
            sample = self._sample(position)
        if isinstance(sample, Sample) and (warnings := self._reader.take_warnings()):
            return replace(sample, warnings=warnings)
        return sample

    def _sample(self, position: int) -> Sample | UnreadableFrame:
        positions = [position] if self.mosaic is None else self.mosaic.positions(position, len(self))
        samples = []
        for image in (self.index.images[p] for p in positions):
            try:
                samples.append(self._read(image))
            except MayhemError as error:
                if isinstance(error, UsageError) or not self.skip_unreadable:
                    raise
                return UnreadableFrame(image.name, str(error))
        if self.mosaic is not None and len(samples) > 1:
            return self.mosaic(samples)
        return samples[0] if self.transform is None else self.transform(samples[0])

    def _read(self, image: LabelledImage) -> Sample:
        pixels = self._reader.read(image)
        return Sample(
            image=torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C")),
            boxes=torch.tensor([label.box for label in image.boxes], dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor([self._numbers[label.category_id] for label in image.boxes], dtype=torch.int64),
            crowd=torch.tensor([label.is_crowd for label in image.boxes], dtype=torch.bool),
            mask=torch.from_numpy(self.index.mask(image)),
            name=image.name,
            image_id=image.id,
            source_size=(image.height, image.width),
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Every CPU generator a transform may ask follows from `seed` (int64) within; all are left as they were found.

    Unlike `torch.manual_seed` it does not touch a training run's CUDA generators.
    """
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 (what other people's transforms may ask)
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
