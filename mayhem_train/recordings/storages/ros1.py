"""ROS 1 bags (format 2.0): located by their index, or record by record where a bag has none or was cut off."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.storages.chunk_cache import ChunkCache
from mayhem_train.recordings.storages.decompression import decompress_chunk
from mayhem_train.recordings.storages.per_process import PerProcess
from mayhem_train.recordings.storages.random_file import RandomFile
from mayhem_train.recordings.storages.storage import ENTRY, Connection, StorageIndex, in_file_order, normalise_type

MAGIC = b"#ROSBAG V2.0\n"

_MESSAGE, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 4, 5, 6, 7
_INDEX_ENTRY = np.dtype([("seconds", "<u4"), ("nanoseconds", "<u4"), ("offset", "<u4")])
_LONGEST_HEADER = 2**20
_HEAD_GUESS = 128  # bytes that hold most records' whole header, so that one read does

Read = Callable[[int, int], bytes]


class _MalformedError(Exception):
    """The bytes are no record."""


class _Record(NamedTuple):
    """Where a record stands, its header fields, and where its data lie."""

    position: int
    fields: dict[bytes, bytes]
    start: int
    length: int

    @property
    def opcode(self) -> int:
        return (self.fields.get(b"op") or b"\0")[0]

    @property
    def end(self) -> int:
        return self.start + self.length

    def number(self, name: bytes) -> int:
        if name not in self.fields:
            raise _MalformedError(name)
        return int.from_bytes(self.fields[name], "little")


class Ros1Storage:
    """One .bag file. Messages in uncompressed chunks are read straight from the file, without their chunk."""

    name = "ros1"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = RandomFile(path)
        self._chunks = PerProcess(ChunkCache)
        self.damage: list[str] = []

    def index(self) -> StorageIndex:
        """From the bag's index, or else by walking over every record's head."""
        try:
            header = _record(self._file.read, len(MAGIC))
        except _MalformedError as error:
            raise MayhemError(f"{self.path} is cut off within its header: copy it from its source.") from error
        if header.fields.get(b"encryptor"):
            raise MayhemError(f"{self.path} is encrypted: decrypt it first.")
        try:
            return self._indexed(header)
        except (_MalformedError, ValueError, struct.error, MayhemError):
            return self._scanned(header)

    def read(self, block: int, offset: int, size: int | None = None) -> bytes:
        """The message record at `offset` of the chunk at `block`, or of the file."""
        read: Read = self._file.read
        if block:
            chunk = self._chunks.get().get(block, self._decompress)
            read = _slices(chunk)
        try:
            record = _record(read, offset)
            while record.opcode == _CONNECTION:  # some writers index a message at the connection record before it
                record = _record(read, record.end)
            size = record.length if size is None else min(size, record.length)
            data = read(record.start, size)
            if record.opcode != _MESSAGE or len(data) < size:
                raise _MalformedError
        except _MalformedError as error:
            place = f"chunk at byte {block}" if block else f"record at byte {offset}"
            raise MayhemError(f"The {place} of {self.path} is damaged: copy it from its source.") from error
        return data

    def check(self) -> Iterator[str]:
        """Nothing: bags have no checksums, and their structure is checked by `index`."""
        return iter(())

    def close(self) -> None:
        """Closes the file; reading opens it again."""
        self._chunks.take()
        self._file.close()

    def _indexed(self, header: _Record) -> StorageIndex:
        """Raises _MalformedError when there is no index or it does not fit its own counts."""
        position = header.number(b"index_pos")
        if not position:
            raise _MalformedError
        contents = _Contents()
        chunks: dict[int, int] = {}  # position -> number of messages
        for record in _walk(self._file.read, position, self._file.size):
            if record.opcode == _CONNECTION:
                contents.add_connection(record, self._file.read)
            elif record.opcode == _CHUNK_INFO:
                counts = np.frombuffer(self._file.read_exactly(record.start, record.length), "<u4")
                chunks[record.number(b"chunk_pos")] = int(counts[1::2].sum())
        if len(contents.connections) != header.number(b"conn_count") or len(chunks) != header.number(b"chunk_count"):
            raise _MalformedError
        ends = [*sorted(chunks)[1:], position]
        for chunk, end in zip(sorted(chunks), ends, strict=True):
            self._index_chunk(chunk, end, contents)
        if contents.count != sum(chunks.values()):
            raise _MalformedError
        return contents.index()

    def _index_chunk(self, position: int, end: int, contents: _Contents) -> None:
        """Takes the index records that stand between a chunk's data and `end`."""
        chunk = _record(self._file.read, position)
        if chunk.opcode != _CHUNK:
            raise _MalformedError
        compression = chunk.fields.get(b"compression", b"none").decode()
        block, base = (0, chunk.start) if compression == "none" else (position, 0)
        if block:
            contents.compression.add(compression)
        indexes = self._file.read_exactly(chunk.end, end - chunk.end)
        for record in _walk(_slices(indexes), 0, len(indexes)):
            if record.opcode == _INDEX:
                found = np.frombuffer(indexes, _INDEX_ENTRY, record.number(b"count"), record.start)
                log_times = found["seconds"].astype(np.int64) * 10**9 + found["nanoseconds"]
                contents.add_messages(record.number(b"conn"), log_times, block, found["offset"].astype(np.int64) + base)

    def _scanned(self, header: _Record) -> StorageIndex:
        """Every message up to where the file breaks off."""
        contents = _Contents()
        for record in _walk(self._file.read, header.end, self._file.size):
            try:
                if record.opcode == _CHUNK:
                    self._scan_chunk(record, contents)
                elif record.opcode == _CONNECTION and record.end <= self._file.size:
                    contents.add_connection(record, self._file.read)
            except (_MalformedError, KeyError, struct.error, MayhemError):
                contents.problems.append(f"The record at byte {record.position} of {self.path} is cut off or damaged.")
        contents.problems.append(f"{self.path} has no whole index: {contents.count} messages could be recovered.")
        return contents.index()

    def _scan_chunk(self, chunk: _Record, contents: _Contents) -> None:
        compression = chunk.fields.get(b"compression", b"none").decode(errors="replace")
        read: Read
        if compression == "none":
            read, start, end, block = self._file.read, chunk.start, min(chunk.end, self._file.size), 0
        else:
            contents.compression.add(compression)
            data, damage = self._decompressed(chunk)
            contents.problems.extend(filter(None, [damage]))
            read, start, end, block = _slices(data), 0, len(data), chunk.position
        for record in _walk(read, start, end):
            if record.end > end:
                break
            if record.opcode == _CONNECTION:
                contents.add_connection(record, read)
            elif record.opcode == _MESSAGE:
                seconds, nanoseconds = struct.unpack("<II", record.fields[b"time"])
                log_time = seconds * 10**9 + nanoseconds
                contents.add_messages(record.number(b"conn"), log_time, block, record.position)

    def _decompress(self, position: int) -> bytes:
        """As much of the chunk as can be had."""
        try:
            chunk, damage = self._decompressed(_record(self._file.read, position))
        except _MalformedError as error:
            raise MayhemError(
                f"The chunk at byte {position} of {self.path} is damaged: copy it from its source."
            ) from error
        if damage and damage not in self.damage:
            self.damage.append(damage)
        return chunk

    def _decompressed(self, chunk: _Record) -> tuple[bytes, str]:
        """As much of what the chunk holds as can be had, and one sentence on how it is damaged, or nothing."""
        name = chunk.fields.get(b"compression", b"").decode(errors="replace")
        data = self._file.read(chunk.start, chunk.length)
        try:
            content, damage = decompress_chunk(name, data, chunk.number(b"size"))
        except KeyError as error:
            raise MayhemError(
                f"{self.path} is compressed with {name!r}, which cannot be read: convert it with `rosbag decompress`."
            ) from error
        if damage and len(data) == chunk.length:
            return content, (
                f"The chunk at byte {chunk.position} of {self.path} is damaged ({damage}): what comes behind is lost, "
                "so copy the file from its source."
            )
        return content, ""


class _Contents:
    """Gathers connections and messages while a bag is gone through."""

    def __init__(self) -> None:
        self.compression: set[str] = set()
        self.problems: list[str] = []
        self.count = 0
        self.connections: list[Connection] = []
        self._numbers: dict[int, int] = {}  # the bag's number of a connection -> ours
        self._parts: list[NDArray[np.void]] = []

    def add_connection(self, record: _Record, read: Read) -> None:
        number = record.number(b"conn")
        if number in self._numbers:
            return
        fields = _fields(read(record.start, record.length))
        try:
            topic, name = record.fields[b"topic"].decode(), fields[b"type"].decode()
        except (KeyError, UnicodeDecodeError) as error:
            raise _MalformedError from error
        definition = fields.get(b"message_definition", b"").decode(errors="replace")
        self._numbers[number] = len(self.connections)
        self.connections.append(
            Connection(topic, normalise_type(name), "ros1", definition, "ros1msg" if definition else "")
        )

    def add_messages(self, connection: int, log_times: Any, block: int, offsets: Any) -> None:
        if connection not in self._numbers:
            raise _MalformedError
        part = np.zeros(np.size(offsets), ENTRY)
        part["log_time_ns"], part["offset"] = log_times, offsets
        part["connection"], part["block"] = self._numbers[connection], block
        self._parts.append(part)
        self.count += len(part)

    def index(self) -> StorageIndex:
        return StorageIndex(
            tuple(self.connections),
            in_file_order(self._parts),
            tuple(sorted(self.compression)),
            tuple(self.problems),
        )


def _walk(read: Read, start: int, end: int) -> Iterator[_Record]:
    """The records one after the other; the last may reach beyond `end`. Ends where the bytes are none."""
    while start < end:
        try:
            record = _record(read, start)
        except _MalformedError:
            return
        yield record
        start = record.end


def _record(read: Read, position: int) -> _Record:
    head = read(position, _HEAD_GUESS)
    length = int.from_bytes(head[:4], "little")
    if len(head) < 8 or length > _LONGEST_HEADER:
        raise _MalformedError
    if len(head) < length + 8:
        head = read(position, length + 8)
        if len(head) < length + 8:
            raise _MalformedError
    size = int.from_bytes(head[4 + length : 8 + length], "little")
    return _Record(position, _fields(head[4 : 4 + length]), position + length + 8, size)


def _fields(data: bytes) -> dict[bytes, bytes]:
    """`name=value` fields, each after its length."""
    fields: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "little")
        name, separator, value = data[position + 4 : position + 4 + size].partition(b"=")
        if not separator or position + 4 + size > len(data):
            raise _MalformedError
        fields[name] = value
        position += 4 + size
    return fields


def _slices(data: bytes) -> Read:
    return lambda start, size: data[start : start + size]
