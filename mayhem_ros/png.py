"""PNG files: which of their chunks make the picture, and its size, before anything is decoded."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from mayhem_ros.decoded_image import check_size, check_unpacked
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
    packed: list[memoryview] = []
    unpacked = 0
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
            width, height, bits, colour, _, _, interlaced = _HEADER.unpack_from(data, at + _HEAD.size)
            check_size(width, height, max_pixels, found)
            unpacked = _unpacked_size(width, height, bits, colour, interlaced)
            # The passes of an interlaced picture take twice the time.
            check_unpacked(2 * unpacked if interlaced else unpacked, max_pixels, found)
        if kind == b"IDAT":
            packed.append(memoryview(data)[at + _HEAD.size : end - _CRC.size])
        if kind == b"IEND":
            if _bytes_behind(packed, unpacked) > _MOST_BEHIND:
                raise MayhemError(f"{found} is damaged: its picture is followed by more data than any encoder writes.")
            return b"".join(kept)
        at = end
    raise MayhemError(f"{found} has more chunks than any camera writes.")


def _unpacked_size(width: int, height: int, bits: int, colour: int, interlaced: int) -> int:
    """How many bytes the rows take, each behind that of its filter; at most, where the picture is interlaced."""
    row = -(-width * bits * _CHANNELS.get(colour, 4) // 8)
    return height * (1 + row) + (_PASSES * (height + row) if interlaced else 0)


def _bytes_behind(packed: Sequence[memoryview], picture: int) -> int:
    """Packed bytes that stand behind a picture of so many unpacked ones; libpng would unpack them all, for nothing."""
    left = sum(map(len, packed))
    if left <= _MOST_BEHIND:
        return 0
    unpacking = zlib.decompressobj()
    for chunk in packed:
        for start in range(0, len(chunk), _PIECE):
            piece: bytes | memoryview = chunk[start : start + _PIECE]
            left -= len(piece)
            while piece and picture > 0:
                try:
                    picture -= len(unpacking.decompress(piece, _MOST_AT_ONCE))
                except zlib.error:
                    return 0  # where libpng ends as well
                piece = unpacking.unconsumed_tail
            if picture <= 0:
                return left
    return 0


_HEAD = struct.Struct(">I4s")
_CRC = struct.Struct(">I")
_HEADER = struct.Struct(">IIBBBBB")
_KEPT = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the kind of colour
_PASSES = 7
_PIECE, _MOST_AT_ONCE = 1 << 14, 1 << 20
_MOST_BEHIND = 1 << 17  # bytes, which are 130 MB when they are unpacked
_MOST_CHUNKS = 1000
_CHUNK = 1024  # bytes of picture in a chunk on the average; encoders write eight thousand and more
