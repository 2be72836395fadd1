"""What a recording holds and what is wrong with it, without reading more of it than needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_train.console import track
from mayhem_train.recordings.recording import IMAGE, Recording, Topic


@dataclass(frozen=True)
class TopicReport:
    """One topic.

    Attributes:
        rate_hz: one over the median period between header stamps, since messages are often logged in bursts; between
            log times where there are no headers. None with fewer than two messages or no time between them.
        largest_gap_s: the longest time between two messages by the same clock, None with fewer than two messages.
        duplicated_stamps: messages whose header stamp is the one of the message before; None without headers.
        backward_stamps: messages whose header stamp is earlier than the one of the message before.
        width, height: of the first image in pixels, None for other types.
        encoding: of the first image; a compressed image's `format`.
    """

    name: str
    type: str
    count: int
    rate_hz: float | None
    largest_gap_s: float | None
    duplicated_stamps: int | None
    backward_stamps: int | None
    width: int | None = None
    height: int | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class RecordingReport:
    """One recording. `problems` has one sentence for everything damaged, missing or unreadable."""

    path: str
    stem: str
    storage: str
    compression: tuple[str, ...]
    size_bytes: int
    start_ns: int
    duration_s: float
    message_count: int
    topics: tuple[TopicReport, ...]
    problems: tuple[str, ...]

    @property
    def start(self) -> str:
        """The first message's log time, UTC, ISO 8601."""
        return datetime.fromtimestamp(self.start_ns / 1e9, timezone.utc).isoformat(timespec="milliseconds")

    def to_json(self) -> dict[str, Any]:
        """The report ready for JSON."""
        return {**asdict(self), "start": self.start}


def inspect_recording(recording: Recording) -> RecordingReport:
    """Goes through every message's head once, and reads the first and the last message of every topic."""
    problems = list(recording.problems)
    stamps = _stamps(recording, problems)
    return RecordingReport(
        path=str(recording.path),
        stem=recording.stem,
        storage=recording.storage,
        compression=recording.compression,
        size_bytes=recording.size,
        start_ns=recording.start_ns,
        duration_s=(recording.end_ns - recording.start_ns) / 1e9,
        message_count=sum(topic.count for topic in recording.topics),
        topics=tuple(_topic(recording, topic, stamps.get(topic.name), problems) for topic in recording.topics),
        problems=tuple(problems),
    )


def _stamps(recording: Recording, problems: list[str]) -> dict[str, NDArray[np.int64]]:
    """The header stamps of every topic that has them, as far as they can be read."""
    topics = [topic for topic in recording.topics if topic.count and recording.has_header(topic.name)]
    stamps: dict[str, list[int]] = {topic.name: [] for topic in topics}
    total = sum(topic.count for topic in topics)
    try:
        for name, stamp in track(recording.stamps_ns(list(stamps)), f"Reading {recording.stem}", total):
            stamps[name].append(stamp)
    except MayhemError as error:
        problems.append(str(error))
    return {name: np.array(values, np.int64) for name, values in stamps.items()}


def _topic(recording: Recording, topic: Topic, stamps: NDArray[np.int64] | None, problems: list[str]) -> TopicReport:
    steps = np.diff(stamps) if stamps is not None else None
    periods = np.diff(recording.log_times_ns(topic.name)) if steps is None else steps
    median = float(np.median(periods)) if len(periods) else 0.0
    width, height, encoding = _image(recording, topic, problems)
    return TopicReport(
        name=topic.name,
        type=topic.type,
        count=topic.count,
        rate_hz=1e9 / median if median > 0 else None,
        largest_gap_s=float(periods.max()) / 1e9 if len(periods) else None,
        duplicated_stamps=None if steps is None else int((steps == 0).sum()),
        backward_stamps=None if steps is None else int((steps < 0).sum()),
        width=width,
        height=height,
        encoding=encoding,
    )


def _image(recording: Recording, topic: Topic, problems: list[str]) -> tuple[int | None, int | None, str | None]:
    """Width, height and encoding of the topic's first image; reads the last message too, to see that it can be."""
    messages = _ends(recording, topic, problems)
    if not messages or topic not in recording.image_topics:
        return None, None, None
    if topic.type == IMAGE:
        return messages[0].width, messages[0].height, messages[0].encoding
    try:
        height, width, _ = recording.read_image(topic.name, 0).shape
    except MayhemError as error:
        if "depth" not in messages[0].format.lower():
            problems.append(str(error))
        return None, None, messages[0].format
    return width, height, messages[0].format


def _ends(recording: Recording, topic: Topic, problems: list[str]) -> Sequence[Any]:
    """The topic's first and last message, or none where one cannot be read."""
    try:
        return [recording.read_message(topic.name, index) for index in sorted({0, topic.count - 1}) if topic.count]
    except MayhemError as error:
        problems.append(str(error))
        return []
