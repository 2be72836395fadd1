"""What decoding one camera message gives, and how large an image may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError

MAX_PIXELS = 50_000_000
"""Pixels of an image that are decoded unless told otherwise; decoded they take 150 MB."""
_LONGEST_SIDE = 65_535  # of a JPEG; pixels in a single row or column would take many times as long as in a picture


@dataclass(frozen=True)
class DecodedImage:
    """One image.

    Attributes:
        pixels: uint8 [H, W, 3] RGB, C-contiguous. Do not write to it: it may be a view of the message.
        flaws: what of the message is not as it should be though it gave a picture, each in the decoder's words.
        is_damaged: whether pixels are wrong for it; else the flaws are of the description alone.
    """

    pixels: NDArray[np.uint8]
    flaws: tuple[str, ...] = ()
    is_damaged: bool = False


def check_unpacked(unpacked: int, max_pixels: int, found: str) -> None:
    """Refuses a picture whose samples take more than four bytes for each of the most pixels, before they are unpacked.

    So images of 16 bits and of colours may not be quite as large as the others, which take half the time and memory.

    Raises:
        MayhemError: they do; the sentence begins with `found`.
    """
    most = 4 * max(max_pixels, MAX_PIXELS)
    if unpacked > most:
        raise MayhemError(
            f"{found} would take {unpacked} bytes when it is unpacked, more than the {most} that are decoded at most: "
            "it is damaged, or max_pixels is too low."
        )


def check_size(width: int, height: int, max_pixels: int, found: str) -> None:
    """Refuses what would be too large, before anything of it is decoded.

    Raises:
        MayhemError: it is empty, longer than any camera's or has more than so many pixels; the sentence begins with
            `found`.
    """
    if width <= 0 or height <= 0:
        raise MayhemError(f"{found} is {width}x{height} pixels: it is empty.")
    if width * height > max_pixels:
        raise MayhemError(
            f"{found} is {width}x{height} pixels, more than the {max_pixels} that are decoded at most: "
            "it is damaged, or max_pixels is too low."
        )
    if max(width, height) > _LONGEST_SIDE:
        raise MayhemError(f"{found} is {width}x{height} pixels, longer than any camera's: it is damaged.")
