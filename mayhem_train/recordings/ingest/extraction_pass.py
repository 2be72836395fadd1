"""One pass over a recording's messages in the order of time: every one becomes rows in a spool, and maybe a file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.ingest.claim import write_whole
from mayhem_train.recordings.ingest.extraction import Extracted
from mayhem_train.recordings.ingest.places import image_file
from mayhem_train.recordings.ingest.spool import Names, Spool
from mayhem_train.recordings.ingest.topics import COLOUR, DEPTH, FILE_KINDS, ChosenTopic
from mayhem_train.recordings.recording import Recording

Progress = Callable[[int, int], None]
"""Told (messages done, messages in all) a few times a second."""

_BATCH = 4096
_AHEAD = 3  # messages read ahead for every thread
_REPORT_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class _Work:
    """One message on its way; `rows` gives what its kind adds to its row, once its file is written."""

    number: int
    index: int
    log_time_ns: int
    stamp_ns: int
    frame_id: str
    rows: Callable[[], tuple[tuple[Any, ...], ...] | None]


class ExtractionPass:
    """Extracts chosen topics into `folder`, going on after the messages that the spools in `scratch` know already.

    Attributes:
        recording: open.
        folder, scratch: where the files go, and what is needed until all is done.
        topics: what is extracted.
        spools: one for each of `topics`.
        names: the strings in their rows.
    """

    def __init__(self, recording: Recording, folder: Path, scratch: Path, topics: tuple[ChosenTopic, ...]) -> None:
        self.recording = recording
        self.folder = folder
        self.scratch = scratch
        self.topics = topics
        with ExitStack() as opened:
            self.names = Names(scratch / "names")
            opened.callback(self.names.close)
            spools = []
            for number, chosen in enumerate(topics):
                fields = chosen.extractor.fields if chosen.extractor else ()
                spools.append(Spool(scratch / f"rows-{number}", fields, self.names))
                opened.callback(spools[-1].close)
            self.spools = tuple(spools)
            self._opened = opened.pop_all()

    def run(self, threads: int, progress: Progress) -> None:
        """Extracts what is missing, encoding in that many threads beside the one that reads.

        Raises:
            OSError: a file cannot be written.
        """
        total = sum(chosen.topic.count for chosen in self.topics)
        done = sum(spool.next_index for spool in self.spools)
        reported = 0.0
        for work in self._in_order(threads):
            rows = work.rows()
            common = (work.index, work.log_time_ns, work.stamp_ns, rows is not None, work.frame_id)
            spool = self.spools[work.number]
            if rows is None:
                rows = ((0,) * (len(spool.dtype.names or ()) - len(common)),)
            spool.append([(*common, *values) for values in rows])
            done += 1
            if time.monotonic() - reported > _REPORT_EVERY:
                progress(done, total)
                reported = time.monotonic()
        progress(done, total)

    def reason(self, number: int, index: int) -> str:
        """Why a message could not be extracted: what happens when it is tried again."""
        chosen = self.topics[number]
        try:
            self._extracted(chosen, self._message(chosen, index))
        except MayhemError as error:
            return str(error)
        return "It could not be read at first, but can be now: pass --force to ingest again."

    def flaw(self, number: int, index: int) -> str:
        """What is wrong with a flawed image that was extracted."""
        chosen = self.topics[number]
        if chosen.kind == DEPTH:
            return self.recording.read_depth(chosen.topic.name, index).flaws[0]
        return self.recording.read_with_flaws(chosen.topic.name, index).flaws[0]

    def _in_order(self, threads: int) -> Iterator[_Work]:
        """The work in the order of time, begun a little before it is given out, so that memory stays flat."""
        if threads < 2:
            for number, index, log_time_ns in self._messages():
                yield self._work(number, index, log_time_ns)
            return
        pool = ThreadPoolExecutor(threads)
        waiting: deque[_Work] = deque()
        try:
            for number, index, log_time_ns in self._messages():
                work = self._work(number, index, log_time_ns)
                if self.topics[number].kind in FILE_KINDS:
                    future: Future[Any] = pool.submit(work.rows)
                    work = _Work(work.number, work.index, work.log_time_ns, work.stamp_ns, work.frame_id, future.result)
                waiting.append(work)
                if len(waiting) > threads * _AHEAD:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(cancel_futures=True)

    def _messages(self) -> Iterator[tuple[int, int, int]]:
        """(number of the topic, index, log time) of everything that is missing, in the order of log time."""
        numbers, indices, times = [], [], []
        for number, (chosen, spool) in enumerate(zip(self.topics, self.spools, strict=True)):
            missing = np.arange(spool.next_index, chosen.topic.count)
            numbers.append(np.full(len(missing), number, np.int32))
            indices.append(missing)
            times.append(self.recording.log_times_ns(chosen.topic.name)[spool.next_index :])
        all_numbers, all_indices, all_times = (np.concatenate(parts) for parts in (numbers, indices, times))
        order = np.argsort(all_times, kind="stable")
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            columns = (column[batch].tolist() for column in (all_numbers, all_indices, all_times))
            yield from zip(*columns, strict=True)

    def _work(self, number: int, index: int, log_time_ns: int) -> _Work:
        """Reads the message, as far as its kind needs it."""
        chosen = self.topics[number]
        if chosen.extractor is None:
            return _Work(number, index, log_time_ns, self._recorded_stamp(chosen, index), "", _one_empty_row)
        try:
            message = self._message(chosen, index)
        except MayhemError:
            return _Work(number, index, log_time_ns, self._recorded_stamp(chosen, index), "", _nothing)
        stamp_ns, frame_id = _header(message)
        rows = partial(self._extract, number, index, message)
        return _Work(number, index, log_time_ns, stamp_ns, frame_id, rows)

    def _message(self, chosen: ChosenTopic, index: int) -> Any:
        """A message as its extractor takes it: a video is decoded here, where packets come in their order."""
        read = self.recording.read_image_message if chosen.kind == COLOUR else self.recording.read_message
        return read(chosen.topic.name, index)

    def _recorded_stamp(self, chosen: ChosenTopic, index: int) -> int:
        """Of a message that is not read; 0 where it has none, or none that can be read."""
        return self.recording.frame(chosen.topic.name, index).stamp_ns or 0

    def _extract(self, number: int, index: int, message: Any) -> tuple[tuple[Any, ...], ...] | None:
        """Writes the message's file and gives its rows; None where it holds nothing that can be extracted."""
        chosen = self.topics[number]
        try:
            extracted = self._extracted(chosen, message)
        except MayhemError:
            return None
        if extracted.suffix:
            name = image_file(chosen.kind, chosen.topic.name, self.recording.stem, index, extracted.suffix)
            write_whole(self.folder / name, extracted.data, self.scratch / f"partial-{number}-{index}")
        return extracted.rows

    def _extracted(self, chosen: ChosenTopic, message: Any) -> Extracted:
        assert chosen.extractor is not None
        try:
            return chosen.extractor.extract(message)
        except AttributeError as error:
            raise MayhemError(
                f"It has not the fields of a {chosen.topic.type} ({error}): it was recorded with another definition."
            ) from error

    def __enter__(self) -> ExtractionPass:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.close()


def _header(message: Any) -> tuple[int, str]:
    """Its stamp, 0 without one, and its frame; a topic may hold messages of several types, some without a header."""
    try:
        header = message.header
        return header.stamp.sec * 10**9 + header.stamp.nanosec, header.frame_id
    except AttributeError:
        return 0, ""


def _nothing() -> None:
    return None


def _one_empty_row() -> tuple[tuple[Any, ...], ...]:
    return ((),)
