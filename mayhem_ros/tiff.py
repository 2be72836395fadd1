"""TIFF files: which of their tags make the picture, and its size, before anything is decoded."""

from __future__ import annotations

import struct

from mayhem_ros.decoded_image import check_size, check_unpacked
from mayhem_ros.errors import MayhemError

TIFF_STARTS = (b"II*\x00", b"MM\x00*")


def picture_tags(data: bytes, max_pixels: int, found: str, most_bits: int = 16) -> bytes:
    """The file with a directory of nothing but the tags that make the picture, in strips, as encoders of cameras write.

    An orientation, which OpenCV follows whatever it is told, is gone with all the others.

    Raises:
        MayhemError: the file is too large, cut off, damaged, or stored in a way that no camera's is, as with samples of
            more than `most_bits`; the sentence begins with `found`.
    """
    order = "<" if data.startswith(b"II") else ">"
    damaged = MayhemError(f"{found} is damaged: its TIFF directory does not describe a picture.")
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        if count > _MOST_TAGS:
            raise damaged
        entries = [struct.unpack_from(f"{order}HHI4s", data, start + 2 + 12 * place) for place in range(count)]
    except struct.error as error:
        raise MayhemError(f"{found} is cut off: its TIFF directory is missing.") from error
    values: dict[int, list[int]] = {}
    kept = {}
    for tag, kind, length, value in entries:
        if tag not in _KEPT or tag in kept:
            continue
        size = _SIZES.get(kind, 0) * length
        (offset,) = struct.unpack(f"{order}I", value)
        if not size or kind not in _INTEGERS:
            raise damaged
        if size > 4 and offset + size > len(data):
            raise MayhemError(f"{found} is cut off: its end is missing.")
        stored = value[:size] if size <= 4 else data[offset : offset + size]
        values[tag] = list(struct.unpack(f"{order}{length}{_INTEGERS[kind]}", stored))
        kept[tag] = struct.pack(f"{order}HHI4s", tag, kind, length, value)
    if not kept.keys() >= _NEEDED:
        raise damaged
    (width, *_), (height, *_) = values[_WIDTH], values[_HEIGHT]
    check_size(width, height, max_pixels, found)
    compression = values.get(_COMPRESSION, [1])[0]
    bits, channels = values.get(_BITS, [1]), values.get(_CHANNELS, [1])[0]
    is_read = compression in _COMPRESSIONS and len(set(bits)) == 1 and bits[0] in _DEPTHS and 1 <= channels <= 4
    if not is_read or bits[0] > most_bits:
        raise MayhemError(
            f"{found} is a TIFF of {channels} channels of {bits[0]} bits, compression {compression}, which is not read."
        )
    check_unpacked(width * height * channels * bits[0] // 8, max_pixels, found)
    if any(at + length > len(data) for at, length in zip(values[_OFFSETS], values[_LENGTHS], strict=False)):
        raise MayhemError(f"{found} is cut off: its end is missing.")
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(kept[tag] for tag in sorted(kept)) + bytes(4)
    padded = data + bytes(len(data) % 2)
    return padded[:4] + struct.pack(f"{order}I", len(padded)) + padded[8:] + directory


_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _OFFSETS, _CHANNELS, _LENGTHS = 256, 257, 258, 259, 273, 277, 279
_NEEDED = {_WIDTH, _HEIGHT, _OFFSETS, _LENGTHS}
# Those above, and: photometric interpretation, rows of a strip, planes, predictor, palette, kind of sample.
_KEPT = _NEEDED | {_BITS, _COMPRESSION, _CHANNELS, 262, 278, 284, 317, 320, 339}
_COMPRESSIONS = {1, 5, 8, 32773, 32946}  # none, LZW, deflate, PackBits, and deflate by its older number
_DEPTHS = (8, 16, 32)  # bits of a sample
_SIZES = {3: 2, 4: 4, 1: 1}
_INTEGERS = {1: "B", 3: "H", 4: "I"}
_MOST_TAGS = 200
