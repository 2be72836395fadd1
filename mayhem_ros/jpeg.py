"""JPEG files: their size before they are decoded, and their damage when they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from mayhem_ros.decoded_image import MAX_PIXELS, DecodedImage, check_size
from mayhem_ros.errors import MayhemError

JPEG_START = b"\xff\xd8"


class JpegHeader(NamedTuple):
    """What stands before the first scan.

    Attributes:
        width, height: in pixels.
        components: 1 for grey, 3 for colour, 4 for CMYK.
        least_bytes: no whole picture of that size takes less.
        scan: where the first scan begins.
        has_several_scans: it is progressive, or its first scan lacks a colour.
    """

    width: int
    height: int
    components: int
    least_bytes: int
    scan: int
    has_several_scans: bool


class Segment(NamedTuple):
    """One of the parts that a JPEG begins with: its marker, where that is, and where the next part may be."""

    marker: int
    start: int
    end: int


def jpeg_segments(data: bytes) -> Iterator[Segment]:
    """The segments up to the first scan, that one included; nothing that is within one (a thumbnail) counts.

    They end before the scan where the file does, where its end marker stands, or after more than any camera writes.
    """
    at = len(JPEG_START)
    for _ in range(_MOST_SEGMENTS):
        at = data.find(b"\xff", at)
        behind = _NO_FILL_BYTE.search(data, at) if at >= 0 else None
        if behind is None or behind.start() > len(data) - 4 or behind[0] == _END[1:]:
            return
        at = behind.start() - 1
        marker = data[at + 1]
        length = 0 if marker in _WITHOUT_LENGTH else int.from_bytes(data[at + 2 : at + 4], "big")
        yield Segment(marker, at, at + 2 + length)
        if marker == _SCAN[1]:
            return
        at += 2 + length


def read_jpeg_header(data: bytes, found: str) -> JpegHeader:
    """What the frame header and the first scan say.

    Raises:
        MayhemError: there is no scan, or no frame header before it; the sentence begins with `found`.
    """
    frame: Segment | None = None
    end = len(JPEG_START)
    for segment in jpeg_segments(data):
        if segment.marker in _FRAMES and frame is None:
            frame = segment
        if segment.marker == _SCAN[1] and frame is not None:
            return _header(frame.marker, data[frame.start + 4 : frame.end], data, segment.start, found)
        end = segment.end
    if data.find(_END, end) >= 0:
        raise MayhemError(f"{found} is damaged: no JPEG frame and scan are found in it.")
    raise MayhemError(f"{found} is cut off: its end is missing.")


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
    scans = data.count(_SCAN, header.scan) if header.has_several_scans else 1
    if scans * header.width * header.height > _MOST_PASSES * max(max_pixels, MAX_PIXELS):
        raise MayhemError(
            f"{found} would take {scans} passes over {header.width}x{header.height} pixels: it is no camera's."
        )
    colours = "GRAY" if as_grey else "RGB"
    if data.rfind(_END, header.scan) < 0:
        return _without_end(data, colours, found)
    try:
        return DecodedImage(simplejpeg.decode_jpeg(data, colours))
    except ValueError as complaint:
        following = data.find(JPEG_START, header.scan)
        if 0 <= following < data.find(_END, header.scan):  # another file begins where this one should end
            with suppress(MayhemError):
                return _without_end(data[:following], colours, found)
        return _damaged(data, colours, found, complaint)


_NO_FILL_BYTE = re.compile(rb"[^\xff]")
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = (0xC0, 0xC1, 0xC9)
_HUFFMAN = {0xC0: 2, 0xC1: 2, 0xC2: 1}  # the least bits of a block: a code for its mean and one for its end
_WITHOUT_LENGTH = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))
_MOST_SEGMENTS = 1000
_MOST_PASSES = 10  # over the largest image; so many scans do the usual encoders write in progressive JPEGs
_FLAW_OF_THE_END = "its end marker is missing"


def _header(marker: int, frame: bytes, data: bytes, scan: int, found: str) -> JpegHeader:
    if len(frame) < 6 or len(frame) < 6 + 3 * frame[5]:
        raise MayhemError(f"{found} is damaged: its JPEG frame header is cut off.")
    height, width, components = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big"), frame[5]
    factors = [(frame[at] >> 4, frame[at] & 15) for at in range(7, 6 + 3 * components, 3)]
    across, down = max((a for a, _ in factors), default=1) or 1, max((d for _, d in factors), default=1) or 1
    blocks = sum(-(-width * a // (8 * across)) * -(-height * d // (8 * down)) for a, d in factors)
    has_several_scans = marker not in _SEQUENTIAL or data[scan + 4] < components
    return JpegHeader(width, height, components, blocks * _HUFFMAN.get(marker, 0) // 8, scan, has_several_scans)


def _without_end(data: bytes, colours: str, found: str) -> DecodedImage:
    """The picture where its scan is whole and only the end is missing; zeros may have been filled in for it."""
    stripped = data.rstrip(b"\0")
    for whole in dict.fromkeys((data, stripped, stripped + b"\0")):  # which may be the scan's own after 0xFF
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
