"""What a recording holds and what is wrong with it, without reading more of it than needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_train.console import track
from mayhem_train.recordings.clocks import clock_difference_ns, count_jumps, tell_time
from mayhem_train.recordings.depth import is_depth_message
from mayhem_train.recordings.image_sample import ImageSample, sample_image
from mayhem_train.recordings.index_cache import UNREAD
from mayhem_train.recordings.recording import Recording, Topic
from mayhem_train.recordings.sixteen_bits import few_levels
from mayhem_train.recordings.verification import Verification, verify_recording
from mayhem_train.recordings.video.description import describe_video


@dataclass(frozen=True)
class TopicReport:
    """One topic.

    Attributes:
        rate_hz: one over the median period by `clock`. None with fewer than two messages or no time between them.
        largest_gap_s: the longest time between two messages by the same clock, None with fewer than two messages.
        duplicated_stamps: messages whose header stamp is the one of the message before; None without headers.
        backward_stamps: messages whose header stamp is earlier than the one of the message before.
        width, height, encoding: as in `ImageSample`; None for other types.
        codec: of a video, as "H.264".
        key_frames: how many of a video's packets decoding may begin with.
        key_distance: the usual number of packets from one to the next; None with fewer than two.
        gaps: how many times are longer than twice the median one by the same clock, None with fewer than two messages.
        clock: "stamp", since messages are often logged in bursts; "log_time" where there are no headers, or their
            stamps are zero, all the same, or jump.
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
    clock: str = "log_time"
    codec: str | None = None
    key_frames: int | None = None
    key_distance: int | None = None


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
    times = {
        topic.name: _Times(recording.log_times_ns(topic.name), stamps.get(topic.name)) for topic in recording.topics
    }
    report = RecordingReport(
        path=str(recording.path),
        stem=recording.stem,
        storage=recording.storage,
        compression=recording.compression,
        size_bytes=recording.size,
        start_ns=recording.start_ns,
        duration_s=(recording.end_ns - recording.start_ns) / 1e9,
        message_count=sum(topic.count for topic in recording.topics),
        topics=tuple(
            _topic(recording, topic, times[topic.name], problems, verify=verify) for topic in recording.topics
        ),
        problems=(),
    )
    problems.extend(_differences(recording, times))
    if recording.start_ns == recording.end_ns and any(len(np.unique(t.of_clock())) > 1 for t in times.values()):
        problems.append(
            f"All messages of {recording.path} were logged at one time: --start and --stop cannot tell them apart."
        )
    if verify:
        report = replace(report, verification=verify_recording(recording))
        problems.extend(report.verification.problems if report.verification else ())
    return replace(report, problems=tuple(dict.fromkeys((*recording.problems, *problems))))  # reading may find more


def _stamps(recording: Recording, problems: list[str]) -> dict[str, NDArray[np.int64]]:
    """The header stamps of every topic that has them, beside its log times; UNREAD where one cannot be read."""
    topics = [topic for topic in recording.topics if topic.count and recording.has_header(topic.name)]
    stamps: dict[str, list[int]] = {topic.name: [] for topic in topics}
    total = sum(topic.count for topic in topics)
    for name, stamp in track(recording.stamps_ns(list(stamps)), f"Reading {recording.stem}", total):
        stamps[name].append(UNREAD if stamp is None else stamp)
    for topic in topics:
        missing = stamps[topic.name].count(UNREAD)
        if missing:
            problems.append(
                f"{missing} of {topic.count} messages on {topic.name} of {recording.path} have no readable header."
            )
    return {name: np.array(values, np.int64) for name, values in stamps.items()}


class _Times:
    """A topic's clocks.

    Attributes:
        log_times: int64 [N], ns.
        stamps: those that can be read, None of a type without a header.
        stamps_or_zero: int64 beside `log_times`, 0 also where a stamp cannot be read.
        clock: by which rate and gaps are told.
        problem: why that is not the stamps, or what of them does not count; or nothing.
    """

    def __init__(self, log_times: NDArray[np.int64], recorded: NDArray[np.int64] | None) -> None:
        self.log_times = log_times
        self.stamps = None if recorded is None else recorded[recorded != UNREAD]
        self.stamps_or_zero = np.zeros(0, np.int64) if recorded is None else np.where(recorded == UNREAD, 0, recorded)
        self.clock, self.problem = "log_time", ""
        if self.stamps is not None and len(self.stamps):
            self._judge(self.stamps)

    def of_clock(self) -> NDArray[np.int64]:
        """int64: the times by which rate and gaps are told."""
        return self.stamps_or_zero[self.stamps_or_zero != 0] if self.clock == "stamp" else self.log_times

    def _judge(self, stamps: NDArray[np.int64]) -> None:
        zeros = int((stamps == 0).sum())
        given = self.stamps_or_zero != 0
        if not tell_time(stamps):
            what = f"all {len(stamps)} stamps are zero" if zeros == len(stamps) else "all stamps given are the same"
            self.problem = f"{what}: rate and gaps are by log time"
        elif tell_time(self.log_times) and (jumps := count_jumps(self.stamps_or_zero[given], self.log_times[given])):
            self.problem = f"stamps jump {jumps} times by more than 10 s: rate and gaps are by log time"
        else:
            self.clock = "stamp"
            if zeros:
                self.problem = f"{zeros} of {len(stamps)} stamps are zero: rate and gaps are by the others"


def _differences(recording: Recording, times: dict[str, _Times]) -> Iterator[str]:
    """A sentence for each topic that another clock stamps than the first camera, or than the first topic."""
    stamped = [topic for topic in recording.topics if times[topic.name].clock == "stamp"]
    stamped.sort(key=lambda topic: topic not in recording.image_topics)
    for topic in stamped[1:]:
        one, other = times[stamped[0].name], times[topic.name]
        difference = clock_difference_ns(one.stamps_or_zero, one.log_times, other.stamps_or_zero, other.log_times)
        if difference:
            yield (
                f"{topic.name} of {recording.path} is stamped by another clock than {stamped[0].name} "
                f"({difference / 1e9:+.1f} s), judged by their log times."
            )


def _topic(recording: Recording, topic: Topic, times: _Times, problems: list[str], *, verify: bool) -> TopicReport:
    if times.problem:
        problems.append(f"On {topic.name} of {recording.path} {times.problem}.")
    steps = None if times.stamps is None else np.diff(times.stamps)
    periods = np.diff(times.of_clock())
    median = float(np.median(periods)) if len(periods) else 0.0
    waits = np.diff(np.maximum.accumulate(times.of_clock()))  # a stamp that went back makes no gap before the next
    image, video = ImageSample(), None
    if topic in recording.image_topics:
        image = sample_image(recording, topic)
        if not verify:  # which decodes all of them
            problems.extend(image.problems)
        if image.message is not None and not is_depth_message(image.message, topic.name):
            problems.extend(filter(None, [few_levels(recording, topic.name)]))
        if recording.is_video(topic.name):
            video = describe_video(recording, topic.name)
            problems.extend(video.problems)
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
        clock=times.clock,
        codec=None if video is None else video.codec,
        key_frames=None if video is None else video.key_frames,
        key_distance=None if video is None else video.key_distance,
    )


def _read_ends(recording: Recording, topic: Topic, problems: list[str]) -> None:
    """Reads the first and the last message of a topic, to see that they can be."""
    for index in sorted({0, topic.count - 1} if topic.count else ()):
        try:
            recording.read_message(topic.name, index)
        except MayhemError as error:
            problems.append(str(error))
