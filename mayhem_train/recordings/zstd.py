"""zstd around whole recordings and around single messages, as rosbag2 and people compress them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import zstandard

from mayhem_ros.errors import MayhemError

MAGIC = b"\x28\xb5\x2f\xfd"

_SKIPPABLE = tuple(bytes((0x50 + number, 0x2A, 0x4D, 0x18)) for number in range(16))
_PIECE = 2**13  # of which 2**28 bytes may come; what is in hand when an archive turns out to be damaged is lost
_LONGEST_FRAME_HEADER = 18
_LARGEST_MESSAGE = 2**30  # bytes; more is a bomb, or damage
_LONGEST_WINDOW = 2**31  # of `zstd --long=31`


def is_archive(head: bytes) -> bool:
    """Whether these first bytes are those of a zstd archive: no recording begins so."""
    return head.startswith((MAGIC, *_SKIPPABLE))


def is_compressed_message(encoding: str, data: bytes) -> bool:
    """Whether rosbag2 compressed a message that begins with `data`, since CDR never begins as zstd does."""
    return encoding == "cdr" and data.startswith(MAGIC)


def archive_head(archive: Path, size: int) -> bytes:
    """The first bytes of what an archive holds, as many as can be had."""
    try:
        with archive.open("rb") as stream, _decompressor().stream_reader(stream, read_across_frames=True) as reader:
            return reader.read(size)
    except zstandard.ZstdError:
        return b""


def announced_size(archive: Path) -> int:
    """How many bytes the archive's first frame says that it holds, 0 where it does not say."""
    with archive.open("rb") as stream:
        try:
            return max(0, zstandard.frame_content_size(stream.read(_LONGEST_FRAME_HEADER)))
        except zstandard.ZstdError:
            return 0


def archive_pieces(archive: Path) -> Iterator[tuple[bytes, int, str]]:
    """What the archive's frames hold one after the other: (bytes, how far the archive is read, nothing).

    Where it is damaged or cut off, the last item says so in one sentence instead.

    Raises:
        OSError: the archive cannot be read.
    """
    frame = _decompressor().decompressobj()
    within = False  # a frame
    with archive.open("rb") as stream:
        while piece := stream.read(_PIECE):
            while piece:
                try:
                    data = frame.decompress(piece)
                except zstandard.ZstdError as error:
                    said = f"{archive} is damaged before its byte {stream.tell()} ({error}): its start was unpacked."
                    yield b"", stream.tell(), said
                    return
                yield data, stream.tell(), ""
                within = not frame.eof
                piece = frame.unused_data
                if frame.eof:
                    frame = _decompressor().decompressobj()
        if within:
            yield b"", stream.tell(), f"{archive} is cut off: its start was unpacked."


def decompress_message(data: bytes, size: int | None = None) -> bytes:
    """A compressed message, or only its first `size` bytes without decompressing the rest.

    Raises:
        MayhemError: the bytes are damaged.
    """
    try:
        if size is not None:
            with _decompressor().stream_reader(data) as reader:
                return reader.read(size)
        return _whole_message(data)
    except (zstandard.ZstdError, MemoryError) as error:
        raise MayhemError(f"it does not decompress ({error}).") from error


def _whole_message(data: bytes) -> bytes:
    announced = zstandard.frame_content_size(data[:_LONGEST_FRAME_HEADER])
    if 0 <= announced <= _LARGEST_MESSAGE:
        return _decompressor().decompress(data)  # never more than announced
    stream, parts, size = _decompressor().decompressobj(), [], max(0, announced)
    for start in range(0, len(data), _PIECE):
        if size <= _LARGEST_MESSAGE:
            parts.append(stream.decompress(data[start : start + _PIECE]))
            size += len(parts[-1])
        if size > _LARGEST_MESSAGE:
            raise MayhemError(f"it does not decompress: it holds more than {_LARGEST_MESSAGE} bytes.")
        if stream.eof:
            return b"".join(parts)
    raise MayhemError("it does not decompress: its end is missing.")


def _decompressor() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(max_window_size=_LONGEST_WINDOW)
