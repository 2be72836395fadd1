"""Which frames of one recording are kept: each is compared with the last kept one before it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.recordings.failing_disk import is_of_the_disk
from mayhem_train.recordings.frame import frame_name
from mayhem_train.recordings.pruning.kept_frames import AuditRow
from mayhem_train.recordings.pruning.similarity import Reference, to_grey
from mayhem_train.recordings.pruning.window import WINDOW
from mayhem_train.recordings.recording import Recording

_LONGEST_S = 1e9  # thirty years, of which the nanoseconds fit into 64 bits


@dataclass(frozen=True)
class PruneSettings:
    """What is kept.

    Attributes:
        limit: a frame is kept when its similarity to the last kept frame is below.
        every: only every so-manieth frame is looked at, from the first one in the time window on.
        start, stop: seconds from the recording's first message; frames logged from `start` on and before `stop` are
            looked at. None: to the end.
        max_frames: a recording is left after so many kept frames.

    Raises:
        UsageError: a setting makes no sense.
    """

    limit: float = 0.7
    every: int = 1
    start: float = 0.0
    stop: float | None = None
    max_frames: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.limit <= 1:
            raise UsageError(f"The limit {self.limit} is not between 0 and 1: 0.7 keeps one frame of each scene.")
        if self.every < 1:
            raise UsageError(f"Every {self.every} frames is not possible: 1 looks at all of them.")
        if not 0 <= self.start < math.inf:
            raise UsageError(f"The start {self.start} is not a number of seconds from 0 on.")
        if self.stop is not None and not self.start < self.stop < math.inf:
            raise UsageError(f"The stop {self.stop} is not a number of seconds after the start {self.start}.")
        if self.max_frames is not None and self.max_frames < 1:
            raise UsageError(f"At most {self.max_frames} frames would keep nothing: ask for at least 1.")


def frame_indices(recording: Recording, topic: str, settings: PruneSettings) -> range:
    """The indices of the frames that are looked at, were none left out by `max_frames`."""
    times = recording.log_times_ns(topic)

    def first_at(seconds: float) -> int:
        return int(np.searchsorted(times, recording.start_ns + round(min(seconds, _LONGEST_S) * 1e9), side="left"))

    stop = len(times) if settings.stop is None else first_at(settings.stop)
    return range(first_at(settings.start), stop, settings.every)


def select_frames(
    recording: Recording,
    topic: str,
    settings: PruneSettings,
    done: Sequence[AuditRow] = (),
    intensity_range: IntensityRange | None = None,
) -> Iterator[AuditRow]:
    """Decides about one frame after the other, after those that are `done` already.

    Those of 16-bit cameras are seen by their intensity range.

    The first frame that can be decoded is kept. So is one that cannot be compared with its reference: of another
    size, smaller than the window, or any but a black one after a black one. A frame that cannot be decoded is left out
    and never a reference.

    Raises:
        MayhemError: the recording's file cannot be read any more.
    """
    times = recording.log_times_ns(topic)
    kept = [row.index for row in done if row.kept]
    left = math.inf if settings.max_frames is None else settings.max_frames - len(kept)
    last: _LastKept | None = None
    read = partial(recording.read_with_flaws, topic, intensity_range=intensity_range)
    for index in frame_indices(recording, topic, settings)[len(done) :]:
        if left <= 0:
            return
        if last is None and kept:
            last = _LastKept(frame_name(recording.stem, kept[-1]), to_grey(read(kept[-1]).pixels))
        name = frame_name(recording.stem, index)
        compared_with: str | None = None
        flaw: str | None = None
        try:
            decoded = read(index)
            image = to_grey(decoded.pixels)
        except MayhemError as error:
            if is_of_the_disk(error):
                raise
            decision = _Decision(None, False, f"cannot be decoded: {_reason(error)}")
        else:
            decision = _decide(last, image, settings.limit)
            compared_with = None if last is None else last.name
            flaw = decoded.flaws[0] if decoded.flaws else None
            if decision.kept:
                last = _LastKept(name, image)
                left -= 1
        yield AuditRow(
            name=name,
            recording=recording.stem,
            topic=topic,
            index=index,
            log_time_ns=int(times[index]),
            stamp_ns=recording.frame(topic, index).stamp_ns,
            score=decision.score,
            reference=compared_with,
            kept=decision.kept,
            reason=decision.reason,
            flaw=flaw,
        )


class _LastKept:
    """The last kept frame, which those after it are compared with."""

    def __init__(self, name: str, image: NDArray[np.uint8]) -> None:
        self.name = name
        self.shape = image.shape
        self.reference = None if min(image.shape) < WINDOW else Reference(image)


@dataclass(frozen=True)
class _Decision:
    score: float | None
    kept: bool
    reason: str | None = None


def _decide(last: _LastKept | None, image: NDArray[np.uint8], limit: float) -> _Decision:
    if last is None:
        return _Decision(None, True, "first frame")
    if image.shape != last.shape:
        return _Decision(None, True, f"{_size(image.shape)}, its reference {_size(last.shape)}")
    if last.reference is None:
        return _Decision(None, True, f"{_size(image.shape)}, smaller than the window of {WINDOW} pixels")
    score = last.reference.similarity(image)
    if math.isinf(score):
        return _Decision(None, True, "its reference is black")
    return _Decision(score, score < limit)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def _reason(error: MayhemError) -> str:
    """What is wrong with a message, without the sentence that names it: the row does so already."""
    return str(error.__cause__ if isinstance(error.__cause__, MayhemError) else error)
