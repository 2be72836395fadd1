"""A recording of any format: its topics, any message by topic and index, and all of them in the order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.image_decoding import decode_image
from mayhem_train.console import error_console
from mayhem_train.recordings.depth import DepthImage, decode_depth, is_depth_message
from mayhem_train.recordings.frame import Frame
from mayhem_train.recordings.index_cache import UNREAD, load_stamps, save_stamps
from mayhem_train.recordings.indexing import file_index, file_version
from mayhem_train.recordings.locating import find_recordings, open_storage, recording_files, recording_stem
from mayhem_train.recordings.message_types import MessageTypes
from mayhem_train.recordings.storages.storage import Connection, Storage
from mayhem_train.recordings.zstd import decompress_message, is_compressed_message

__all__ = ["RecordedMessage", "Recording", "Topic", "find_recordings"]

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"

_BATCH = 4096
_STAMP_END = 12  # bytes of a serialised message within which its header's stamp lies


@dataclass(frozen=True)
class Topic:
    """A topic with its message type ("sensor_msgs/msg/Image") and the number of its messages."""

    name: str
    type: str
    count: int


@dataclass(frozen=True)
class RecordedMessage:
    """One message as ROS 2 serialises it (CDR); `index` counts its topic's messages from 0, times in ns."""

    topic: str
    type: str
    index: int
    log_time_ns: int
    cdr: bytes


class Recording:
    """A ROS 1 .bag or a folder of its split parts, a rosbag2 folder, a bare .mcap or .db3 file, or an archive of one.

    A topic's messages are numbered from 0 in the order of their log times, those of one time as they lie in the file.
    Any of them is read without those before it. What can be recovered of a damaged recording is, and `problems` says
    so (printed once, when it is opened). Safe in DataLoader workers, forked or spawned; not shared between threads.

    Args:
        path: of the file or folder.
        distro: the ROS distribution ("humble", "noetic", "ros2_humble") whose message definitions to take where the
            recording has none.

    Attributes:
        path: as given.
        stem: its name in frames' names.
        topics: by name.
        start_ns: the first message's log time, ns since the epoch.
        end_ns: the last message's log time.
        storage: "mcap", "sqlite3" or "ros1".
        compression: names of the compressions within and around the files.
        size: bytes on disk.
        problems: what is damaged or missing, one sentence each.

    Raises:
        UsageError: there is no such distribution.
        MayhemError: there is no recording at `path`, it is damaged beyond recovery, or it holds no messages.
    """

    def __init__(self, path: Path, *, distro: str | None = None) -> None:
        self.path = Path(path)
        self._types = MessageTypes(distro)
        self.stem = recording_stem(self.path)
        files = recording_files(self.path)
        self._storages: tuple[Storage, ...] = tuple(open_storage(file) for file in files.paths)
        self._versions = tuple(file_version(file) for file in files.paths)
        self._connections: list[Connection] = []
        entries: list[NDArray[np.void]] = []
        compression: set[str] = set()
        problems = list(files.problems)
        for number, (storage, version) in enumerate(zip(self._storages, self._versions, strict=True)):
            index = file_index(storage, version)
            index.entries["storage"] = number
            index.entries["connection"] += len(self._connections)
            self._connections.extend(index.connections)
            entries.append(index.entries)
            compression.update(index.compression)
            problems.extend(index.problems)
        self._entries = np.concatenate(entries)
        self._entries = self._entries[np.argsort(self._entries["log_time_ns"], kind="stable")]
        self._stamps_ns = self._kept_stamps()
        self._rows = _rows_by_topic(self._entries, self._connections)
        count = len(self._entries)
        if files.message_count is not None and count != files.message_count:
            problems.append(f"{self.path} holds {count} messages, but its metadata.yaml counts {files.message_count}.")
        if not count:
            reasons = "".join(f" ({problem.rstrip('.')})" for problem in problems[:1])
            raise MayhemError(f"{self.path} holds no messages{reasons}: choose another recording or record it again.")
        problems.extend(_several_types(self.path, self._connections))
        self.storage = self._storages[0].name
        types = {connection.topic: connection.type for connection in reversed(self._connections)}
        self.topics = tuple(Topic(name, types[name], len(rows)) for name, rows in sorted(self._rows.items()))
        self.start_ns = int(self._entries["log_time_ns"][0])
        self.end_ns = int(self._entries["log_time_ns"][-1])
        self.compression = tuple(sorted(compression))
        self.size = sum(file.stat().st_size for file in files.paths)
        self.problems = tuple(problems)
        for problem in self.problems:
            error_console.print(f"Warning: {problem}", markup=False, highlight=False, soft_wrap=True)

    @property
    def image_topics(self) -> tuple[Topic, ...]:
        """The topics of raw and compressed images, depth among them."""
        return tuple(topic for topic in self.topics if topic.type in (IMAGE, COMPRESSED_IMAGE))

    def image_topic(self, name: str | None) -> Topic:
        """The image topic of that name, or without a name the only one that is not depth.

        Raises:
            UsageError: there is none of that name, or not exactly one to choose; the candidates are listed.
        """
        if name is not None:
            topic = self.topic(name)
            if topic not in self.image_topics:
                raise UsageError(
                    f"{name} of {self.path} holds {topic.type}, no images: choose {_listed(self.image_topics)}."
                )
            return topic
        candidates = [topic for topic in self.image_topics if topic.count]
        if len(candidates) > 1:
            candidates = [topic for topic in candidates if not self.is_depth(topic)]
        if not candidates:
            raise UsageError(f"{self.path} has no colour images: it has {_listed(self.topics)}.")
        if len(candidates) > 1:
            raise UsageError(f"{self.path} has several cameras: choose a topic, {_listed(self.image_topics)}.")
        return candidates[0]

    def is_depth(self, topic: Topic) -> bool:
        """Whether an image topic holds depth, by its name or else by its first message's encoding.

        Raises:
            MayhemError: the first message cannot be read.
        """
        if "depth" in topic.name.lower():
            return True
        return is_depth_message(self.read_message(topic.name, 0))

    def topic(self, name: str) -> Topic:
        """The topic of that name.

        Raises:
            UsageError: there is none; those there are are listed.
        """
        for topic in self.topics:
            if topic.name == name:
                return topic
        raise UsageError(f"{self.path} has no topic {name}: it has {_listed(self.topics)}.")

    def frame(self, topic: str, index: int) -> Frame:
        """One message's name and times.

        Raises:
            UsageError: there is no such topic.
            MayhemError: the index is out of range, or the messages have no header.
        """
        row = self._row(topic, index)
        self._require_header(topic)
        entry = self._entry(row)
        return Frame(self.stem, topic, index, entry.log_time_ns, self._stamp_ns(topic, index, row, entry))

    def frames(self, topic: str) -> Iterator[Frame]:
        """All of a topic's messages by name and times, in order; payloads stay on the disk where they can."""
        self._require_header(topic)
        with self._keeping_stamps():
            for _, index, row, entry in self._in_time_order([topic]):
                yield Frame(self.stem, topic, index, entry.log_time_ns, self._stamp_ns(topic, index, row, entry))

    def read_message(self, topic: str, index: int) -> Any:
        """A message as an object with its type's fields, arrays as read-only numpy views.

        Raises:
            UsageError: there is no such topic.
            MayhemError: the index is out of range, the type unknown, or the bytes damaged.
        """
        entry = self._entry(self._row(topic, index))
        with self.naming(topic, index):
            return self._types.deserialise(self._connections[entry.connection], self._read(entry))

    def read_serialised(self, topic: str, index: int) -> bytes:
        """A message's bytes as it was serialised when it was recorded.

        Raises:
            UsageError: there is no such topic.
            MayhemError: the index is out of range, or the bytes are damaged or gone.
        """
        entry = self._entry(self._row(topic, index))
        with self.naming(topic, index):
            return self._read(entry)

    def read_image(self, topic: str, index: int) -> NDArray[np.uint8]:
        """An image message decoded: uint8 [H, W, 3] RGB; it may be read-only.

        Raises:
            UsageError: there is no such topic.
            MayhemError: as `read_message`, or the message is no colour image that can be decoded.
        """
        message = self.read_message(topic, index)
        with self.naming(topic, index):
            return decode_image(message)

    def read_depth(self, topic: str, index: int) -> DepthImage:
        """A depth message's pixels exactly as recorded: uint16 or float32 [H, W], and the metres of one unit.

        Raises:
            UsageError: there is no such topic.
            MayhemError: as `read_message`, or the message is no depth image that can be decoded.
        """
        message = self.read_message(topic, index)
        with self.naming(topic, index):
            return decode_depth(message)

    def messages(self, topics: Sequence[str] | None = None) -> Iterator[RecordedMessage]:
        """The messages of some topics (all without a choice) in the order of log time, one in memory at a time.

        Raises:
            UsageError: there is no such topic.
            MayhemError: a message is damaged, or one of ROS 1 is of an unknown type.
        """
        for topic, index, _, entry in self._in_time_order([t.name for t in self.topics] if topics is None else topics):
            connection = self._connections[entry.connection]
            with self.naming(topic, index):
                cdr = self._types.to_cdr(connection, self._read(entry))
            yield RecordedMessage(topic, connection.type, index, entry.log_time_ns, cdr)

    def places(self, topics: Sequence[str]) -> Iterator[tuple[str, int]]:
        """(topic, index) of every message of these topics in the order of log time."""
        for topic, index, _, _ in self._in_time_order(topics):
            yield topic, index

    def log_times_ns(self, topic: str) -> NDArray[np.int64]:
        """int64 [count]: when a topic's messages were recorded, ascending."""
        return self._entries["log_time_ns"][self._rows[self.topic(topic).name]]

    def stamps_ns(self, topics: Sequence[str], *, skip_damaged: bool = False) -> Iterator[tuple[str, int]]:
        """(topic, header stamp) of every message of these topics in the order of log time; compare `has_header`.

        Raises:
            UsageError: there is no such topic.
            MayhemError: its messages have no header, or one is damaged and damaged ones are not to be left out.
        """
        for topic in topics:
            self._require_header(topic)
        with self._keeping_stamps():
            for topic, index, row, entry in self._in_time_order(topics):
                try:
                    stamp = self._stamp_ns(topic, index, row, entry)
                except MayhemError:
                    if not skip_damaged:
                        raise
                    continue
                yield topic, stamp

    def has_header(self, topic: str) -> bool:
        """Whether the topic's messages carry a stamp, so that `frame` and `frames` work on it."""
        name = self.topic(topic).name
        return all(self._types.has_header(connection) for connection in self._connections if connection.topic == name)

    def knows_type(self, topic: str) -> bool:
        """Whether the topic's messages can be read as objects: by the recording's definitions or a distribution's."""
        name = self.topic(topic).name
        return all(self._types.knows(connection) for connection in self._connections if connection.topic == name)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold the messages, in the order they were written."""
        return tuple(storage.path for storage in self._storages)

    def check_files(self) -> Iterator[str]:
        """Reads the files and gives a sentence for everything that contradicts their own checksums and structure."""
        for storage in self._storages:
            yield from storage.check()

    def close(self) -> None:
        """Closes the files; reading opens them again."""
        for storage in self._storages:
            storage.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _row(self, topic: str, index: int) -> int:
        """The place of a message among all."""
        count = self.topic(topic).count
        if not 0 <= index < count:
            raise MayhemError(f"{self.path} has no message {index} on {topic}: they are numbered 0 to {count - 1}.")
        return int(self._rows[topic][index])

    def _entry(self, row: int) -> _Entry:
        return _Entry._make(self._entries[row].tolist())

    def _in_time_order(self, topics: Sequence[str]) -> Iterator[tuple[str, int, int, _Entry]]:
        """(topic, index, row, entry) of every message of these topics."""
        counts = {self.topic(name).name: 0 for name in topics}
        rows = np.sort(np.concatenate([np.zeros(0, np.int64), *(self._rows[name] for name in counts)]))
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            for row, values in zip(batch.tolist(), self._entries[batch].tolist(), strict=True):
                entry = _Entry._make(values)
                topic = self._connections[entry.connection].topic
                yield topic, counts[topic], row, entry
                counts[topic] += 1

    def _read(self, entry: _Entry, size: int | None = None) -> bytes:
        """A message, or only its first `size` bytes, as it was serialised; a compressed one decompressed."""
        storage = self._storages[entry.storage]
        data = storage.read(entry.block, entry.offset, size)
        if not is_compressed_message(self._connections[entry.connection].encoding, data):
            return data
        return decompress_message(data if size is None else storage.read(entry.block, entry.offset), size)

    def _require_header(self, topic: str) -> None:
        if not self.has_header(topic):
            kind = self.topic(topic).type
            raise MayhemError(f"Messages on {topic} of {self.path} ({kind}) have no header with a stamp.")

    def _stamp_ns(self, topic: str, index: int, row: int, entry: _Entry) -> int:
        known = int(self._stamps_ns[row])
        if known != UNREAD:
            return known
        with self.naming(topic, index):
            stamp = _stamp_ns(self._connections[entry.connection], self._read(entry, _STAMP_END))
        self._stamps_ns[row] = stamp
        return stamp

    def _kept_stamps(self) -> NDArray[np.int64]:
        """int64 beside `_entries`: the stamps that are known from an earlier opening, UNREAD for the others."""
        stamps = np.full(len(self._entries), UNREAD, np.int64)
        for number, version in enumerate(self._versions):
            rows = np.flatnonzero(self._entries["storage"] == number)
            kept = None if version is None else load_stamps(version, len(rows))
            if kept is not None:
                stamps[rows] = kept
        return stamps

    @contextmanager
    def _keeping_stamps(self) -> Iterator[None]:
        """Keeps the stamps for the next opening, where the block comes to its end and has read new ones."""
        unread = int((self._stamps_ns == UNREAD).sum())
        yield
        if int((self._stamps_ns == UNREAD).sum()) == unread:
            return
        for number, (storage, version) in enumerate(zip(self._storages, self._versions, strict=True)):
            if version is not None:
                save_stamps(storage.path, version, self._stamps_ns[self._entries["storage"] == number])

    @contextmanager
    def naming(self, topic: str, index: int) -> Iterator[None]:
        """Says in an error which message it was."""
        try:
            yield
        except MayhemError as error:
            raise MayhemError(f"Message {index} on {topic} of {self.path} cannot be read: {error}") from error


class _Entry(NamedTuple):
    """One row of `ENTRY` as plain numbers."""

    log_time_ns: int
    storage: int
    connection: int
    block: int
    offset: int


def _rows_by_topic(entries: NDArray[np.void], connections: Sequence[Connection]) -> dict[str, NDArray[np.int64]]:
    """For each topic the rows of its messages in `entries`, ascending."""
    rows: dict[str, NDArray[np.int64]] = {}
    for topic in {connection.topic for connection in connections}:
        numbers = [number for number, connection in enumerate(connections) if connection.topic == topic]
        rows[topic] = np.flatnonzero(np.isin(entries["connection"], numbers))
    return rows


def _several_types(path: Path, connections: Sequence[Connection]) -> Iterator[str]:
    """A sentence for each topic on which messages of different types were recorded."""
    for topic in sorted({connection.topic for connection in connections}):
        types = list(dict.fromkeys(connection.type for connection in connections if connection.topic == topic))
        if len(types) > 1:
            yield f"Messages on {topic} of {path} are of several types ({', '.join(types)}): it counts as {types[0]}."


def _stamp_ns(connection: Connection, head: bytes) -> int:
    """The header's stamp: after ROS 1's sequence number or CDR's encapsulation, four bytes each."""
    if len(head) < _STAMP_END:
        raise MayhemError("it is shorter than its header.")
    order: Literal["little", "big"] = "big" if connection.encoding == "cdr" and not head[1] & 1 else "little"
    seconds = int.from_bytes(head[4:8], order, signed=connection.encoding == "cdr")
    return seconds * 10**9 + int.from_bytes(head[8:12], order)


def _listed(topics: Sequence[Topic]) -> str:
    return ", ".join(f"{topic.name} ({topic.type})" for topic in topics) or "no topics"
