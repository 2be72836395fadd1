"""JPEG files: their size before they are decoded, and their damage when they are."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from mayhem_ros.decoded_image import DecodedImage, check_size
from mayhem_ros.errors import MayhemError

JPEG_START = b"\xff\xd8"


class JpegHeader(NamedTuple):
    """What stands before the first scan.

    Attributes:
        width, height: in pixels.
        components: 1 for grey, 3 for colour, 4 for CMYK.
        least_bytes: no whole picture of that size takes less.
        scan: where the first scan begins.
    """

    width: int
    height: int
    components: int
    least_bytes: int
    scan: int


def read_jpeg_header(data: bytes, found: str) -> JpegHeader:
    """Goes from segment to segment up to the first scan; nothing that is within a segment (a thumbnail) counts.

    Raises:
        MayhemError: there is no scan, or no frame header before it; the sentence begins with `found`.
    """
    frame: tuple[int, bytes] | None = None
    at = len(JPEG_START)
    for _ in range(_MOST_SEGMENTS):
        at = data.find(b"\xff", at)
        while 0 <= at < len(data) - 1 and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        if not 0 <= at < len(data) - 4:
            raise MayhemError(f"{found} is cut off: its end is missing.")
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SCAN[1]:
            if frame is None:
                break
            return _header(*frame, at, found)
        if marker == _END[1]:
            break
        if marker in _WITHOUT_LENGTH:
            at += 2
            continue
        if marker in _FRAMES and frame is None:
            frame = marker, data[at + 4 : at + 2 + length]
        at += 2 + length
    raise MayhemError(f"{found} is damaged: no JPEG frame and scan are found in it.")


def decode_jpeg(data: bytes, max_pixels: int, found: str, *, as_grey: bool = False) -> DecodedImage:
    """A JPEG as uint8 [H, W, 3] RGB, or [H, W, 1] where it is to be `as_grey`, as the camera sent it.

    A scan that is whole is a whole picture, with rubbish behind its end or without an end. What libjpeg complains of is
    damage: of that part of the picture it makes something up.

    Raises:
        MayhemError: the file is too large, cut off, or damaged so that there is no picture; the sentence begins with
            `found`.
    """
    header = read_jpeg_header(data, found)
    check_size(header.width, header.height, max_pixels, found)
    if len(data) - header.scan < header.least_bytes:
        raise MayhemError(
            f"{found} is cut off: a picture of {header.width}x{header.height} needs at least "
            f"{header.least_bytes} bytes."
        )
    scans = data.count(_SCAN, header.scan)
    if scans * header.width * header.height > _MOST_PASSES * max_pixels:
        raise MayhemError(
            f"{found} would take {scans} passes over {header.width}x{header.height} pixels: it is no camera's."
        )
    colours = "GRAY" if as_grey else "RGB"
    end, following = data.find(_END, header.scan), data.find(JPEG_START, header.scan)
    if end < 0:
        return _without_end(data, colours, found)
    try:
        return DecodedImage(simplejpeg.decode_jpeg(data, colours))
    except ValueError as complaint:
        if 0 <= following < end:  # another file begins where this one should end
            with suppress(MayhemError):
                return _without_end(data[:following], colours, found)
        return _damaged(data, colours, found, complaint)


_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN = {0xC0: 2, 0xC1: 2, 0xC2: 1}  # the least bits of a block: a code for its mean and one for its end
_WITHOUT_LENGTH = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))
_MOST_SEGMENTS = 1000
_MOST_PASSES = 16  # over an image of `max_pixels`; progressive JPEGs of the usual encoders have ten scans
_FLAW_OF_THE_END = "its end marker is missing"


def _header(marker: int, frame: bytes, scan: int, found: str) -> JpegHeader:
    if len(frame) < 6 or len(frame) < 6 + 3 * frame[5]:
        raise MayhemError(f"{found} is damaged: its JPEG frame header is cut off.")
    height, width, components = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big"), frame[5]
    factors = [(frame[at] >> 4, frame[at] & 15) for at in range(7, 6 + 3 * components, 3)]
    across, down = max((a for a, _ in factors), default=1) or 1, max((d for _, d in factors), default=1) or 1
    blocks = sum(-(-width * a // (8 * across)) * -(-height * d // (8 * down)) for a, d in factors)
    return JpegHeader(width, height, components, blocks * _HUFFMAN.get(marker, 0) // 8, scan)


def _without_end(data: bytes, colours: str, found: str) -> DecodedImage:
    """The picture where its scan is whole and only the end is missing; zeros may have been filled in for it."""
    stripped = data.rstrip(b"\0")
    for whole in (data, stripped + b"\0" if stripped.endswith(b"\xff") else stripped):
        try:
            return DecodedImage(simplejpeg.decode_jpeg(whole + _END, colours), (_FLAW_OF_THE_END,))
        except ValueError:
            continue
    raise MayhemError(f"{found} is cut off: its end is missing.")


def _damaged(data: bytes, colours: str, found: str, complaint: ValueError) -> DecodedImage:
    """What libjpeg makes of a picture of which it complains."""
    flaws = (str(complaint),)
    try:
        return DecodedImage(simplejpeg.decode_jpeg(data, colours, strict=False), flaws, is_damaged=True)
    except ValueError as error:
        reason = str(error)
    # libjpeg knows more proportions of colour to luma than TurboJPEG, and forgives more behind the picture.
    pixels = _by_opencv(data, colours)
    if pixels is None:
        raise MayhemError(f"{found} is damaged ({reason}).")
    if "subsampling" in reason:
        return DecodedImage(pixels)
    return DecodedImage(pixels, flaws, is_damaged=True)


def _by_opencv(data: bytes, colours: str) -> NDArray[Any] | None:
    flags = cv2.IMREAD_GRAYSCALE if colours == "GRAY" else cv2.IMREAD_COLOR
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is None:
        return None
    return pixels[..., None] if colours == "GRAY" else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
