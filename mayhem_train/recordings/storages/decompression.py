"""What a compressed chunk holds: all of it, or of a damaged one what comes before the damage."""

from __future__ import annotations

import bz2
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import lz4.frame
import zstandard

_FAILURES = (zstandard.ZstdError, RuntimeError, OSError, ValueError, EOFError, MemoryError)
_PIECE = 2**12
_MOST_OF_LZ4 = 2**23  # more than a piece and the largest block before it give


_AT_ONCE: dict[str, Callable[[bytes, int], bytes]] = {
    "zstd": lambda data, size: zstandard.ZstdDecompressor().decompress(data, max_output_size=size),
    "lz4": lambda data, _: lz4.frame.decompress(data),
    "bz2": lambda data, _: bz2.decompress(data),
}
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
    decompress = _AT_ONCE[compression]
    try:
        return decompress(data, size), ""
    except _FAILURES as error:
        return _start(compression, data), str(error) or type(error).__name__


def _start(compression: str, data: bytes) -> bytes:
    """What comes out before the damage: byte by byte where it is near, since a step that fails gives nothing."""
    at = 0
    for step in (_PIECE, 1):
        decompress = _PIECE_BY_PIECE[compression]()
        parts = [decompress(data[start : start + _PIECE]) for start in range(0, at, _PIECE)]
        with suppress(*_FAILURES):
            while at < len(data):
                parts.append(decompress(data[at : at + step]))
                at += step
    return b"".join(parts)
