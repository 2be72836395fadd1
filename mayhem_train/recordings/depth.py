"""Depth images of any driver or recorder with their metres: never scaled, never cut to eight bits."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.decoded_image import MAX_PIXELS
from mayhem_ros.errors import MayhemError
from mayhem_ros.image_files import decode_file
from mayhem_ros.png import PNG_START
from mayhem_ros.raw_encodings import depth_encodings
from mayhem_ros.raw_images import pixel_view
from mayhem_ros.tiff import TIFF_STARTS
from mayhem_train.recordings.camera_makers import is_depth_stream

MILLIMETRES, METRES = 0.001, 1.0


@dataclass(frozen=True)
class DepthImage:
    """One depth image.

    Attributes:
        pixels: uint16 or float32 [H, W], the recorded values; they may be read-only. 0 or NaN where nothing was
            measured.
        metres_per_unit: metres that one unit of `pixels` stands for: 0.001 for uint16, unless the recording says
            otherwise; 1.0 for float32.
        flaws: what of the message is not as it should be though it gave a picture.
    """

    pixels: NDArray[np.uint16] | NDArray[np.float32]
    metres_per_unit: float
    flaws: tuple[str, ...] = ()


def decode_depth(message: Any, unit: float | None = None) -> DepthImage:
    """A `sensor_msgs/Image` or `sensor_msgs/CompressedImage` of rosbags or rclpy as depth.

    Raw images are 16UC1 (or mono16 or Z16, which some write instead) in millimetres or 32FC1 in metres, in either
    byte order, rows `step` bytes apart (REP 118). Compressed ones are `compressedDepth` (PNG or RVL behind a header of
    12 bytes; 32FC1 there is quantised by its inverse, and 0 means that nothing was measured) or a plain 16-bit PNG or
    TIFF.

    Args:
        message: the image.
        unit: metres of one unit of integers, where the recording says that they are not millimetres.

    Raises:
        MayhemError: the message is no depth image, or its data do not fit its description.
    """
    if hasattr(message, "encoding"):
        depth = _decode_raw(message)
    elif hasattr(message, "format"):
        depth = _decode_compressed(message)
    else:
        raise MayhemError(f"A message of type {type(message).__name__} is no sensor_msgs/Image or CompressedImage.")
    return replace(depth, metres_per_unit=unit) if unit and depth.pixels.dtype == np.uint16 else depth


def is_image_message(message: Any) -> bool:
    """Whether a message is a `sensor_msgs/Image` or `sensor_msgs/CompressedImage`, judged by its fields."""
    return hasattr(message, "data") and (hasattr(message, "encoding") or hasattr(message, "format"))


def is_depth_message(message: Any, topic: str = "", *, is_ranged: bool = False) -> bool:
    """Whether an image says of itself that it is depth.

    Grey of 16 bits may be either, and so may 16UC1 that is asked for with an intensity range (`is_ranged`): there the
    topic's name decides. Elsewhere names count for nothing, since depth cameras have colour too; but for those that
    camera makers' own software gives.
    """
    stream = is_depth_stream(topic)
    if stream is not None:
        return stream
    named = "depth" in topic.lower()
    encodings = depth_encodings(is_ranged=is_ranged and not named)
    if hasattr(message, "encoding"):
        # A video's encoding names the codec and, behind semicolons, what was encoded.
        words = message.encoding.upper().split(";")
        return any(word in (*encodings, "Z16") for word in words) or (named and message.encoding == "mono16")
    if not hasattr(message, "format"):
        return False
    said = message.format.lower()
    if any(name.lower() in said for name in ("compressedDepth", *encodings)):
        return True
    head = bytes(message.data[:26])
    return named and head.startswith(PNG_START) and head[24:] == _GREY_OF_16_BITS


_GREY_OF_16_BITS = bytes((16, 0))  # a PNG's bit depth and colour type
_INTEGER, _FLOAT = ("16UC1", "mono16", "Z16"), ("32FC1",)
_RAW = {**dict.fromkeys(_INTEGER, np.uint16), **dict.fromkeys(_FLOAT, np.float32)}

# The header that compressed_depth_image_transport writes: the kind of quantisation and its two parameters.
_HEADER = struct.Struct("<iff")


def _decode_raw(message: Any) -> DepthImage:
    dtype = _RAW.get(message.encoding)
    if dtype is None:
        raise MayhemError(
            f"The image's encoding is {message.encoding!r}, which is no depth that can be read ({', '.join(_RAW)})."
        )
    pixels, flaws = pixel_view(message, dtype)
    return replace(_depth_image(np.ascontiguousarray(pixels[..., 0])), flaws=flaws)


def _decode_compressed(message: Any) -> DepthImage:
    data = bytes(memoryview(message.data))
    found = f"The compressed image of {len(data)} bytes (format {message.format!r})"
    if data.startswith((PNG_START, *TIFF_STARTS)):
        pixels = _decode_file(data, found)
        if pixels.dtype == np.uint16 and any(name in message.format for name in _FLOAT):
            raise MayhemError(f"{found} lacks the header that says how its metres were quantised.")
        return _depth_image(pixels)
    # The bytes say what they are; old transports leave "compressedDepth" out of the format.
    body = data[_HEADER.size :]
    if body.startswith(PNG_START):
        pixels = _decode_file(body, found)
    elif "compressedDepth rvl" in message.format:
        from mayhem_train.recordings.rvl import decode_rvl  # needs numba, which little else does

        pixels = decode_rvl(body)
    else:
        start = data[:8].hex(" ") or "nothing"
        raise MayhemError(f"{found} is no depth, or damaged: it starts with {start}, neither PNG, TIFF nor RVL.")
    if any(name in message.format for name in _FLOAT):
        _, a, b = _HEADER.unpack_from(data)
        return _depth_image(_metres(pixels, a, b))
    if any(name in message.format for name in _INTEGER):
        return _depth_image(pixels)
    raise MayhemError(f"{found} does not say whether it is 16UC1 or 32FC1.")


def _decode_file(data: bytes, found: str) -> NDArray[Any]:
    """A PNG's or TIFF's pixels as they are."""
    pixels = decode_file(data, MAX_PIXELS, found, most_bits=32)
    if pixels.ndim != 2 or pixels.dtype not in (np.uint16, np.float32):
        shape = "x".join(map(str, pixels.shape))
        raise MayhemError(f"{found} holds {shape} pixels of {pixels.dtype}, which is no depth.")
    return pixels


def _metres(quantised: NDArray[np.uint16], a: float, b: float) -> NDArray[np.float32]:
    """The transport's own formula in its own precision; 0 stands for no measurement."""
    with np.errstate(divide="ignore"):
        metres = np.float32(a) / (quantised.astype(np.float32) - np.float32(b))
    metres[quantised == 0] = np.nan
    return metres


def _depth_image(pixels: NDArray[Any]) -> DepthImage:
    return DepthImage(pixels, MILLIMETRES if pixels.dtype == np.uint16 else METRES)
