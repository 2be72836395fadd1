"""WebP files: their size before they are decoded."""

from __future__ import annotations

from mayhem_ros.decoded_image import check_size
from mayhem_ros.errors import MayhemError


def is_webp(data: bytes) -> bool:
    """Whether a file begins as WebP does."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def check_webp(data: bytes, max_pixels: int, found: str) -> None:
    """Refuses what is too large, cut off, or an animation.

    Raises:
        MayhemError: it is; the sentence begins with `found`.
    """
    if len(data) < _LEAST or len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise MayhemError(f"{found} is cut off: its end is missing.")
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    elif kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8X":
        if data[20] & _ANIMATION:
            raise MayhemError(f"{found} is an animation, no camera image.")
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    else:
        raise MayhemError(f"{found} is damaged: it does not begin with a WebP header.")
    check_size(width, height, max_pixels, found)


_LEAST = 30
_ANIMATION = 0x02
