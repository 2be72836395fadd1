"""MCAP files: located by their message indexes, or record by record where a file has none or was cut off."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import zstandard
from isal import isal_zlib  # a chunk's checksum takes zlib as long as its decompression
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Schema
from mcap.summary import Summary
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.storages.chunk_cache import ChunkCache
from mayhem_train.recordings.storages.per_process import PerProcess
from mayhem_train.recordings.storages.random_file import RandomFile
from mayhem_train.recordings.storages.storage import ENTRY, Connection, StorageIndex, in_file_order, normalise_type

MAGIC = b"\x89MCAP0\r\n"

_RECORD = struct.Struct("<BQ")  # opcode, length
_MESSAGE = struct.Struct("<BQHIQQ")  # opcode, length, channel, sequence, log time, publish time
_CHUNK = struct.Struct("<BQQQQII")  # opcode, length, start time, end time, uncompressed size, its CRC, length of a name
_INDEX = struct.Struct("<BQHI")  # opcode, length, channel, bytes of the index array
_INDEX_ENTRY = np.dtype([("log_time_ns", "<u8"), ("offset", "<u8")])
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

    def index(self) -> StorageIndex:
        """From the summary and the message indexes, or else by walking over every record's head."""
        try:
            summary = self._summary()
            if summary is not None:
                return self._indexed(summary)
        except (*_MALFORMED, MayhemError):
            pass  # a damaged index: the records themselves may be whole
        return self._scanned()

    def read(self, block: int, offset: int, size: int | None = None) -> bytes:
        """The message record at `offset` of the chunk at `block`, or of the file."""
        if block:
            chunk = self._chunks.get().get(block, self._decompress)
            head = chunk[offset : offset + _MESSAGE.size]
        else:
            head = self._file.read_exactly(offset, _MESSAGE.size)
        opcode, length = _RECORD.unpack_from(head) if len(head) == _MESSAGE.size else (0, 0)
        if opcode != Opcode.MESSAGE:
            raise MayhemError(f"{self.path} is damaged at byte {block or offset}: copy it from its source.")
        start = offset + _MESSAGE.size
        length = length + _RECORD.size - _MESSAGE.size
        length = length if size is None else min(size, length)
        return chunk[start : start + length] if block else self._file.read_exactly(start, length)

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

    def _summary(self) -> Summary | None:
        """The summary, where the file ends as it should and has one that counts its messages."""
        if self._file.read(self._file.size - len(MAGIC), len(MAGIC)) != MAGIC:
            return None
        with self._file.stream() as stream:
            summary = SeekingReader(stream).get_summary()
        return summary if summary is not None and summary.statistics is not None else None

    def _indexed(self, summary: Summary) -> StorageIndex:
        """Raises KeyError when the indexes leave out a message that the summary counts."""
        contents = _Contents()
        for schema in summary.schemas.values():
            contents.add_schema(schema)
        for channel in summary.channels.values():
            contents.add_channel(channel)
        for chunk in summary.chunk_indexes:
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
        assert summary.statistics is not None
        if contents.count != summary.statistics.message_count:
            raise KeyError("messages without an index")
        return contents.index(())

    def _scanned(self) -> StorageIndex:
        """Every message up to where the file breaks off."""
        contents = _Contents()
        problems: list[str] = []
        size = self._file.size
        whole = False
        for opcode, body, length in _walk(self._file.read, len(MAGIC), size):
            try:
                if opcode == Opcode.CHUNK:
                    self._scan_chunk(body - _RECORD.size, contents)
                elif body + length <= size:
                    contents.add_record(opcode, self._file.read, body, length, 0)
            except (*_MALFORMED, MayhemError):
                problems.append(f"The record at byte {body - _RECORD.size} of {self.path} is cut off or damaged.")
            whole = whole or opcode == Opcode.FOOTER
        if not whole:
            problems.append(f"{self.path} is cut off: {contents.count} messages before the end could be recovered.")
        return contents.index(tuple(problems))

    def _scan_chunk(self, position: int, contents: _Contents) -> None:
        _, length, _, _, _, _, name_length = _CHUNK.unpack(self._file.read_exactly(position, _CHUNK.size))
        name = self._file.read_exactly(position + _CHUNK.size, name_length).decode()
        if name in ("", "none"):
            start = position + _CHUNK.size + name_length + 8
            end = min(position + _RECORD.size + length, self._file.size)
            read, block = self._file.read, 0
        else:
            contents.compression.add(name)
            chunk = self._decompress(position)
            start, end = 0, len(chunk)
            read, block = (lambda offset, size: chunk[offset : offset + size]), position
        for opcode, body, body_length in _walk(read, start, end):
            if body + body_length <= end:
                contents.add_record(opcode, read, body, body_length, block)

    def _check_chunk(self, position: int) -> None:
        _, _, _, _, size, checksum, name_length = _CHUNK.unpack(self._file.read_exactly(position, _CHUNK.size))
        start = position + _CHUNK.size + name_length
        if name_length > 64 or self._file.read_exactly(start - name_length, name_length) not in (b"", b"none"):
            self._decompress(position)
        else:
            self._check(start + 8, start + 8 + size, checksum, f"chunk at byte {position}")

    def _check(self, start: int, end: int, checksum: int, name: str) -> None:
        """Raises MayhemError where there is a checksum and the bytes have another one."""
        if not checksum:
            return
        found = 0
        for at in range(start, end, _PIECE):
            found = isal_zlib.crc32(self._file.read_exactly(at, min(_PIECE, end - at)), found)
        if found != checksum:
            raise MayhemError(f"The {name} of {self.path} is damaged: its checksum is wrong.")

    def _decompress(self, position: int) -> bytes:
        head = self._file.read_exactly(position, _CHUNK.size)
        opcode, _, _, _, uncompressed_size, checksum, name_length = _CHUNK.unpack(head)
        if opcode != Opcode.CHUNK or name_length > 64:
            raise MayhemError(f"{self.path} is damaged at byte {position}: copy it from its source.")
        tail = self._file.read_exactly(position + _CHUNK.size, name_length + 8)
        name, size = tail[:name_length].decode(errors="replace"), int.from_bytes(tail[name_length:], "little")
        try:
            data = self._file.read_exactly(position + _CHUNK.size + name_length + 8, size)
            chunk = _DECOMPRESSORS[name](data, uncompressed_size)
        except KeyError as error:
            raise MayhemError(
                f"{self.path} is compressed with {name!r}, which cannot be read: convert it with `mcap compress`."
            ) from error
        except (zstandard.ZstdError, RuntimeError, MemoryError) as error:
            raise MayhemError(
                f"The chunk at byte {position} of {self.path} does not decompress ({error}): copy it from its source."
            ) from error
        if len(chunk) != uncompressed_size or (checksum and isal_zlib.crc32(chunk) != checksum):
            raise MayhemError(f"The chunk at byte {position} of {self.path} is damaged: copy it from its source.")
        return chunk


_DECOMPRESSORS: dict[str, Callable[[bytes, int], bytes]] = {
    "zstd": lambda data, size: zstandard.ZstdDecompressor().decompress(data, max_output_size=size),
    "lz4": lambda data, size: lz4.frame.decompress(data),
}


class _Contents:
    """Gathers channels and messages while a file is gone through."""

    def __init__(self) -> None:
        self.compression: set[str] = set()
        self.count = 0
        self._schemas: dict[int, Schema] = {}
        self._numbers: dict[int, int] = {}  # channel id -> number of its connection
        self._connections: list[Connection] = []
        self._parts: list[NDArray[np.void]] = []

    def add_schema(self, schema: Schema) -> None:
        self._schemas[schema.id] = schema

    def add_channel(self, channel: Channel) -> None:
        if channel.id in self._numbers:
            return
        schema = self._schemas[channel.schema_id]
        self._numbers[channel.id] = len(self._connections)
        self._connections.append(
            Connection(
                topic=channel.topic,
                type=normalise_type(schema.name),
                encoding=channel.message_encoding,
                definition=schema.data.decode(errors="replace"),
                definition_format=schema.encoding if schema.data else "",
            )
        )

    def add_messages(self, channel_id: int, log_times: Any, block: int, offsets: Any) -> None:
        part = np.zeros(np.size(offsets), ENTRY)
        part["log_time_ns"], part["offset"] = log_times, offsets
        part["connection"], part["block"] = self._numbers[channel_id], block
        self._parts.append(part)
        self.count += len(part)

    def add_record(self, opcode: int, read: Read, body: int, length: int, block: int) -> None:
        """A record of the file (`block` 0) or of the chunk at `block`; `body` is where its content begins."""
        if opcode == Opcode.SCHEMA:
            self.add_schema(Schema.read(_stream(read(body, length))))
        elif opcode == Opcode.CHANNEL:
            self.add_channel(Channel.read(_stream(read(body, length))))
        elif opcode == Opcode.MESSAGE:
            start = body - _RECORD.size
            _, _, channel_id, _, log_time, _ = _MESSAGE.unpack(read(start, _MESSAGE.size))
            if channel_id in self._numbers:
                self.add_messages(channel_id, log_time, block, start)

    def index(self, problems: tuple[str, ...]) -> StorageIndex:
        entries = in_file_order(self._parts)
        return StorageIndex(tuple(self._connections), entries, tuple(sorted(self.compression)), problems)


def _walk(read: Read, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(opcode, offset of the body, length of the body) of each record; the last may reach beyond `end`."""
    while start + _RECORD.size <= end:
        opcode, length = _RECORD.unpack(read(start, _RECORD.size))
        if opcode == 0:  # no such record: zeros where the disk was not written
            return
        yield opcode, start + _RECORD.size, length
        start += _RECORD.size + length


def _stream(data: bytes) -> ReadDataStream:
    return ReadDataStream(BytesIO(data))
