"""Frames that show what a camera shows: to calibrate a quantised file by, and others to judge it by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.console import warn
from mayhem_train.datasets.frame_reader import FrameReader
from mayhem_train.datasets.index import LabelledImage
from mayhem_train.recordings.opening import opened_recording

Item = TypeVar("Item")


class Frames(Protocol):
    """Frames that are read anew each time they are iterated over, one at a time: uint8 [H, W, 3] RGB."""

    def __len__(self) -> int:
        """How many."""

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """The frames."""


class RecordedFrames:
    """Frames spread evenly over recordings, the same number of each as far as they go.

    Args:
        recordings: files or folders.
        count: how many in all.
        besides: take none of these.
        topic: the image topic; None takes each recording's only camera.
        distro: where a recording carries no message definitions, the ROS distribution whose definitions to take.
        intensity_range: by which the model sees 16-bit cameras.

    Raises:
        MayhemError: a recording cannot be read, or none has a frame left to take.
    """

    def __init__(
        self,
        recordings: Sequence[Path],
        count: int,
        *,
        besides: RecordedFrames | None = None,
        topic: str | None = None,
        distro: str | None = None,
        intensity_range: IntensityRange | None = None,
    ) -> None:
        self._distro = distro
        self._intensity_range = intensity_range
        self._places: list[tuple[Path, str, int]] = []
        taken = set(besides._places) if besides is not None else set()
        share = -(-count // max(len(recordings), 1))
        for path in (recording.resolve() for recording in recordings):
            with opened_recording(path, distro=distro) as opened:
                chosen = opened.image_topic(topic)
            places = [(path, chosen.name, index) for index in range(chosen.count)]
            self._places += _spread([place for place in places if place not in taken], share)
        if not self._places:
            names = ", ".join(str(path) for path in recordings)
            raise MayhemError(f"{names} has no frame left to compare on besides those it is calibrated on: name more.")

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for path in dict.fromkeys(place[0] for place in self._places):
            with opened_recording(path, distro=self._distro) as opened:
                for _, topic, index in (place for place in self._places if place[0] == path):
                    yield opened.read_image(topic, index, self._intensity_range)


class LabelledFrames:
    """Frames of a dataset index, spread evenly over those given.

    Args:
        images: entries of the index.
        reader: reads them.
        count: how many at most.
    """

    def __init__(self, images: Sequence[LabelledImage], reader: FrameReader, count: int) -> None:
        self._images = _spread(images, count)
        self._reader = reader

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        yield from (self._reader.read(image) for image in self._images)
        warn(*self._reader.take_warnings())


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, evenly spread from the first."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]
