"""Files in memory that OpenCV decodes: checked first, and then given to it with nothing but what makes the picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_ros.png import PNG_START, picture_chunks
from mayhem_ros.tiff import TIFF_STARTS, picture_tags
from mayhem_ros.webp import check_webp, is_webp


def is_image_file(data: bytes) -> bool:
    """Whether bytes begin as a PNG, WebP or TIFF does."""
    return data.startswith((PNG_START, *TIFF_STARTS)) or is_webp(data)


def decode_file(data: bytes, max_pixels: int, found: str, most_bits: int = 16) -> NDArray[Any]:
    """A PNG, WebP or TIFF as it is stored: [H, W] or [H, W, 3] BGR, without an alpha channel, of its own dtype.

    But a PNG of colours is of eight bits. A TIFF's samples may have `most_bits`: 32 where it holds depth.

    Raises:
        MayhemError: the file is too large, cut off or damaged; the sentence begins with `found`.
    """
    flags = _AS_STORED
    if data.startswith(PNG_START):
        data = picture_chunks(data, max_pixels, found)
        if data[_COLOUR_TYPE] != _GREY:
            flags ^= cv2.IMREAD_ANYDEPTH  # libpng drops the lower eight bits row by row, OpenCV all at once
    elif is_webp(data):
        check_webp(data, max_pixels, found)
    else:
        data = picture_tags(data, max_pixels, found, most_bits)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise MayhemError(f"{found} cannot be decoded by OpenCV.") from error
    if pixels is None:
        raise MayhemError(f"{found} is damaged: OpenCV cannot decode it.")
    return pixels


_COLOUR_TYPE, _GREY = 25, 0  # where a PNG's header has it
_AS_STORED = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
