"""What decoding one camera message gives, and how large an image may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError

MAX_PIXELS = 50_000_000
"""Pixels of an image that are decoded unless told otherwise; decoded they take 150 MB."""


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


def check_size(width: int, height: int, max_pixels: int, found: str) -> None:
    """Refuses what would be too large, before anything of it is decoded.

    Raises:
        MayhemError: it is empty or has more than so many pixels; the sentence begins with `found`.
    """
    if width <= 0 or height <= 0:
        raise MayhemError(f"{found} is {width}x{height} pixels: it is empty.")
    if width * height > max_pixels:
        raise MayhemError(
            f"{found} is {width}x{height} pixels, more than the {max_pixels} that are decoded at most: "
            "it is damaged, or max_pixels is too low."
        )
