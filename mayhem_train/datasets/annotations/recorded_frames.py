"""The frames of a folder of recordings: found by the names that labels give them, with their places and sizes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

from mayhem_ros.errors import MayhemError
from mayhem_train.console import warn
from mayhem_train.datasets.annotations.faults import LabelError
from mayhem_train.datasets.annotations.frame_names import last_part, possible_frames, video_frame
from mayhem_train.datasets.quoting import quoted
from mayhem_train.recordings.frame import Frame, frame_name, one_spelling, parse_frame_name
from mayhem_train.recordings.recording import Recording, Topic, find_recordings

_NEIGHBOURS = 100  # frames that are asked for their size where one cannot be read


@dataclass(frozen=True)
class FoundFrame:
    """A frame by its recording and index; `renamed` where the name it was found by says more than these."""

    recording: str
    index: int
    renamed: bool

    @property
    def name(self) -> str:
        """The frame's name."""
        return frame_name(self.recording, self.index)


class RecordedFrames:
    """Opens recordings as they are asked for.

    Args:
        folder: the recordings lie in it or below; None where only names matter.
        topic: the image topic, where a recording has several.
        distro: for recordings without message definitions.
        video: the recording that CVAT's `frame_000012` is of, in formats that do not say it.
    """

    def __init__(
        self, folder: Path | None, *, topic: str | None = None, distro: str | None = None, video: str | None = None
    ) -> None:
        self.folder = folder
        self._topic = topic
        self._distro = distro
        self._video = None if video is None else one_spelling(video)
        self._opened: dict[str, tuple[Recording, Topic]] = {}

    def find(self, *names: str) -> FoundFrame:
        """The frame that the first of these names stands for, one that is in the folder before others.

        Tools that add something to a name also replace letters in it, so a recording whose letters and digits are the
        same then counts too, where it is the only one.

        Raises:
            LabelError: none of the names is a frame's.
        """
        for name in names:
            number = video_frame(name)
            if number is not None:
                return FoundFrame(self._video_of(name), number, renamed=False)
        candidates = [(frame, name) for name in names for frame in possible_frames(name)]
        for (recording, index), name in candidates:
            if recording in self._paths:
                return FoundFrame(recording, index, _says_more(name, recording, index))
        for (recording, index), name in candidates:
            alike = self._alike.get(_letters(recording), ()) if _says_more(name, recording, index) else ()
            if len(alike) == 1:
                return FoundFrame(alike[0], index, renamed=True)
        if not candidates:
            name = last_part(names[0]) or names[0]
            raise LabelError(
                f"Image name {quoted(name)} is not <recording>-<index>.png: name it as it was exported.",
                "image whose name is no frame's",
            )
        (recording, index), _ = candidates[0]
        return FoundFrame(recording, index, renamed=False)

    def recording(self, stem: str, *, labelled: int = 1) -> tuple[Recording, Topic]:
        """The recording and its topic of images; `labelled` is of how many frames an error speaks.

        Raises:
            UsageError: there is no such topic.
            MayhemError: the recording is missing or cannot be opened.
        """
        if stem not in self._opened:
            assert self.folder is not None
            path = self._paths.get(stem) or find_recordings(self.folder, wanted={stem}).get(stem)
            if path is None:
                frames = "1 frame" if labelled == 1 else f"{labelled} frames"
                raise LabelError(
                    f"it labels {frames} of the recording {quoted(stem)}, which is not in {self.folder}: put it there "
                    "or name its folder with --recordings.",
                    "recording that is missing",
                )
            recording = Recording(path, distro=self._distro)
            warn(*recording.warnings)
            self._opened[stem] = recording, recording.image_topic(self._topic)
        return self._opened[stem]

    def frame(self, stem: str, index: int) -> Frame:
        """The frame's place and times.

        Raises:
            UsageError, MayhemError: as `recording`, or the recording has fewer images.
        """
        recording, topic = self.recording(stem)
        if index >= topic.count:
            raise LabelError(
                f"{recording.path} has only {topic.count} images on {topic.name}: "
                "pass the recording or the --topic it was exported from.",
                "image beyond its recording's end",
            )
        return recording.frame(topic.name, index)

    def size(self, stem: str, index: int) -> tuple[int, int]:
        """(width, height) of the frame.

        Raises:
            UsageError, MayhemError: as `frame`, or the frame cannot be read.
        """
        frame = self.frame(stem, index)
        return self.recording(stem)[0].image_size(frame.topic, index)

    def likely_size(self, stem: str, index: int) -> tuple[int, int]:
        """(width, height) of the frame, of one that cannot be read that of the nearest that can.

        Raises:
            UsageError, MayhemError: as `frame`, or no frame near it can be read.
        """
        self.frame(stem, index)
        first: MayhemError | None = None
        for nearby in _nearest(index, self.recording(stem)[1].count):
            try:
                return self.size(stem, nearby)
            except MayhemError as error:
                first = first or error
        assert first is not None
        raise first

    def close(self) -> None:
        """Closes the recordings; asking for frames opens them again."""
        for recording, _ in self._opened.values():
            warn(*recording.warnings)  # with what reading came upon
            recording.close()

    @cached_property
    def _paths(self) -> dict[str, Path]:
        return {} if self.folder is None else find_recordings(self.folder, wanted=())

    @cached_property
    def _alike(self) -> dict[str, list[str]]:
        alike: dict[str, list[str]] = {}
        for stem in self._paths:
            alike.setdefault(_letters(stem), []).append(stem)
        return alike

    def _video_of(self, name: str) -> str:
        if self._video is None:
            raise LabelError(
                f"Image name {quoted(last_part(name))} is CVAT's for a frame of a video, whose recording this format "
                "does not say: pass --video-recording STEM.",
                "image of a video without a name",
            )
        return self._video


def _says_more(name: str, recording: str, index: int) -> bool:
    """Whether the name, without folders and extension, is not just the frame's."""
    stem, dot, extension = last_part(name).rpartition(".")
    try:
        return parse_frame_name(f"{stem if dot and len(extension) <= 4 else last_part(name)}.png") != (recording, index)
    except MayhemError:
        return True


def _letters(name: str) -> str:
    """What of a name survives tools that replace letters: the plain ones and digits, all else as one dash."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^0-9a-z]+", "-", plain).strip("-")


def _nearest(index: int, count: int) -> Iterator[int]:
    """This index and those around it, the nearest first."""
    around = (place for step in range(1, _NEIGHBOURS // 2) for place in (index - step, index + step))
    yield from (place for place in chain([index], around) if 0 <= place < count)
