"""PNG files: which of their chunks make the picture, and its size, before anything is decoded."""

from __future__ import annotations

import struct
import zlib

from mayhem_ros.decoded_image import check_size
from mayhem_ros.errors import MayhemError

PNG_START = b"\x89PNG\r\n\x1a\n"


def picture_chunks(data: bytes, max_pixels: int, found: str) -> bytes:
    """The file with nothing but the chunks that make the picture.

    What decoders trust without need is gone: compressed texts and profiles that swell, lengths beyond the file,
    orientations, and the frames of an animation behind its first.

    Raises:
        MayhemError: the file is too large, cut off or damaged; the sentence begins with `found`.
    """
    kept = [PNG_START]
    at = len(PNG_START)
    for number in range(_MOST_CHUNKS + len(data) // _CHUNK):
        length, kind = _HEAD.unpack_from(data, at) if at + _HEAD.size <= len(data) else (0, b"")
        end = at + _HEAD.size + length + _CRC.size
        if end > len(data):
            raise MayhemError(f"{found} is cut off: its end is missing.")
        if kind in _KEPT:
            (expected,) = _CRC.unpack_from(data, end - _CRC.size)
            if zlib.crc32(memoryview(data)[at + 4 : end - _CRC.size]) != expected:
                raise MayhemError(f"{found} is damaged: its {kind.decode()} chunk contradicts its checksum.")
            kept.append(data[at:end])
        if number == 0:
            if kind != b"IHDR" or length != _HEADER.size:
                raise MayhemError(f"{found} is damaged: it does not begin with a PNG header.")
            width, height = _HEADER.unpack_from(data, at + _HEAD.size)[:2]
            check_size(width, height, max_pixels, found)
        if kind == b"IEND":
            return b"".join(kept)
        at = end
    raise MayhemError(f"{found} has more chunks than any camera writes.")


_HEAD = struct.Struct(">I4s")
_CRC = struct.Struct(">I")
_HEADER = struct.Struct(">IIBBBBB")
_KEPT = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
_MOST_CHUNKS = 1000
_CHUNK = 1024  # bytes of picture in a chunk on the average; encoders write eight thousand and more
