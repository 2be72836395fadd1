"""What a compressed chunk holds: all of it, or of a damaged one what comes before the damage; no more than it says."""

from __future__ import annotations

import bz2
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import lz4.frame
import zstandard

LARGEST_CHUNK = 2**30
"""Bytes that a chunk may hold: writers make chunks of some MB, or of one message."""

_FAILURES = (zstandard.ZstdError, RuntimeError, OSError, ValueError, EOFError, MemoryError)
_PIECE = 2**12  # of which zstd makes 2**27 bytes at most
_MOST_OF_LZ4 = 2**23  # more than a piece and the largest block before it give

_PIECE_BY_PIECE: dict[str, Callable[[], Callable[[bytes], bytes]]] = {
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
    # Without a length it gives no more than about the input's, and what is left over only with the next input.
    "lz4": lambda: partial(lz4.frame.LZ4FrameDecompressor().decompress, max_length=_MOST_OF_LZ4),
    "bz2": lambda: bz2.BZ2Decompressor().decompress,
}


def decompress_chunk(compression: str, data: bytes, size: int) -> tuple[bytes, str]:
    """What `data` hold, `size` bytes if they are whole, and how they are damaged, in a few words or none.

    Raises:
        KeyError: there is no such compression.
    """
    decompress, most = _AT_ONCE[compression], min(size, LARGEST_CHUNK)
    try:
        content, damage = decompress(data, most), ""
    except _FAILURES as error:
        content, damage = _start(compression, data, most), str(error) or type(error).__name__
    if len(content) > most:
        return content[:most], f"it holds more than {most} bytes"
    return content, damage


def _zstd(data: bytes, most: int) -> bytes:
    announced = zstandard.frame_content_size(data)
    if announced > most:
        raise ValueError(f"it holds {announced} bytes instead of {most}")
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=most)


def _lz4(data: bytes, most: int) -> bytes:
    stream = lz4.frame.LZ4FrameDecompressor()
    content = stream.decompress(data, max_length=most + 1)
    if not stream.eof and len(content) <= most:
        raise EOFError("its end is missing")
    return bytes(content)


def _bz2(data: bytes, most: int) -> bytes:
    stream = bz2.BZ2Decompressor()
    content = stream.decompress(data, max_length=most + 1)
    if not stream.eof and len(content) <= most:
        raise EOFError("its end is missing")
    return content


_AT_ONCE: dict[str, Callable[[bytes, int], bytes]] = {"zstd": _zstd, "lz4": _lz4, "bz2": _bz2}


def _start(compression: str, data: bytes, most: int) -> bytes:
    """What comes out before the damage: byte by byte where it is near, since a step that fails gives nothing.

    Of more than `most` bytes it gives one more, or somewhat more.
    """
    at = 0
    for step in (_PIECE, 1):
        decompress = _PIECE_BY_PIECE[compression]()
        parts = [decompress(data[start : start + _PIECE]) for start in range(0, at, _PIECE)]
        total = sum(map(len, parts))
        with suppress(*_FAILURES):
            while at < len(data) and total <= most:
                parts.append(decompress(data[at : at + step]))
                total += len(parts[-1])
                at += step
        if total > most:
            break
    return b"".join(parts)
