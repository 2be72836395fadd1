"""Camera messages of any driver or recorder as RGB arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

from mayhem_ros.errors import MayhemError
from mayhem_ros.intensity_range import GREATEST_SAMPLE, IntensityRange


def decode_image(message: Any, intensity_range: IntensityRange | None = None) -> NDArray[np.uint8]:
    """A `sensor_msgs/Image` or `sensor_msgs/CompressedImage` as uint8 [H, W, 3] RGB, C-contiguous.

    Only the fields count, so messages of rclpy (`data` an `array('B')`) and of rosbags (`data` an ndarray) both work.
    A tight `rgb8` image is not copied: the result is a view of `message.data`, so do not write to it. Rows are `step`
    bytes apart; 16-bit samples follow `is_bigendian` and are scaled to 0..255; `8UC3` and `8UC4` are taken for OpenCV's
    BGR and BGRA. Of 16-bit grey and Bayer images (raw or PNG) `intensity_range` is shown, rounded to the nearest level
    and of two equally near to the even one; None shows all of 0..65535, as colour of 16 bits always does. A compressed image is what its bytes say (JPEG or PNG, in these formats' own colours), whatever its
    `format`, unless that names a depth format. An orientation in its EXIF data is ignored: the camera's calibration
    knows nothing of it.

    Raises:
        MayhemError: the message is no colour or grey image, or its data do not fit its description.
    """
    if hasattr(message, "encoding"):
        return _decode_raw(message, intensity_range)
    if hasattr(message, "format"):
        return _decode_compressed(message, intensity_range)
    raise MayhemError(f"A message of type {type(message).__name__} is no sensor_msgs/Image or CompressedImage.")


def sixteen_bit_samples(message: Any) -> NDArray[np.uint16] | None:
    """The samples [H, W] that an intensity range is for, grey or Bayer; None for any other image.

    Raises:
        MayhemError: as `decode_image`.
    """
    if hasattr(message, "encoding"):
        layout = _LAYOUTS.get(message.encoding, _LAYOUTS.get(message.encoding.lower()))
        if layout is None or layout.sample != np.uint16 or layout.channels > 1:
            return None
        return pixel_view(message, np.uint16)[..., 0]
    data = bytes(memoryview(message.data))
    return _decode_file(data, message, cv2.IMREAD_UNCHANGED) if _is_grey_of_sixteen_bits(data) else None


class _Layout(NamedTuple):
    """How one encoding's pixels lie in the rows, and OpenCV's conversion to RGB (None: it is RGB)."""

    sample: type[np.unsignedinteger[Any]]
    channels: int
    conversion: int | None


# OpenCV names a Bayer pattern by its second row's second and third pixel, ROS by its first two rows.
_BAYER = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}
_LAYOUTS = {
    "rgb8": _Layout(np.uint8, 3, None),
    "bgr8": _Layout(np.uint8, 3, cv2.COLOR_BGR2RGB),
    "8UC3": _Layout(np.uint8, 3, cv2.COLOR_BGR2RGB),
    "rgba8": _Layout(np.uint8, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout(np.uint8, 4, cv2.COLOR_BGRA2RGB),
    "8UC4": _Layout(np.uint8, 4, cv2.COLOR_BGRA2RGB),
    "mono8": _Layout(np.uint8, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": _Layout(np.uint8, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": _Layout(np.uint16, 3, None),
    "bgr16": _Layout(np.uint16, 3, cv2.COLOR_BGR2RGB),
    "rgba16": _Layout(np.uint16, 4, cv2.COLOR_RGBA2RGB),
    "bgra16": _Layout(np.uint16, 4, cv2.COLOR_BGRA2RGB),
    "mono16": _Layout(np.uint16, 1, cv2.COLOR_GRAY2RGB),
    **dict.fromkeys(("yuv422", "uyvy", "uyvy422"), _Layout(np.uint8, 2, cv2.COLOR_YUV2RGB_UYVY)),
    **dict.fromkeys(("yuv422_yuy2", "yuyv", "yuyv422", "yuy2"), _Layout(np.uint8, 2, cv2.COLOR_YUV2RGB_YUYV)),
    "yvyu": _Layout(np.uint8, 2, cv2.COLOR_YUV2RGB_YVYU),
    **{f"{pattern}8": _Layout(np.uint8, 1, conversion) for pattern, conversion in _BAYER.items()},
    **{f"{pattern}16": _Layout(np.uint16, 1, conversion) for pattern, conversion in _BAYER.items()},
}
_TWO_PLANES = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
_DEPTH_ENCODINGS = ("16UC1", "16SC1", "32FC1", "64FC1")
_YUV = (cv2.COLOR_YUV2RGB_UYVY, cv2.COLOR_YUV2RGB_YUYV, cv2.COLOR_YUV2RGB_YVYU)


def _decode_raw(message: Any, intensity_range: IntensityRange | None) -> NDArray[np.uint8]:
    encoding = message.encoding
    if encoding in _DEPTH_ENCODINGS:
        raise MayhemError(f"The image's encoding is {encoding}, which is depth, not colour: choose a colour topic.")
    if encoding.lower() in _TWO_PLANES:
        return _decode_two_planes(message, _TWO_PLANES[encoding.lower()])
    layout = _LAYOUTS.get(encoding, _LAYOUTS.get(encoding.lower()))
    if layout is None:
        raise MayhemError(
            f"The image's encoding is {encoding!r}, which is none of those that can be decoded: docs/recordings.md "
            "lists them."
        )
    pixels = pixel_view(message, layout.sample, layout.channels)
    try:
        rgb = _to_rgb(pixels, layout.conversion)
    except cv2.error as error:
        height, width = pixels.shape[:2]
        raise MayhemError(f"OpenCV cannot convert a {width}x{height} {encoding} image.") from error
    return rgb if rgb.dtype == np.uint8 else _scaled(rgb, intensity_range if layout.channels == 1 else None)


def _scaled(samples: NDArray[Any], intensity_range: IntensityRange | None) -> NDArray[np.uint8]:
    """16-bit samples in eight bits; at full range with the same rounding as cv_bridge."""
    low, high = intensity_range or (0, GREATEST_SAMPLE)
    above = np.maximum(samples, low) - low if low else samples
    return cv2.convertScaleAbs(above, alpha=255 / (high - low))  # type: ignore[return-value]


def pixel_view(message: Any, dtype: DTypeLike, channels: int = 1) -> NDArray[Any]:
    """A `sensor_msgs/Image`'s samples as [H, W, channels] in the machine's byte order, `step` bytes from row to row.

    A read-only view of `message.data`; a copy only where bytes are swapped or not aligned.

    Raises:
        MayhemError: the image is empty, or its data do not fit its description.
    """
    return _view(message, message.height, message.width, dtype, channels)


def _decode_two_planes(message: Any, conversion: int) -> NDArray[np.uint8]:
    """One row of colour, a pair of bytes for two by two pixels, for every two rows of luma that stand before it."""
    height, width = message.height, message.width
    even_height, even_width = height + height % 2, width + width % 2
    rows = _view(message, height + even_height // 2, even_width, np.uint8, 1)[..., 0]
    luma, colour = rows[:height], rows[height:]
    if height % 2:
        luma = np.concatenate([luma, luma[-1:]])
    # The colour of an odd picture's last pixels is in the bytes; their luma, which is then missing, is cut off again.
    pairs = np.ascontiguousarray(colour).reshape(even_height // 2, even_width // 2, 2)
    rgb = cv2.cvtColorTwoPlane(np.ascontiguousarray(luma), pairs, conversion)
    return np.ascontiguousarray(rgb[:height, :width])


def _view(message: Any, height: int, width: int, dtype: DTypeLike, channels: int) -> NDArray[Any]:
    """`pixel_view` of that many rows of that many pixels."""
    sample = np.dtype(dtype)
    step, size = message.step, len(message.data)
    row = width * channels * sample.itemsize
    found = (
        f"The {message.encoding} image is {message.width}x{message.height} with step {step} and {size} bytes of data"
    )
    if message.height == 0 or message.width == 0:
        raise MayhemError(f"{found}: it is empty.")
    if step < row:
        raise MayhemError(f"{found}: a row needs a step of at least {row}.")
    # The last row's padding may be missing; anything else means that the description or the data are broken.
    if not step * (height - 1) + row <= size <= step * height:
        raise MayhemError(f"{found}: there should be {step * height} bytes.")
    if message.is_bigendian:
        sample = sample.newbyteorder(">")
    strides = (step, channels * sample.itemsize, sample.itemsize)
    data = np.frombuffer(message.data, np.uint8)
    pixels: NDArray[Any] = np.ndarray((height, width, channels), sample, data, strides=strides)
    return np.require(pixels, dtype, "A")


def _to_rgb(pixels: NDArray[Any], conversion: int | None) -> NDArray[Any]:
    if conversion is None:
        return np.ascontiguousarray(pixels)
    width = pixels.shape[1]
    if conversion in _YUV and width % 2:
        # Two pixels share their colour; the last one of an odd row borrows the second half from its neighbour.
        pixels = np.concatenate([pixels, pixels[:, -2:-1]], axis=1)
        return np.ascontiguousarray(cv2.cvtColor(pixels, conversion)[:, :width])
    return cv2.cvtColor(pixels, conversion)


_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


def _decode_compressed(message: Any, intensity_range: IntensityRange | None) -> NDArray[np.uint8]:
    if "compressedDepth" in message.format or any(encoding in message.format for encoding in _DEPTH_ENCODINGS):
        raise MayhemError(
            f"The compressed image's format is {message.format!r}, which is depth, not colour: choose a colour topic."
        )
    data = bytes(memoryview(message.data))
    if intensity_range is not None and _is_grey_of_sixteen_bits(data):
        samples = _decode_file(data, message, cv2.IMREAD_UNCHANGED)
        return cv2.cvtColor(_scaled(samples, intensity_range), cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]
    bgr = _decode_file(data, message, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr)  # type: ignore[return-value]


def _is_grey_of_sixteen_bits(data: bytes) -> bool:
    """Whether a file is a PNG whose head says so: its bit depth and its colour type."""
    return data.startswith(_PNG_START) and data[24:26] == b"\x10\0"


def _decode_file(data: bytes, message: Any, flags: int) -> NDArray[Any]:
    """What OpenCV makes of a whole JPEG or PNG file."""
    found = f"The compressed image of {len(data)} bytes (format {message.format!r})"
    if data.startswith(_JPEG_START):
        # OpenCV fills the missing part of a cut-off file with grey. Scan data never hold these two bytes.
        whole = data.rfind(_JPEG_END) > data.rfind(_JPEG_SCAN)
    elif data.startswith(_PNG_START):
        whole = _PNG_END in data
    else:
        raise MayhemError(f"{found} is neither JPEG nor PNG: it starts with {data[:8].hex(' ') or 'nothing'}.")
    if not whole:
        raise MayhemError(f"{found} is cut off: its end is missing.")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise MayhemError(f"{found} cannot be decoded by OpenCV.") from error
    if pixels is None:
        raise MayhemError(f"{found} is damaged: OpenCV cannot decode it.")
    return pixels
