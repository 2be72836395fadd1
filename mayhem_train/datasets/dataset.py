"""The frames of a dataset index as samples, read from their recordings when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.index import DatasetIndex, LabelledImage
from mayhem_train.datasets.samples import Sample
from mayhem_train.recordings.recording import Recording, find_recordings

Transform = Callable[[Sample], Sample]


class FrameDataset(Dataset[Sample]):
    """Map-style dataset over an index: sample i is `index.images[i]`, its frame decoded once, then transformed.

    Its key is i, or (i, seed): then everything random in the transform, as far as it asks torch's CPU generator,
    follows from the seed alone, in whatever process it runs. Safe to copy into DataLoader workers, by fork or by
    pickle.

    Raises:
        MayhemError: a recording of the index is not in the folder; the sentence names it.
    """

    def __init__(self, index: DatasetIndex, recordings: Path, transform: Transform | None = None) -> None:
        self.index = index
        self.transform = transform
        paths = find_recordings(recordings)
        for stem in sorted({image.recording for image in index.images}):
            if stem not in paths:
                raise MayhemError(
                    f"The recording {stem!r} of the dataset index is not in {recordings}: "
                    "put it there or name the folder it is in."
                )
        self._paths = paths
        self._numbers = {c.id: number for number, c in enumerate(index.things, start=1)}
        self._opened: dict[str, Recording] = {}

    def __len__(self) -> int:
        return len(self.index.images)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        position, seed = key if isinstance(key, tuple) else (key, None)
        sample = self._read(self.index.images[position])
        if self.transform is None:
            return sample
        if seed is None:
            return self.transform(sample)
        with _seeded(seed):
            return self.transform(sample)

    def _read(self, image: LabelledImage) -> Sample:
        pixels = self._recording(image.recording).read_image(image.topic, image.index)
        if pixels.shape[:2] != (image.height, image.width):
            raise MayhemError(
                f"Frame {image.name} is {pixels.shape[1]}x{pixels.shape[0]} pixels, but {image.width}x{image.height} "
                "in the dataset index: import it again with `mayhem import-cvat`."
            )
        return Sample(
            image=torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C")),
            boxes=torch.tensor([label.box for label in image.boxes], dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor([self._numbers[label.category_id] for label in image.boxes], dtype=torch.int64),
            mask=torch.from_numpy(self.index.mask(image)),
            name=image.name,
            image_id=image.id,
            source_size=(image.height, image.width),
        )

    def _recording(self, stem: str) -> Recording:
        if stem not in self._opened:
            self._opened[stem] = Recording(self._paths[stem])
        return self._opened[stem]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Only torch's CPU generator, unlike `torch.manual_seed`: a training run's CUDA generators are not touched."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
