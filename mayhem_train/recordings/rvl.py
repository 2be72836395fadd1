"""RVL, the lossless run-length code for 16-bit depth (A. D. Wilson, "Fast Lossless Depth Image Compression", 2017)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.compilation import compiled

_SIZE = struct.Struct("<II")
_MOST_PIXELS = 2**26  # a damaged size may ask for more than fits in memory


def decode_rvl(data: bytes) -> NDArray[np.uint16]:
    """uint16 [H, W] out of what compressed_depth_image_transport writes: width, height, then the code.

    Raises:
        MayhemError: the data end before the image does, or are no RVL.
    """
    width, height = _SIZE.unpack_from(data) if len(data) >= _SIZE.size else (0, 0)
    if not 0 < width * height <= _MOST_PIXELS:
        raise MayhemError(f"The RVL image of {len(data)} bytes claims {width}x{height} pixels: it is damaged.")
    pixels = np.zeros(height * width, np.uint16)
    # The code is a string of words of four bytes, read from their highest four bits to their lowest.
    words = np.frombuffer(data, "<u4", (len(data) - _SIZE.size) // 4, _SIZE.size)
    if not _decode(words, pixels):
        raise MayhemError(f"The RVL image of {len(data)} bytes and {width}x{height} pixels is cut off or damaged.")
    return pixels.reshape(height, width)


@compiled(nogil=True)
def _decode(words: Any, pixels: Any) -> bool:
    """Runs of zeros and of differences to the pixel before; False where the words end before the pixels do."""
    total, at, nibble, previous = len(pixels), 0, 0, 0
    while at < total:
        zeros, nibble = _number(words, nibble)
        if zeros < 0 or at + zeros > total:
            return False
        at += zeros  # the pixels are zero already
        if at == total:
            return True
        count, nibble = _number(words, nibble)
        if count < 0 or at + count > total or (zeros == 0 and count == 0):
            return False
        for _ in range(count):
            code, nibble = _number(words, nibble)
            if code < 0:
                return False
            previous = (previous + ((code >> 1) ^ -(code & 1))) & 0xFFFF
            pixels[at] = previous
            at += 1
    return True


@compiled(nogil=True)
def _number(words: Any, nibble: int) -> tuple[int, int]:
    """A number in groups of three bits, the lowest first, each with a bit that says whether more follow; -1: none."""
    value = 0
    for shift in range(0, 33, 3):
        if nibble >= 8 * len(words):
            break
        bits = (int(words[nibble >> 3]) >> (28 - 4 * (nibble & 7))) & 0xF
        nibble += 1
        value |= (bits & 7) << shift
        if not bits & 8:
            return value, nibble
    return -1, nibble
