"""A camera's JPEG as a file: its picture bit for bit, without what would have other tools show it otherwise."""

from __future__ import annotations

from mayhem_ros.compressed_images import mosaic_conversion
from mayhem_ros.jpeg import JPEG_START, jpeg_segments, read_jpeg_header

_METADATA = 0xE1  # EXIF and XMP, either of which may hold an orientation
_SCAN = 0xDA
_END = b"\xff\xd9"


def can_be_copied(data: bytes, format_: str) -> bool:
    """Whether a decodable compressed image is a JPEG of the picture itself, not of a Bayer mosaic."""
    if not data.startswith(JPEG_START):
        return False
    return mosaic_conversion(format_) is None or read_jpeg_header(data, "").components > 1


def jpeg_copy(data: bytes) -> bytes:
    """The file without EXIF and XMP, whose orientation the camera's calibration knows nothing of, and with an end."""
    parts, at, scan = [], 0, len(data)
    for segment in jpeg_segments(data):
        if segment.marker == _METADATA:
            parts.append(data[at : segment.start])
            at = segment.end
        if segment.marker == _SCAN:
            scan = segment.start
    end = b"" if data.rfind(_END, scan) >= 0 else _END
    return b"".join((*parts, data[at:], end))
