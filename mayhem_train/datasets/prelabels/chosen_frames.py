"""Frames chosen for people to look at: found in their recordings, read one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.console import error_console
from mayhem_train.recordings.frame import Frame, frame_name
from mayhem_train.recordings.opening import opened_recording
from mayhem_train.recordings.recording import Recording, find_recordings


@dataclass(frozen=True, order=True)
class Place:
    """Where a frame is: its recording's stem, the topic, and its place among that topic's messages."""

    recording: str
    topic: str
    index: int

    @property
    def name(self) -> str:
        """The frame's name."""
        return frame_name(self.recording, self.index)


def every_nth_frame(
    recordings: Path, every: int, *, topic: str | None = None, distro: str | None = None
) -> list[Place]:
    """The frames 0, `every`, 2·`every`, … of each recording below a folder; one without such images is passed over.

    Raises:
        UsageError: `every` is less than 1, or a recording has several cameras and `topic` names none of its.
        MayhemError: there is no folder, it holds no images, or a recording in it cannot be read.
    """
    if every < 1:
        raise UsageError(f"Every {every}th frame cannot be: choose 1 for all frames, 2 for every other, and so on.")
    places: list[Place] = []
    for stem, path in find_recordings(recordings).items():
        with opened_recording(path, distro=distro) as recording:
            try:
                chosen = recording.image_topic(topic)
            except UsageError:
                raise
            except MayhemError as error:
                error_console.print(f"Passed over: {error}", markup=False, highlight=False, soft_wrap=True)
                continue
            places.extend(Place(stem, chosen.name, index) for index in range(0, chosen.count, every))
    if not places:
        raise MayhemError(f"{recordings} holds no recording with images: name the folder of the recordings.")
    return places


def find_frames(frames: Iterable[Frame], recordings: Path, *, distro: str | None = None) -> list[Place]:
    """Where these frames are, once they are known to be in the recordings.

    Raises:
        MayhemError: a recording is missing, too short, or another one of the same name.
    """
    paths = find_recordings(recordings)
    places: list[Place] = []
    for stem, members in groupby(sorted(frames, key=_order), lambda frame: frame.recording):
        if stem not in paths:
            raise MayhemError(
                f"The recording {stem!r} of the chosen frames is not in {recordings}: "
                "put it there or name its folder with --recordings."
            )
        with opened_recording(paths[stem], distro=distro) as recording:
            for frame in members:
                if frame.log_time_ns != recording.frame(frame.topic, frame.index).log_time_ns:
                    raise MayhemError(
                        f"Frame {frame.name} was chosen from a recording that is not {paths[stem]}: message "
                        f"{frame.index} on {frame.topic} has another log time; choose the frames again."
                    )
                places.append(Place(stem, frame.topic, frame.index))
    return places


def read_frames(
    places: Iterable[Place],
    recordings: Path,
    *,
    distro: str | None = None,
    intensity_range: IntensityRange | None = None,
) -> Iterator[tuple[Place, NDArray[np.uint8]]]:
    """Each frame with its pixels, uint8 [H, W, 3] RGB, in the order of `places`, those of a recording together.

    A frame that cannot be decoded is named on stderr and left out.

    Raises:
        MayhemError: a recording cannot be opened.
    """
    paths = find_recordings(recordings)
    for stem, members in groupby(places, lambda place: place.recording):
        with opened_recording(paths[stem], distro=distro) as recording:
            for place in members:
                try:
                    pixels = recording.read_image(place.topic, place.index, intensity_range)
                except MayhemError as error:
                    error_console.print(f"Left out: {error}", markup=False, highlight=False, soft_wrap=True)
                    continue
                yield place, pixels


def opened_cameras(
    places: Iterable[Place], recordings: Path, *, distro: str | None = None
) -> Iterator[tuple[Recording, str]]:
    """The recordings and topics that these frames are of."""
    paths = find_recordings(recordings)
    for stem, topic in sorted({(place.recording, place.topic) for place in places}):
        yield Recording(paths[stem], distro=distro), topic


def _order(frame: Frame) -> tuple[str, str, int]:
    return frame.recording, frame.topic, frame.index
