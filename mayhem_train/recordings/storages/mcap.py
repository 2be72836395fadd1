"""MCAP files: located by their message indexes, or record by record where a file has none or was cut off."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Schema, Statistics
from numpy.typing import NDArray
from zlib_ng import zlib_ng  # a chunk's checksum takes zlib as long as its decompression

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.storages.chunk_cache import ChunkCache
from mayhem_train.recordings.storages.decompression import decompress_chunk
from mayhem_train.recordings.storages.per_process import PerProcess
from mayhem_train.recordings.storages.random_file import RandomFile
from mayhem_train.recordings.storages.storage import ENTRY, Connection, StorageIndex, in_file_order, normalise_type

MAGIC = b"\x89MCAP0\r\n"

_RECORD = struct.Struct("<BQ")  # opcode, length
_MESSAGE = struct.Struct("<BQHIQQ")  # opcode, length, channel, sequence, log time, publish time
_CHUNK = struct.Struct("<BQQQQII")  # opcode, length, start time, end time, uncompressed size, its CRC, length of a name
_INDEX = struct.Struct("<BQHI")  # opcode, length, channel, bytes of the index array
_INDEX_ENTRY = np.dtype([("log_time_ns", "<u8"), ("offset", "<u8")])
_FOOTER = struct.Struct("<BQQQI")  # opcode, length, start of the summary, start of the summary offsets, CRC of both
_DATA_END = _RECORD.size + 4  # bytes of the record that ends the data
_SUMMARY_OFFSET = _RECORD.size + 17  # bytes of a record that says where the summary has which records
_CHANNELS = 2**16
_LATEST_NS = 2**63 - 1  # what an ENTRY and a stamp can hold
_LONGEST_NAME = 64  # of a compression
_PIECE = 2**20
_MALFORMED = (McapError, ValueError, KeyError, EOFError, struct.error)

Read = Callable[[int, int], bytes]


class McapStorage:
    """One .mcap file. Messages in uncompressed chunks are read straight from the file, without their chunk."""

    name = "mcap"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = RandomFile(path)
        self._chunks = PerProcess(ChunkCache)
        self.damage: list[str] = []

    def index(self) -> StorageIndex:
        """From the summary and the message indexes, or else by walking over every record's head."""
        damage = self._end_damage()
        try:
            index = self._indexed()
        except (*_MALFORMED, MayhemError):
            index = self._scanned()  # no index or a damaged one: the records themselves may be whole
        return replace(index, problems=(damage, *index.problems)) if damage else index

    def read(self, block: int, offset: int, size: int | None = None) -> bytes:
        """The message record at `offset` of the chunk at `block`, or of the file."""
        chunk = self._chunks.get().get(block, self._decompress) if block else b""
        read = _slices(chunk) if block else self._file.read
        head = read(offset, _MESSAGE.size)
        opcode, length = _RECORD.unpack_from(head) if len(head) == _MESSAGE.size else (0, 0)
        length -= _MESSAGE.size - _RECORD.size
        length = length if size is None else min(size, length)
        data = read(offset + _MESSAGE.size, length) if opcode == Opcode.MESSAGE and length >= 0 else None
        if data is None or len(data) < length:
            place = f"chunk at byte {block}" if block else f"record at byte {offset}"
            raise MayhemError(f"The {place} of {self.path} is damaged: copy it from its source.")
        return data

    def check(self) -> Iterator[str]:
        """Compares the checksums of the chunks, of the data and of the summary, where the writer left any."""
        data_end = 0
        for opcode, body, length in _walk(self._file.read, len(MAGIC), self._file.size):
            start = body - _RECORD.size
            try:
                if opcode == Opcode.CHUNK:
                    self._check_chunk(start)
                elif opcode == Opcode.DATA_END:
                    data_end = body + length
                    self._check(0, start, int.from_bytes(self._file.read_exactly(body, 4), "little"), "data")
                elif opcode == Opcode.FOOTER and data_end:
                    # The summary's checksum covers the footer's own first fields.
                    checksum = int.from_bytes(self._file.read_exactly(body + 16, 4), "little")
                    self._check(data_end, body + 16, checksum, "summary")
            except MayhemError as error:
                yield str(error)

    def close(self) -> None:
        """Closes the file; reading opens it again."""
        self._chunks.take()
        self._file.close()

    def _indexed(self) -> StorageIndex:
        """Raises KeyError where there is no index, or one that leaves out messages it counts or schemas it names."""
        contents = _Contents(self.path)
        statistics: Statistics | None = None
        chunks: list[ChunkIndex] = []
        for opcode, stream in self._summary():
            if opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                contents.add_description(opcode, stream)
            elif opcode == Opcode.STATISTICS:
                statistics = Statistics.read(stream)
            elif opcode == Opcode.CHUNK_INDEX:
                chunks.append(ChunkIndex.read(stream))
        for chunk in chunks:
            self._index_chunk(chunk, contents)
        if statistics is None or contents.count != statistics.message_count or contents.lacks_schemas:
            raise KeyError("messages or schemas without an index")
        return contents.index()

    def _summary(self) -> Iterator[tuple[int, ReadDataStream]]:
        """Opcode and body of each record of the summary; none where the file does not end as it should or has none."""
        footer = self._footer()
        if footer is None or not self._has_closing_magic:
            return
        end = footer.position
        for opcode, body, length in _walk(self._file.read, footer.summary_start or end, end):
            if opcode in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.STATISTICS, Opcode.CHUNK_INDEX):
                yield opcode, _stream(self._file.read_exactly(body, length))

    def _end_damage(self) -> str:
        """One sentence where the file was not cut off but its end is not as it should be, or nothing.

        That tools write no summary, or an empty one, is as it should be.
        """
        footer = self._footer()
        if footer is None:
            return ""
        is_whole = (
            (footer.opcode, footer.length) == (Opcode.FOOTER, _FOOTER.size - _RECORD.size)
            and self._is_record(Opcode.DATA_END, (footer.summary_start or footer.position) - _DATA_END, _DATA_END)
            and (
                footer.offsets_start in (0, footer.position)
                or self._is_record(Opcode.SUMMARY_OFFSET, footer.offsets_start, _SUMMARY_OFFSET)
            )
        )
        if is_whole == self._has_closing_magic:  # else it is as it should be, or not there
            return ""
        what = "its last 8 bytes are" if is_whole else "its footer is"
        return (
            f"The end of {self.path} is damaged ({what} not as MCAP has it): the messages before it are read, but "
            "copy the file from its source."
        )

    @property
    def _has_closing_magic(self) -> bool:
        return self._file.read(max(0, self._file.size - len(MAGIC)), len(MAGIC)) == MAGIC

    def _footer(self) -> _Footer | None:
        """What stands where the footer should, or None where the file is too short to have one."""
        position = self._file.size - len(MAGIC) - _FOOTER.size
        if position < len(MAGIC):
            return None
        return _Footer(position, *_FOOTER.unpack(self._file.read_exactly(position, _FOOTER.size)))

    def _is_record(self, opcode: int, position: int, size: int) -> bool:
        """Whether a record of that kind and size, its head included, stands there."""
        if not len(MAGIC) <= position < self._file.size - _RECORD.size:
            return False
        return _RECORD.unpack(self._file.read_exactly(position, _RECORD.size)) == (opcode, size - _RECORD.size)

    def _index_chunk(self, chunk: ChunkIndex, contents: _Contents) -> None:
        """Takes the message indexes that stand behind a chunk."""
        position = chunk.chunk_start_offset
        if chunk.compression in ("", "none"):
            block, base = 0, position + _CHUNK.size + len(chunk.compression) + 8
        else:
            block, base = position, 0
            contents.compression.add(chunk.compression)
        records = self._file.read_exactly(position + chunk.chunk_length, chunk.message_index_length)
        at = 0
        while at < len(records):
            opcode, length, channel_id, size = _INDEX.unpack_from(records, at)
            if opcode == Opcode.MESSAGE_INDEX:
                found = np.frombuffer(records, _INDEX_ENTRY, size // _INDEX_ENTRY.itemsize, at + _INDEX.size)
                contents.add_messages(channel_id, found["log_time_ns"], block, found["offset"].astype("<i8") + base)
            at += _RECORD.size + length

    def _scanned(self) -> StorageIndex:
        """Every message up to where the file breaks off."""
        contents = _Contents(self.path)
        size, footer = self._file.size, self._footer()
        has_end = footer is not None and self._has_closing_magic
        limit = footer.position if footer is not None and has_end else size
        reached, end = len(MAGIC), 0  # of the last record, and of the file as far as its footer says
        for opcode, body, length in _walk(self._file.read, len(MAGIC), limit):
            reached = body + length
            if opcode == Opcode.CHUNK:
                self._scan_chunk(body - _RECORD.size, min(reached, limit), contents)
            elif reached <= limit:
                contents.add_record(opcode, self._file.read, body, length, 0)
            if opcode == Opcode.FOOTER and _RECORD.size + length == _FOOTER.size:
                end = reached + len(MAGIC)
        if reached != limit if has_end else not 0 < end <= size:
            contents.problems.append(
                f"{self.path} is cut off: {contents.count} messages before the end could be recovered."
            )
        elif not has_end and end < size:
            contents.problems.append(
                f"{self.path} goes on for {size - end} bytes behind its end: copy it from its source."
            )
        return contents.index()

    def _scan_chunk(self, position: int, end: int, contents: _Contents) -> None:
        try:
            head = self._chunk_head(position)
            read: Read = self._file.read
            start, block = head.start, 0
            if head.compression:
                contents.compression.add(head.compression)
                chunk, damage = self._decompressed(position)
                contents.problems.extend(filter(None, [damage]))
                read, start, end, block = _slices(chunk), 0, len(chunk), position
        except MayhemError as error:
            if end < self._file.size:  # else it is told with the file's end
                contents.problems.append(str(error))
            return
        for opcode, body, length in _walk(read, start, end):
            if body + length <= end:
                contents.add_record(opcode, read, body, length, block)

    def _check_chunk(self, position: int) -> None:
        head = self._chunk_head(position)
        if not head.compression:
            self._check(head.start, head.start + head.uncompressed_size, head.checksum, f"chunk at byte {position}")
            return
        _, damage = self._decompressed(position)
        if damage:
            raise MayhemError(damage)

    def _check(self, start: int, end: int, checksum: int, name: str) -> None:
        """Raises MayhemError where there is a checksum and the bytes have another one."""
        if not checksum:
            return
        found = 0
        for at in range(start, end, _PIECE):
            found = zlib_ng.crc32(self._file.read_exactly(at, min(_PIECE, end - at)), found)
        if found != checksum:
            raise MayhemError(f"The {name} of {self.path} is damaged: its checksum is wrong.")

    def _decompress(self, position: int) -> bytes:
        """As much of the chunk as can be had."""
        chunk, damage = self._decompressed(position)
        if damage and damage not in self.damage:
            self.damage.append(damage)
        return chunk

    def _decompressed(self, position: int) -> tuple[bytes, str]:
        """As much of what the chunk holds as can be had, and one sentence on how it is damaged, or nothing."""
        head = self._chunk_head(position)
        data = self._file.read(head.start, head.size)
        try:
            chunk, damage = decompress_chunk(head.compression, data, head.uncompressed_size)
        except KeyError as error:
            raise MayhemError(
                f"{self.path} is compressed with {head.compression!r}, which cannot be read: convert it with "
                "`mcap compress`."
            ) from error
        if len(data) < head.size:
            return chunk, ""  # as far as the file goes: that is told of the file
        if not damage and len(chunk) != head.uncompressed_size:
            damage = f"it holds {len(chunk)} bytes instead of {head.uncompressed_size}"
        if not damage and head.checksum and zlib_ng.crc32(chunk) != head.checksum:
            damage = "its checksum is wrong"
        if damage:
            damage = (
                f"The chunk at byte {position} of {self.path} is damaged ({damage}): what it still gives may be wrong, "
                "so copy the file from its source."
            )
        return chunk, damage

    def _chunk_head(self, position: int) -> _ChunkHead:
        opcode, _, _, _, uncompressed_size, checksum, name_length = _CHUNK.unpack(
            self._file.read_exactly(position, _CHUNK.size)
        )
        if opcode != Opcode.CHUNK or name_length > _LONGEST_NAME:
            raise MayhemError(f"The chunk at byte {position} of {self.path} is damaged: copy it from its source.")
        tail = self._file.read_exactly(position + _CHUNK.size, name_length + 8)
        name, size = tail[:name_length].decode(errors="replace"), int.from_bytes(tail[name_length:], "little")
        start = position + _CHUNK.size + len(tail)
        return _ChunkHead("" if name == "none" else name, uncompressed_size, checksum, start, size)


class _Footer(NamedTuple):
    """What the file's last record says, whatever it is; `position` is where it begins, 0 stands for no summary."""

    position: int
    opcode: int
    length: int
    summary_start: int
    offsets_start: int
    checksum: int


class _ChunkHead(NamedTuple):
    """What stands before a chunk's data; the compression is empty for none, `start` and `size` are the data's."""

    compression: str
    uncompressed_size: int
    checksum: int
    start: int
    size: int


class _Contents:
    """Gathers channels and messages while a file is gone through; a description may come after what it describes."""

    def __init__(self, path: Path) -> None:
        self.compression: set[str] = set()
        self.problems: list[str] = []
        self._path = path
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._counts: Counter[int] = Counter()  # messages by channel
        self._late = 0
        self._parts: list[NDArray[np.void]] = []  # with channel ids for connections
        self._rows: list[tuple[int, int, int, int, int]] = []  # the same one by one

    @property
    def count(self) -> int:
        """How many messages there are on the channels that are described."""
        return sum(count for channel_id, count in self._counts.items() if channel_id in self._channels)

    @property
    def lacks_schemas(self) -> bool:
        """Whether a channel names a schema that there is none of; 0 stands for no schema."""
        return any(c.schema_id and c.schema_id not in self._schemas for c in self._channels.values())

    def add_description(self, opcode: int, stream: ReadDataStream) -> None:
        """A schema or a channel."""
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(stream)
            self._schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(stream)
            self._channels.setdefault(channel.id, channel)

    def add_messages(self, channel_id: int, log_times: NDArray[np.uint64], block: int, offsets: Any) -> None:
        """Those of one channel in one chunk; what a message index says."""
        part = np.zeros(len(offsets), ENTRY)
        part["log_time_ns"], part["offset"] = log_times.astype("<i8"), offsets
        part["connection"], part["block"] = channel_id, block
        in_range = log_times <= np.uint64(_LATEST_NS)
        self._parts.append(part[in_range])
        self._late += len(part) - int(in_range.sum())
        self._counts[channel_id] += len(part)

    def add_record(self, opcode: int, read: Read, body: int, length: int, block: int) -> None:
        """A record of the file (`block` 0) or of the chunk at `block`; `body` is where its content begins."""
        start = body - _RECORD.size
        try:
            if opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self.add_description(opcode, _stream(read(body, length)))
            elif opcode == Opcode.MESSAGE:
                _, _, channel_id, _, log_time, _ = _MESSAGE.unpack(read(start, _MESSAGE.size))
                self._counts[channel_id] += 1
                if log_time <= _LATEST_NS:
                    self._rows.append((log_time, 0, channel_id, block, start))
                else:
                    self._late += 1
        except _MALFORMED:
            place = f"byte {start} of the chunk at byte {block}" if block else f"byte {start}"
            self.problems.append(f"The record at {place} of {self._path} is damaged.")

    def index(self) -> StorageIndex:
        entries = in_file_order([*self._parts, np.array(self._rows, ENTRY)])
        numbers = np.full(_CHANNELS, -1, np.int32)
        numbers[list(self._channels)] = np.arange(len(self._channels))
        entries["connection"] = numbers[entries["connection"]]
        known = entries["connection"] >= 0
        orphans = len(entries) - int(known.sum())
        if orphans:
            self.problems.append(f"{self._path} holds {orphans} messages of channels it does not describe.")
        if self._late:
            self.problems.append(
                f"{self._late} messages of {self._path} are left out, since their log times lie beyond the year 2262."
            )
        connections = tuple(self._connection(channel) for channel in self._channels.values())
        return StorageIndex(connections, entries[known], tuple(sorted(self.compression)), tuple(self.problems))

    def _connection(self, channel: Channel) -> Connection:
        """A channel need have no schema, and that of a damaged file may be lost: its messages have no type then."""
        schema = self._schemas.get(channel.schema_id)
        if schema is None:
            return Connection(channel.topic, "", channel.message_encoding)
        return Connection(
            topic=channel.topic,
            type=normalise_type(schema.name),
            encoding=channel.message_encoding,
            definition=schema.data.decode(errors="replace"),
            definition_format=schema.encoding if schema.data else "",
        )


def _walk(read: Read, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(opcode, offset of the body, length of the body) of each record; the last may reach beyond `end`."""
    while start + _RECORD.size <= end:
        opcode, length = _RECORD.unpack(read(start, _RECORD.size))
        if opcode == 0:  # no such record: zeros where the disk was not written
            return
        yield opcode, start + _RECORD.size, length
        start += _RECORD.size + length


def _slices(data: bytes) -> Read:
    return lambda start, size: data[start : start + size]


def _stream(data: bytes) -> ReadDataStream:
    return ReadDataStream(BytesIO(data))
