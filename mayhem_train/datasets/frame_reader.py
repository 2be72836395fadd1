"""The pixels of an index's frames, wherever they are: in an extracted image file or in the recording."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.image_decoding import decode_image
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.datasets.index import LabelledImage
from mayhem_train.datasets.quoting import quoted
from mayhem_train.recordings.recording import Recording, find_recordings
from mayhem_train.recordings.sixteen_bits import NEW_DATASET, few_levels


@dataclass(frozen=True)
class UnreadableFrame:
    """A frame that could not be read, by its name; `reason` is the error's sentence."""

    name: str
    reason: str


class FrameReader:
    """Reads frames by their entries in the index; what they need is looked for at once, so that it is named early.

    An entry with a `file_name` is read from the folder of images, where there is one; every other from its recording.
    Safe in DataLoader workers, forked or spawned.

    Args:
        frames: the entries that will be asked for.
        recordings: folder of the recordings; None where every entry is an image file.
        images: folder of extracted images, PNG or JPEG.
        distro: where recordings carry no message definitions, the ROS distribution whose definitions to take.
        intensity_range: what 16-bit cameras show; the index or the model that sees the frames says it.
        repeatedly: the frames will be asked for again and again in any order, so that those of videos are kept in the
            cache folder once they are decoded.

    Raises:
        MayhemError: a recording or an image is missing, or a file's name leaves the folder; the sentence names it.
    """

    def __init__(
        self,
        frames: Iterable[LabelledImage],
        recordings: Path | None,
        images: Path | None = None,
        distro: str | None = None,
        intensity_range: IntensityRange | None = None,
        *,
        repeatedly: bool = False,
    ) -> None:
        self.intensity_range = intensity_range
        self._images = images
        self._distro = distro
        self._paths: dict[str, Path] = {}
        self._opened: dict[str, Recording] = {}
        self._given: set[str] = set()  # warnings
        self._repeated: dict[str, dict[str, set[int]]] = {}
        from_recordings: dict[str, LabelledImage] = {}
        for frame in frames:
            path = self._file(frame)
            if path is None:
                from_recordings.setdefault(frame.recording, frame)
                if repeatedly:
                    self._repeated.setdefault(frame.recording, {}).setdefault(frame.topic, set()).add(frame.index)
            elif not path.is_file():
                raise MayhemError(
                    f"The image {quoted(frame.file_name)} of the dataset index is not in {images}: "
                    "put it there or name the folder it is in."
                )
        if from_recordings:
            self._paths = _locate(from_recordings, recordings)

    def read(self, frame: LabelledImage) -> NDArray[np.uint8]:
        """uint8 [height, width, 3] RGB; it may be read-only.

        Raises:
            UsageError: there is no such distribution.
            MayhemError: the frame cannot be read or decoded, or has another size than the index says; the sentence
                names it and where it lies.
        """
        path = self._file(frame)
        try:
            pixels = (
                self._recording(frame).read_image(frame.topic, frame.index, self.intensity_range)
                if path is None
                else _read_file(path, self.intensity_range)
            )
        except UsageError:
            raise  # no frame of the recording could be read
        except MayhemError as error:
            raise MayhemError(f"Frame {frame.name} cannot be read: {error}") from error
        except OSError as error:
            raise MayhemError(
                f"Frame {frame.name} cannot be read from {path or self._paths[frame.recording]} "
                f"({error.strerror or error}): put it back there."
            ) from error
        height, width = pixels.shape[:2]
        if (height, width) != (frame.height, frame.width):
            raise MayhemError(
                f"Frame {frame.name} is {width}x{height} pixels in {path or self._paths[frame.recording]}, but "
                f"{frame.width}x{frame.height} in the dataset index: import its annotations again with the frames "
                "they were drawn on."
            )
        return pixels

    def few_levels(self, frames: Sequence[LabelledImage]) -> list[str]:
        """A sentence for each topic of recordings whose 16-bit camera uses few grey levels, where there is no range."""
        if self.intensity_range is not None:
            return []
        first_of_each = {frame.topic: frame for frame in reversed(frames) if self._file(frame) is None}
        said = [few_levels(self._recording(frame), topic, NEW_DATASET) for topic, frame in first_of_each.items()]
        return [sentence for sentence in said if sentence is not None]

    def take_warnings(self) -> tuple[str, ...]:
        """What the user should be told of the recordings read in this process, and has not been given before."""
        found = [sentence for recording in self._opened.values() for sentence in recording.warnings]
        new = tuple(sentence for sentence in dict.fromkeys(found) if sentence not in self._given)
        self._given.update(new)
        return new

    def _file(self, frame: LabelledImage) -> Path | None:
        """Where the frame's image file is; None where it is to be read from its recording."""
        if self._images is None or frame.file_name is None:
            return None
        name = PurePosixPath(frame.file_name)
        if name.is_absolute() or ".." in name.parts or "\\" in frame.file_name or not name.parts:
            raise MayhemError(
                f"The dataset index names the image {quoted(frame.file_name)}, which leaves the folder {self._images}: "
                "name files in that folder and below only."
            )
        return self._images / name

    def _recording(self, frame: LabelledImage) -> Recording:
        if frame.recording not in self._opened:
            recording = Recording(self._paths[frame.recording], distro=self._distro)
            for topic, indices in self._repeated.get(frame.recording, {}).items():
                recording.keep_pictures(topic, indices)
            self._opened[frame.recording] = recording
        return self._opened[frame.recording]


@dataclass(frozen=True)
class _Encoded:
    """A file's bytes as a sensor_msgs/CompressedImage has them."""

    data: bytes
    format: str = ""


def _locate(frames: dict[str, LabelledImage], folder: Path | None) -> dict[str, Path]:
    """The recordings' paths by stem; `frames` holds one frame of each, to be named where there is no folder at all."""
    if folder is None:
        frame = next(iter(frames.values()))
        raise MayhemError(
            f"Frame {frame.name} of the dataset index lies in the recording {frame.recording!r}: "
            "name the folder of the recordings."
        )
    found = find_recordings(folder, wanted=frames)
    for stem in sorted(frames):
        if stem not in found:
            raise MayhemError(
                f"The recording {stem!r} of the dataset index is not in {folder}: "
                "put it there or name the folder it is in."
            )
    return found


def _read_file(path: Path, intensity_range: IntensityRange | None) -> NDArray[np.uint8]:
    data = path.read_bytes()
    try:
        return decode_image(_Encoded(data), intensity_range)
    except MayhemError as error:
        raise MayhemError(f"{path}: {error}") from error
