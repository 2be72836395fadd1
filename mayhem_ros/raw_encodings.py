"""What raw images' encodings mean, by the names of ROS, camera makers, simulators and video libraries."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np

DEPTH_ENCODINGS = ("16UC1", "16SC1", "32FC1", "64FC1")
_DEPTH_OR_GREY = "16UC1"
"""What depth cameras send and many thermal cameras too."""


class Layout(NamedTuple):
    """How one encoding's pixels lie in the rows, and OpenCV's conversion to RGB (None: it is RGB)."""

    sample: type[np.unsignedinteger[Any]]
    channels: int
    conversion: int | None


class Planes(NamedTuple):
    """YUV with its luma first and its colour behind: U and V of `across` by `down` pixels.

    Attributes:
        is_interleaved: U and V alternate in one plane, else each has a plane of its own.
        is_v_first: V stands before U.
    """

    across: int
    down: int
    is_interleaved: bool
    is_v_first: bool = False


@lru_cache(64)
def layout_of(encoding: str) -> Layout | Planes | None:
    """What an encoding means, by whichever of its names; None for one that is not known."""
    return _BY_NAME.get(_plain(encoding))


def bayer_conversion(encoding: str) -> int | None:
    """OpenCV's conversion to RGB of a Bayer mosaic; None where the encoding is none."""
    layout = layout_of(encoding)
    return layout.conversion if isinstance(layout, Layout) and layout.conversion in _BAYER.values() else None


def depth_encodings(*, is_ranged: bool) -> tuple[str, ...]:
    """The encodings that are depth; beside an intensity range 16UC1 is a thermal camera's grey."""
    return tuple(name for name in DEPTH_ENCODINGS if not (is_ranged and name == _DEPTH_OR_GREY))


def refusal_of_depth(what: str, said: str) -> str:
    """The sentence on an image whose encoding or format is depth."""
    thermal = ", or give an intensity range if a thermal camera sent it" if _DEPTH_OR_GREY in said.upper() else ""
    return f"{what} is {said}, which is depth, not colour: choose a colour topic{thermal}."


def is_grey_or_bayer(layout: Layout) -> bool:
    """Whether each pixel is one sample of brightness."""
    return layout.conversion == cv2.COLOR_GRAY2RGB or layout.conversion in _BAYER.values()


def _plain(name: str) -> str:
    """`RGB_INT8`, `rgb-int8` and `rgbint8` are one name, and `CV_8UC3` is `8uc3`."""
    return re.sub("[^a-z0-9]", "", name.lower()).removeprefix("cv")


_WIDE = (10, 12, 14, 16)  # bits of samples that take sixteen; packed ones have names of their own (mono12p)

# OpenCV names a Bayer pattern by its second row's second and third pixel, ROS by its first two rows.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}


def _bayer_names() -> dict[str, Layout]:
    """ROS `bayer_rggb8`, libcamera `SRGGB8`, GenICam `BayerRG8`, and the bare pattern, which is of eight bits.

    Mosaics of 10, 12 and 14 bits lie in the lower bits of sixteen.
    """
    names = {}
    for pattern, conversion in _BAYER.items():
        eight, sixteen = Layout(np.uint8, 1, conversion), Layout(np.uint16, 1, conversion)
        names[pattern] = names[f"bayer{pattern}"] = eight
        for start in (f"bayer{pattern}", pattern, f"s{pattern}", f"bayer{pattern[:2]}"):
            names[f"{start}8"] = eight
            names.update({f"{start}{bits}": sixteen for bits in _WIDE})
        names[f"bayer{pattern}16le"] = sixteen
    return names


_BYTE, _WORD = np.uint8, np.uint16
# By the name of ROS; behind it those of OpenCV, GenICam, Gazebo, V4L2, FFmpeg and GStreamer, and common spellings.
_NAMES: list[tuple[str, Layout | Planes]] = [
    ("rgb8 rgb rgb24 rgb888 r8g8b8 rgbint8 rgb8packed rgb3", Layout(_BYTE, 3, None)),
    ("bgr8 8uc3 bgr bgr24 bgr888 b8g8r8 bgrint8 bgr8packed bgr3", Layout(_BYTE, 3, cv2.COLOR_BGR2RGB)),
    ("rgba8 rgba rgba32 rgba8888 r8g8b8a8 rgbaint8 rgba8packed rgbx rgb0", Layout(_BYTE, 4, cv2.COLOR_RGBA2RGB)),
    ("bgra8 8uc4 bgra bgra32 bgra8888 b8g8r8a8 bgraint8 bgra8packed bgrx bgr0", Layout(_BYTE, 4, cv2.COLOR_BGRA2RGB)),
    ("mono8 8uc1 mono gray grey gray8 grey8 y8 y800 l8 lint8", Layout(_BYTE, 1, cv2.COLOR_GRAY2RGB)),
    ("rgb16 rgb48 rgb48le r16g16b16 rgbint16 rgb16packed", Layout(_WORD, 3, None)),
    ("bgr16 16uc3 bgr48 bgr48le b16g16r16 bgrint16 bgr16packed", Layout(_WORD, 3, cv2.COLOR_BGR2RGB)),
    ("rgba16 rgba64 rgba64le", Layout(_WORD, 4, cv2.COLOR_RGBA2RGB)),
    ("bgra16 16uc4 bgra64 bgra64le", Layout(_WORD, 4, cv2.COLOR_BGRA2RGB)),
    ("mono16 16uc1 y16le l16 lint16", Layout(_WORD, 1, cv2.COLOR_GRAY2RGB)),
    ("yuv422 uyvy uyvy422 yuv422uyvy yuv4228uyvy yuv422packed", Layout(_BYTE, 2, cv2.COLOR_YUV2RGB_UYVY)),
    ("yuv422yuy2 yuyv yuyv422 yuy2 yuv422yuyv yuv4228", Layout(_BYTE, 2, cv2.COLOR_YUV2RGB_YUYV)),
    ("yvyu yvyu422", Layout(_BYTE, 2, cv2.COLOR_YUV2RGB_YVYU)),
    # What others call RGB565, red in the high bits, is OpenCV's BGR565.
    ("rgb565 rgb565le r5g6b5 rgbp", Layout(_WORD, 1, cv2.COLOR_BGR5652RGB)),
    ("bgr565 bgr565le b5g6r5", Layout(_WORD, 1, cv2.COLOR_BGR5652BGR)),
    ("nv12 yuvnv12", Planes(2, 2, True)),
    ("nv21 yuvnv21", Planes(2, 2, True, True)),
    ("i420 yuv420 yuv420p yuvi420 iyuv yu12 yuv420planar", Planes(2, 2, False)),
    ("yv12 yvu420 yvu420p yuvyv12", Planes(2, 2, False, True)),
    ("nv16", Planes(2, 1, True)),
    ("nv61", Planes(2, 1, True, True)),
    ("i422 yuv422p yu16 y42b 422p yuv422planar", Planes(2, 1, False)),
    ("yv16 yvu422p", Planes(2, 1, False, True)),
    ("nv24", Planes(1, 1, True)),
    ("nv42", Planes(1, 1, True, True)),
    ("i444 yuv444 yuv444p y444 yuv444planar", Planes(1, 1, False)),
    ("yv24 yvu444p", Planes(1, 1, False, True)),
]
_BY_NAME: dict[str, Layout | Planes] = {
    **{name: layout for names, layout in _NAMES for name in names.split()},
    **_bayer_names(),
    **{
        name: Layout(np.uint16, 1, cv2.COLOR_GRAY2RGB)
        for bits in _WIDE
        for name in f"mono{bits} gray{bits} grey{bits} gray{bits}le grey{bits}le y{bits}".split()
    },
    # V4L2's own names of mosaics, which say no pattern.
    "ba81": Layout(np.uint8, 1, _BAYER["bggr"]),
    "byr2": Layout(np.uint16, 1, _BAYER["bggr"]),
    "rg16": Layout(np.uint16, 1, _BAYER["rggb"]),
    "gb16": Layout(np.uint16, 1, _BAYER["gbrg"]),
    "gr16": Layout(np.uint16, 1, _BAYER["grbg"]),
}
