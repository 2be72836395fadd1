"""What a recording holds and what is wrong with it, without reading more of it than needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_train.console import track
from mayhem_train.recordings.depth import is_depth_message
from mayhem_train.recordings.image_sample import ImageSample, sample_image
from mayhem_train.recordings.recording import Recording, Topic
from mayhem_train.recordings.sixteen_bits import few_levels
from mayhem_train.recordings.verification import Verification, verify_recording


@dataclass(frozen=True)
class TopicReport:
    """One topic.

    Attributes:
        rate_hz: one over the median period between header stamps, since messages are often logged in bursts; between
            log times where there are no headers. None with fewer than two messages or no time between them.
        largest_gap_s: the longest time between two messages by the same clock, None with fewer than two messages.
        duplicated_stamps: messages whose header stamp is the one of the message before; None without headers.
        backward_stamps: messages whose header stamp is earlier than the one of the message before.
        width, height, encoding: as in `ImageSample`; None for other types.
        gaps: how many times are longer than twice the median one by the same clock, None with fewer than two messages.
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
    gaps: int | None = None


@dataclass(frozen=True)
class RecordingReport:
    """One recording.

    Attributes:
        problems: one sentence for everything damaged, missing or unreadable.
        verification: what came of reading everything, None where only the heads and ends were read.
    """

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
    verification: Verification | None = None

    @property
    def is_damaged(self) -> bool:
        """Whether everything was read and something of it is damaged."""
        return self.verification is not None and bool(self.verification.damaged or self.verification.wrong_files)

    @property
    def start(self) -> str:
        """The first message's log time, UTC, ISO 8601."""
        return datetime.fromtimestamp(self.start_ns / 1e9, timezone.utc).isoformat(timespec="milliseconds")

    def to_json(self) -> dict[str, Any]:
        """The report ready for JSON."""
        return {**asdict(self), "start": self.start}


def inspect_recording(recording: Recording, *, verify: bool = False) -> RecordingReport:
    """Goes through every message's head once, reads the ends of every topic, and decodes an image of each camera.

    Args:
        verify: reads every message and decodes every image as well.
    """
    problems: list[str] = []
    stamps = _stamps(recording, problems)
    report = RecordingReport(
        path=str(recording.path),
        stem=recording.stem,
        storage=recording.storage,
        compression=recording.compression,
        size_bytes=recording.size,
        start_ns=recording.start_ns,
        duration_s=(recording.end_ns - recording.start_ns) / 1e9,
        message_count=sum(topic.count for topic in recording.topics),
        topics=tuple(_topic(recording, topic, stamps.get(topic.name), problems) for topic in recording.topics),
        problems=(),
    )
    if verify:
        report = replace(report, verification=verify_recording(recording))
        problems.extend(report.verification.problems if report.verification else ())
    return replace(report, problems=tuple(dict.fromkeys((*recording.problems, *problems))))  # reading may find more


def _stamps(recording: Recording, problems: list[str]) -> dict[str, NDArray[np.int64]]:
    """The header stamps of every topic that has them, as far as they can be read."""
    topics = [topic for topic in recording.topics if topic.count and recording.has_header(topic.name)]
    stamps: dict[str, list[int]] = {topic.name: [] for topic in topics}
    total = sum(topic.count for topic in topics)
    for name, stamp in track(recording.stamps_ns(list(stamps)), f"Reading {recording.stem}", total):
        if stamp is not None:
            stamps[name].append(stamp)
    for topic in topics:
        missing = topic.count - len(stamps[topic.name])
        if missing:
            problems.append(
                f"{missing} of {topic.count} messages on {topic.name} of {recording.path} have no readable header."
            )
    return {name: np.array(values, np.int64) for name, values in stamps.items()}


def _topic(recording: Recording, topic: Topic, stamps: NDArray[np.int64] | None, problems: list[str]) -> TopicReport:
    steps = np.diff(stamps) if stamps is not None else None
    times = recording.log_times_ns(topic.name) if stamps is None else stamps
    periods = np.diff(times)
    median = float(np.median(periods)) if len(periods) else 0.0
    waits = np.diff(np.maximum.accumulate(times))  # a stamp that went back makes no gap before the next
    image = ImageSample()
    if topic in recording.image_topics:
        image = sample_image(recording, topic)
        problems.extend(image.problems)
        if image.message is not None and not is_depth_message(image.message, topic.name):
            problems.extend(filter(None, [few_levels(recording, topic.name)]))
    else:
        _read_ends(recording, topic, problems)
    return TopicReport(
        name=topic.name,
        type=topic.type,
        count=topic.count,
        rate_hz=1e9 / median if median > 0 else None,
        largest_gap_s=float(waits.max()) / 1e9 if len(waits) else None,
        duplicated_stamps=None if steps is None else int((steps == 0).sum()),
        backward_stamps=None if steps is None else int((steps < 0).sum()),
        width=image.width,
        height=image.height,
        encoding=image.encoding,
        gaps=int((waits > 2 * median).sum()) if len(waits) else None,
    )


def _read_ends(recording: Recording, topic: Topic, problems: list[str]) -> None:
    """Reads the first and the last message of a topic, to see that they can be."""
    for index in sorted({0, topic.count - 1} if topic.count else ()):
        try:
            recording.read_message(topic.name, index)
        except MayhemError as error:
            problems.append(str(error))
