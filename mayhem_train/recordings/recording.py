"""A recording of any format: its topics, any message by topic and index, and all of them in the order of time."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.image_decoding import DecodedImage, decode_with_flaws
from mayhem_ros.intensity_range import IntensityRange
from mayhem_ros.video_packets import VideoPacket, video_packet
from mayhem_train.recordings.cache import FileVersion
from mayhem_train.recordings.camera_makers import (
    DEPTH_UNITS,
    INFRARED_16,
    decimal,
    depth_unit_topics,
    is_depth_stream,
    split_depth_unit,
)
from mayhem_train.recordings.depth import DepthImage, decode_depth, is_depth_message, is_image_message
from mayhem_train.recordings.failing_disk import is_of_the_disk
from mayhem_train.recordings.frame import Frame
from mayhem_train.recordings.image_sizes import IMAGE_HEAD, size_in_head
from mayhem_train.recordings.index_cache import (
    UNREAD,
    load_packet_contents,
    load_stamps,
    save_packet_contents,
    save_stamps,
)
from mayhem_train.recordings.indexing import file_index, file_version
from mayhem_train.recordings.locating import (
    RecordingFiles,
    find_recordings,
    open_storage,
    recording_files,
    recording_stem,
)
from mayhem_train.recordings.message_types import MessageTypes
from mayhem_train.recordings.storages.storage import Connection, Storage, StorageIndex
from mayhem_train.recordings.video.definitions import COMPRESSED_VIDEO, FFMPEG_PACKET
from mayhem_train.recordings.video.kept_pictures import KeptPictures
from mayhem_train.recordings.video.packet_contents import packet_contents
from mayhem_train.recordings.video.video_camera import VideoCamera
from mayhem_train.recordings.video.video_picture import VideoPicture, header_of
from mayhem_train.recordings.zstd import decompress_message, is_compressed_message

__all__ = ["RecordedMessage", "Recording", "Topic", "find_recordings"]

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
IMAGES = (IMAGE, COMPRESSED_IMAGE, FFMPEG_PACKET, COMPRESSED_VIDEO)
"""The types of cameras' messages."""

_BATCH = 4096
_LOOKED_AT = 10  # messages read to find one that says whether its topic holds colour or depth
_STAMP_END = 12  # bytes of a serialised message within which its header's stamp lies


@dataclass(frozen=True)
class Topic:
    """A topic with its message type ("sensor_msgs/msg/Image", empty if unknown) and the number of its messages."""

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
    so; it prints nothing (see `opened_recording`). Safe in DataLoader workers, forked or spawned; not shared between
    threads.

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

    Raises:
        UsageError: there is no such distribution.
        MayhemError: there is no recording at `path`, it is damaged beyond recovery, or it holds no messages.
    """

    def __init__(self, path: Path, *, distro: str | None = None) -> None:
        self.path = Path(path)
        self._types = MessageTypes(distro)
        self.stem = recording_stem(self.path)
        files = recording_files(self.path)
        parts, lost = _opened(self.path, files)
        self._damage = (*lost, *(problem for part in parts for problem in part.index.problems))
        problems = [*self._damage, *files.problems]
        self._storages = tuple(part.storage for part in parts)
        self._versions = tuple(part.version for part in parts)
        self._connections: list[Connection] = []
        compression: set[str] = set()
        for number, part in enumerate(parts):
            part.index.entries["storage"] = number
            part.index.entries["connection"] += len(self._connections)
            self._connections.extend(part.index.connections)
            compression.update(part.index.compression)
        self._entries = np.concatenate([part.index.entries for part in parts])
        self._entries = self._entries[np.argsort(self._entries["log_time_ns"], kind="stable")]
        self._stamps_ns = self._kept_stamps()
        self._rows = _rows_by_topic(self._entries, self._connections)
        self._videos: dict[str, VideoCamera] = {}
        self._kept_pictures: dict[str, KeptPictures] = {}
        count = len(self._entries)
        if files.message_count is not None and count != files.message_count:
            problems.append(f"{self.path} holds {count} messages, but its metadata.yaml counts {files.message_count}.")
        if not count:
            reasons = "".join(f" ({problem.rstrip('.')})" for problem in problems[:1])
            raise MayhemError(f"{self.path} holds no messages{reasons}: choose another recording or record it again.")
        self.storage = self._storages[0].name
        self.topics = tuple(_topics(self.path, self._entries, self._connections, problems))
        self.start_ns = int(self._entries["log_time_ns"][0])
        self.end_ns = int(self._entries["log_time_ns"][-1])
        self.compression = tuple(sorted(compression))
        self.size = sum(storage.path.stat().st_size for storage in self._storages)
        self._problems = tuple(problems)
        self._depth_units: dict[str, float | None] = {}
        self._unkept = [part.unkept for part in parts if part.unkept]

    @property
    def problems(self) -> tuple[str, ...]:
        """What is damaged or missing, one sentence each, with what reading came upon in this process."""
        found = dict.fromkeys(self._problems)
        found.update(dict.fromkeys(sentence for storage in self._storages for sentence in storage.damage))
        return tuple(found)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its user should be told: its `problems`, and that its index cannot be kept for the next opening."""
        return (*self.problems, *self._unkept)

    @property
    def image_topics(self) -> tuple[Topic, ...]:
        """The topics of raw and compressed images and of video, depth among them."""
        return tuple(topic for topic in self.topics if topic.type in IMAGES)

    def image_topic(self, name: str | None) -> Topic:
        """The image topic of that name, or without a name the only one that is not depth.

        Raises:
            UsageError: there is none of that name, or there are several to choose from, which are listed.
            MayhemError: there are no images, or without a name no colour images; what there is is listed.
        """
        if not any(topic.count for topic in self.image_topics):
            raise MayhemError(f"{self.path} has no images: it has {_listed(self.topics)}.")
        if name is not None:
            topic = self.topic(name)
            if topic not in self.image_topics:
                raise UsageError(
                    f"{name} of {self.path} holds {topic.type or 'messages of no type'}, no images: "
                    f"choose {_listed(self.image_topics)}."
                )
            return topic
        candidates = [topic for topic in self.image_topics if topic.count]
        if len(candidates) > 1 or "depth" in candidates[0].name.lower():
            candidates = [topic for topic in candidates if not self.is_depth(topic)]
        if not candidates:
            raise MayhemError(f"{self.path} has no colour images: it has {_listed(self.topics)}.")
        if len(candidates) > 1:
            raise UsageError(f"{self.path} has several cameras: choose a topic, {_listed(candidates)}.")
        return candidates[0]

    def is_depth(self, topic: Topic, *, is_ranged: bool = False) -> bool:
        """Whether an image topic holds depth: what its first image says of itself that can be read, else its name.

        `is_ranged`: it was asked for by its name, with an intensity range (see `is_depth_message`).
        """
        for index in range(min(topic.count, _LOOKED_AT)):
            try:
                message = self.read_message(topic.name, index)
            except MayhemError:
                continue
            if is_image_message(message):
                return is_depth_message(message, topic.name, is_ranged=is_ranged)
        return "depth" in topic.name.lower()

    def is_video(self, topic: str) -> bool:
        """Whether a topic's images are packets of a video: what its first message is that can be read."""
        if topic in self._videos:
            return True
        for index in range(min(self.topic(topic).count, _LOOKED_AT)):
            try:
                return video_packet(self.read_message(topic, index)) is not None
            except MayhemError:
                continue
        return False

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
            MayhemError: the index is out of range.
        """
        row = self._row(topic, index)
        entry = self._entry(row)
        return Frame(self.stem, topic, int(index), entry.log_time_ns, self._stamp_ns(row, entry))

    def frames(self, topic: str) -> Iterator[Frame]:
        """All of a topic's messages by name and times, in order; payloads stay on the disk where they can.

        Raises:
            UsageError: there is no such topic.
        """
        with self._keeping_stamps():
            for _, index, row, entry in self._in_time_order([topic]):
                yield Frame(self.stem, topic, index, entry.log_time_ns, self._stamp_ns(row, entry))

    def read_message(self, topic: str, index: int) -> Any:
        """A message as an object with its type's fields, arrays as read-only numpy views.

        Raises:
            UsageError: there is no such topic.
            MayhemError: the index is out of range, the type unknown, or the bytes damaged.
        """
        entry = self._entry(self._row(topic, index))
        with self.naming(topic, index):
            message = self._types.deserialise(self._connections[entry.connection], self._read(entry))
        if is_depth_stream(topic) is False and getattr(message, "encoding", "") == INFRARED_16:
            return replace(message, encoding="mono16")
        return message

    def read_serialised(self, topic: str, index: int) -> bytes:
        """A message's bytes as it was serialised when it was recorded.

        Raises:
            UsageError: there is no such topic.
            MayhemError: the index is out of range, or the bytes are damaged or gone.
        """
        entry = self._entry(self._row(topic, index))
        with self.naming(topic, index):
            return self._read(entry)

    def read_image(self, topic: str, index: int, intensity_range: IntensityRange | None = None) -> NDArray[np.uint8]:
        """An image message decoded: uint8 [H, W, 3] RGB; it may be read-only. See `decode_image` for the range.

        Raises:
            UsageError: there is no such topic.
            MayhemError: as `read_message`, or the message is no colour image that can be decoded.
        """
        return self.read_with_flaws(topic, index, intensity_range).pixels

    def read_with_flaws(self, topic: str, index: int, intensity_range: IntensityRange | None = None) -> DecodedImage:
        """An image message decoded, and what is wrong with it though it could be; raises as `read_image` does."""
        message = self.read_image_message(topic, index)
        if isinstance(message, VideoPicture):
            return message.decoded
        with self.naming(topic, index):
            return decode_with_flaws(message, intensity_range)

    def image_size(self, topic: str, index: int) -> tuple[int, int]:
        """(width, height) in pixels of an image message, by the head of its bytes or the key frame before it.

        Raises:
            UsageError: there is no such topic.
            MayhemError: as `read_image`, but a video's picture itself is not decoded.
        """
        entry = self._entry(self._row(topic, index))
        connection = self._connections[entry.connection]
        if connection.type in (IMAGE, COMPRESSED_IMAGE):
            with self.naming(topic, index):
                size = size_in_head(connection.type, connection.encoding, self._read(entry, IMAGE_HEAD))
            if size is not None:
                return size
        if self.is_video(topic):
            with self.naming(topic, index):
                return self.video(topic).size(index)
        height, width = self.read_image(topic, index).shape[:2]
        return width, height

    def read_image_message(self, topic: str, index: int) -> Any:
        """As `read_message`, but a packet of a video as the picture that it becomes.

        Raises:
            UsageError: there is no such topic.
            MayhemError: as `read_message`, or no picture can be decoded from the packet.
        """
        message = self.read_message(topic, index)
        with self.naming(topic, index):
            if video_packet(message) is None:
                return message
            return VideoPicture(header_of(message), self.video(topic).picture(index))

    def video(self, topic: str) -> VideoCamera:
        """The topic as a video; all its packets are looked at when it is first asked for, and kept in the index.

        Raises:
            UsageError: there is no such topic.
            MayhemError: the system refuses to read the files.
        """
        if topic not in self._videos:
            video = VideoCamera(partial(self._packet, topic), self._packet_contents(topic))
            if topic in self._kept_pictures:
                video.keep(self._kept_pictures[topic])
            self._videos[topic] = video
        return self._videos[topic]

    def keep_pictures(self, topic: str, indices: Collection[int]) -> None:
        """Says that these images will be asked for again and again in any order.

        Where the topic is a video, they are then kept in the cache folder once they are decoded.
        """
        versions = [f"{version.place} {version.name}" for version in self._versions if version is not None]
        if len(versions) == len(self._versions):
            content = hashlib.sha256(" ".join([*versions, topic]).encode()).hexdigest()[:16]
            self._kept_pictures[topic] = KeptPictures(f"{self.stem[:40]}-{content}", indices)

    def read_depth(self, topic: str, index: int) -> DepthImage:
        """A depth message's pixels exactly as recorded: uint16 or float32 [H, W], and the metres of one unit.

        Raises:
            UsageError: there is no such topic.
            MayhemError: as `read_message`, or the message is no depth image that can be decoded.
        """
        message = self.read_message(topic, index)
        with self.naming(topic, index):
            return decode_depth(message, self.depth_unit(topic))

    def depth_unit(self, topic: str) -> float | None:
        """Metres of one unit of integer depth on a topic, where the recording says it; None where it says nothing.

        Only bags of RealSense's SDK do: of the unit when the recording began.

        Raises:
            UsageError: there is no such topic.
        """
        if topic not in self._depth_units:
            self._depth_units[self.topic(topic).name] = self._read_depth_unit(topic)
        return self._depth_units[topic]

    def _read_depth_unit(self, topic: str) -> float | None:
        for place in depth_unit_topics(topic):
            for index in range(len(self._rows.get(place, ()))):
                with suppress(MayhemError):
                    message = self.read_message(place, index)
                    unit = float(message.value if hasattr(message, "key") else message.data)
                    if getattr(message, "key", DEPTH_UNITS) == DEPTH_UNITS and unit > 0:
                        return decimal(unit)
        if is_depth_stream(topic) and self.topic(topic).count:
            entry = self._entry(self._row(topic, 0))
            with suppress(MayhemError):
                return split_depth_unit(self._connections[entry.connection].type, self._read(entry))[1]
        return None

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

    def stamps_ns(self, topics: Sequence[str]) -> Iterator[tuple[str, int | None]]:
        """(topic, stamp as in `Frame`) of every message of these topics in the order of log time.

        Raises:
            UsageError: there is no such topic.
        """
        with self._keeping_stamps():
            for topic, _, row, entry in self._in_time_order(topics):
                yield topic, self._stamp_ns(row, entry)

    def has_header(self, topic: str) -> bool:
        """Whether messages of the topic carry a stamp; one of another type among them may have none."""
        name = self.topic(topic).name
        return any(self._types.has_header(connection) for connection in self._connections if connection.topic == name)

    def knows_type(self, topic: str, index: int) -> bool:
        """Whether a message can be read as an object: by the recording's definitions or a distribution's."""
        return self._types.knows(self._connections[self._entry(self._row(topic, index)).connection])

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold the messages, in the order they were written."""
        return tuple(storage.path for storage in self._storages)

    def check_files(self) -> Iterator[str]:
        """Reads the files and gives a sentence for everything that contradicts their own checksums and structure.

        What was damaged when they were opened is among it.
        """
        yield from self._damage
        for storage in self._storages:
            yield from storage.check()

    def close(self) -> None:
        """Closes the files and the decoders; reading opens them again."""
        for video in self._videos.values():
            video.close()
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

    def _stamp_ns(self, row: int, entry: _Entry) -> int | None:
        known = int(self._stamps_ns[row])
        if known != UNREAD:
            return known
        connection = self._connections[entry.connection]
        if not self._types.has_header(connection):
            return None
        try:
            head = self._read(entry, _STAMP_END)
        except MayhemError as error:
            if isinstance(error.__cause__, OSError):  # a disk that fails, which it may not do tomorrow
                raise
            return None
        if len(head) < _STAMP_END:
            return None
        # Before it stand CDR's encapsulation, or the sequence number of ROS 1's header.
        bare = connection.encoding == "ros1" and self._types.has_bare_stamp(connection)
        stamp = _stamp_ns(connection, head, 0 if bare else 4)
        self._stamps_ns[row] = stamp
        return stamp

    def _packet(self, topic: str, index: int) -> VideoPacket:
        message = self.read_message(topic, index)
        packet = video_packet(message)
        if packet is None:
            raise MayhemError(f"Message {index} on {topic} is no packet of a video, as others there are.")
        return packet

    def _packet_contents(self, topic: str) -> NDArray[np.uint16]:
        """uint16 [count]: what a topic's video packets hold, known from an earlier opening or found now."""
        rows = self._rows[self.topic(topic).name]
        kept = np.zeros(len(self._entries), np.uint16)
        of_file = [np.flatnonzero(self._entries["storage"] == number) for number in range(len(self._storages))]
        for version, places in zip(self._versions, of_file, strict=True):
            known = None if version is None else load_packet_contents(version, len(places))
            if known is not None:
                kept[places] = known
        if (kept[rows] == 0).any():
            kept[rows] = packet_contents(map(partial(self._packet_or_none, topic), range(len(rows))))
            for storage, version, places in zip(self._storages, self._versions, of_file, strict=True):
                if version is not None:
                    save_packet_contents(storage.path, version, kept[places])
        return kept[rows]

    def _packet_or_none(self, topic: str, index: int) -> VideoPacket | None:
        """A message's packet; None where it is none or is damaged."""
        try:
            return video_packet(self.read_message(topic, index))
        except MayhemError as error:
            if is_of_the_disk(error):
                raise
            return None

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
                stamps = self._stamps_ns[self._entries["storage"] == number]
                self._unkept.extend(filter(None, [save_stamps(storage.path, version, stamps)]))

    @contextmanager
    def naming(self, topic: str, index: int) -> Iterator[None]:
        """Says in an error which message it was."""
        try:
            yield
        except UsageError:
            raise  # no message could be read
        except MayhemError as error:
            raise MayhemError(f"Message {index} on {topic} of {self.path} cannot be read: {error}") from error


class _Entry(NamedTuple):
    """One row of `ENTRY` as plain numbers."""

    log_time_ns: int
    storage: int
    connection: int
    block: int
    offset: int


@dataclass(frozen=True)
class _Part:
    """One file of a recording, opened; `unkept` says why its index cannot be kept, or nothing."""

    storage: Storage
    version: FileVersion | None
    index: StorageIndex
    unkept: str


def _opened(path: Path, files: RecordingFiles) -> tuple[list[_Part], tuple[str, ...]]:
    """The parts that can be opened, and a sentence for each that holds nothing, as one does after a power loss.

    Raises:
        MayhemError: none can be opened, or the system refuses to read one, which it may not do tomorrow.
    """
    parts: list[_Part] = []
    errors = [MayhemError(f"{file} is missing: copy it there.") for file in files.missing]
    for file in files.paths:
        try:
            storage, version = open_storage(file), file_version(file)
            parts.append(_Part(storage, version, *file_index(storage, version)))
        except MayhemError as error:
            if isinstance(error.__cause__, OSError):
                raise
            errors.append(error)
    if not parts:
        raise errors[0]
    return parts, tuple(f"A part of {path} is lost, and frames are numbered without it: {error}" for error in errors)


def _rows_by_topic(entries: NDArray[np.void], connections: Sequence[Connection]) -> dict[str, NDArray[np.int64]]:
    """For each topic the rows of its messages in `entries`, ascending."""
    rows: dict[str, NDArray[np.int64]] = {}
    for topic in {connection.topic for connection in connections}:
        numbers = [number for number, connection in enumerate(connections) if connection.topic == topic]
        rows[topic] = np.flatnonzero(np.isin(entries["connection"], numbers))
    return rows


def _topics(
    path: Path, entries: NDArray[np.void], connections: Sequence[Connection], problems: list[str]
) -> Iterator[Topic]:
    """The topics by name, each of the type that most of its messages have; a problem where they have several."""
    counts = np.bincount(entries["connection"], minlength=len(connections)).tolist()
    for name in sorted({connection.topic for connection in connections}):
        types: Counter[str] = Counter()
        for connection, count in zip(connections, counts, strict=True):
            if connection.topic == name:
                types[connection.type] += count
        usual = types.most_common(1)[0][0]
        if len(types) > 1:
            listed = ", ".join(kind or "no type" for kind in types)
            problems.append(f"Messages on {name} of {path} are of several types ({listed}): it counts as {usual}.")
        yield Topic(name, usual, types.total())


def _stamp_ns(connection: Connection, head: bytes, skipped: int) -> int:
    """The stamp that a message begins with, `skipped` bytes after its start, in seconds and ns of four bytes each."""
    order: Literal["little", "big"] = "big" if connection.encoding == "cdr" and not head[1] & 1 else "little"
    seconds = int.from_bytes(head[skipped : skipped + 4], order, signed=connection.encoding == "cdr")
    return seconds * 10**9 + int.from_bytes(head[skipped + 4 : skipped + 8], order)


def _listed(topics: Sequence[Topic]) -> str:
    told = (f"{t.name} ({t.type or 'no type'}{'' if t.count else ', no messages'})" for t in topics)
    return ", ".join(told) or "no topics"
