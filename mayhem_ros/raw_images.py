"""`sensor_msgs/Image`: pixels row by row, or luma and colour in planes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

from mayhem_ros.decoded_image import DecodedImage, check_size
from mayhem_ros.errors import MayhemError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_ros.raw_encodings import Planes, depth_encodings, is_grey_or_bayer, layout_of, refusal_of_depth
from mayhem_ros.sixteen_bits import eight_bit


def decode_raw(message: Any, max_pixels: int, intensity_range: IntensityRange | None = None) -> DecodedImage:
    """A raw image of any encoding that has a name in `raw_encodings`; the range is for grey and Bayer of 16 bits.

    With a range 16UC1 is grey, as thermal cameras send it; without one it is depth.

    Raises:
        MayhemError: the encoding is none of them or is depth, or the data do not fit it.
    """
    encoding = message.encoding
    if encoding.upper() in depth_encodings(is_ranged=intensity_range is not None):
        raise MayhemError(refusal_of_depth("The image's encoding", encoding))
    layout = layout_of(encoding)
    if layout is None:
        raise MayhemError(
            f"The image's encoding is {encoding[:40]!r}, which is none of those that can be decoded: "
            "docs/recordings.md lists them."
        )
    if message.width and message.height:  # what is empty is described by its step and data as well, further down
        check_size(message.width, message.height, max_pixels, f"The {encoding} image")
    try:
        if isinstance(layout, Planes):
            luma, colour, flaws = _planes(message, layout)
            return DecodedImage(_planes_to_rgb(luma, colour, layout), flaws)
        samples, flaws = pixel_view(message, layout.sample, layout.channels)
        rgb = _to_rgb(samples, layout.conversion)
        del samples  # which may be a copy, beside which those of another depth would need half as much again
        shown = intensity_range if is_grey_or_bayer(layout) else None
        return DecodedImage(eight_bit(rgb, shown), flaws)
    except cv2.error as error:
        raise MayhemError(f"OpenCV cannot convert a {message.width}x{message.height} {encoding} image.") from error


def raw_samples(message: Any) -> NDArray[np.uint16] | None:
    """The samples [H, W] of grey or Bayer of 16 bits, 16UC1 among them; None for any other encoding."""
    layout = layout_of(message.encoding)
    if isinstance(layout, Planes) or layout is None or layout.sample != np.uint16 or not is_grey_or_bayer(layout):
        return None
    return pixel_view(message, np.uint16)[0][..., 0]


def pixel_view(message: Any, dtype: DTypeLike, channels: int = 1) -> tuple[NDArray[Any], tuple[str, ...]]:
    """A `sensor_msgs/Image`'s samples as [H, W, channels] in the machine's byte order, and what is wrong with it.

    A read-only view of `message.data`; a copy only where bytes are swapped or not aligned. Rows are `step` bytes
    apart, or without a gap where `step` cannot be true and there are exactly as many bytes as the pixels need.

    Raises:
        MayhemError: the image is empty, or its data do not fit its description.
    """
    sample = np.dtype(dtype)
    row = message.width * channels * sample.itemsize
    (place,), flaws = _placed(message, [_Plane(message.height, row, message.step)])
    if message.is_bigendian:
        sample = sample.newbyteorder(">")
    shape = (message.height, message.width, channels)
    strides = (place.stride, channels * sample.itemsize, sample.itemsize)
    pixels: NDArray[Any] = np.ndarray(shape, sample, np.frombuffer(message.data, np.uint8), strides=strides)
    return np.require(pixels, dtype, "A"), flaws


class _Plane(NamedTuple):
    """Rows of `row` bytes each, `stride` bytes apart."""

    rows: int
    row: int
    stride: int


def _placed(message: Any, planes: Sequence[_Plane]) -> tuple[Sequence[_Plane], tuple[str, ...]]:
    """The planes as they lie in the data one behind the other, and what is wrong with `step`."""
    size = len(message.data)
    found = (
        f"The {message.encoding} image is {message.width}x{message.height} with step {message.step} and {size} bytes "
        "of data"
    )
    if message.height == 0 or message.width == 0:
        raise MayhemError(f"{found}: it is empty.")
    expected = sum(plane.rows * plane.stride for plane in planes)
    # The last row's padding may be missing; anything else means that the description or the data are broken.
    least = expected - (planes[-1].stride - planes[-1].row)
    if all(plane.stride >= plane.row for plane in planes) and least <= size <= expected:
        return planes, ()
    if size == sum(plane.rows * plane.row for plane in planes):
        flaw = f"step is {message.step}, but the {size} bytes are rows of {planes[0].row} without a gap"
        return [plane._replace(stride=plane.row) for plane in planes], (flaw,)
    if message.step < planes[0].row:
        raise MayhemError(f"{found}: a row needs a step of at least {planes[0].row}.")
    raise MayhemError(f"{found}: there should be {expected} bytes.")


def _to_rgb(pixels: NDArray[Any], conversion: int | None) -> NDArray[Any]:
    if conversion is None:
        return np.ascontiguousarray(pixels)
    width = pixels.shape[1]
    if conversion in _YUV and width % 2:
        # Two pixels share their colour; the last one of an odd row borrows the second half from its neighbour.
        pixels = np.concatenate([pixels, pixels[:, -2:-1]], axis=1)
        return np.ascontiguousarray(cv2.cvtColor(pixels, conversion)[:, :width])
    if conversion in _FIVE_SIX_FIVE:
        pixels = pixels.view(np.uint8)
    return cv2.cvtColor(pixels, conversion)


_YUV = (cv2.COLOR_YUV2RGB_UYVY, cv2.COLOR_YUV2RGB_YUYV, cv2.COLOR_YUV2RGB_YVYU)
_FIVE_SIX_FIVE = (cv2.COLOR_BGR5652RGB, cv2.COLOR_BGR5652BGR)
_BAND = 256  # rows converted at once where the conversion needs several times their memory


def _planes(message: Any, layout: Planes) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[str, ...]]:
    """Luma [H, W], the pairs of U and V [ceil(H / down), ceil(W / across), 2], and what is wrong with the message."""
    height, width, step = message.height, message.width, message.step
    rows, columns = -(-height // layout.down), -(-width // layout.across)
    if layout.is_interleaved:
        colour = [_Plane(rows, 2 * columns, 2 * -(-step // layout.across))]
    else:
        colour = [_Plane(rows, columns, -(-step // layout.across))] * 2
    planes, flaws = _placed(message, [_Plane(height, width, step), *colour])
    data, start, arrays = np.frombuffer(message.data, np.uint8), 0, []
    for plane in planes:
        arrays.append(np.ndarray((plane.rows, plane.row), np.uint8, data, start, (plane.stride, 1)))
        start += plane.rows * plane.stride
    luma, *found = arrays
    pairs = found[0].reshape(rows, columns, 2) if layout.is_interleaved else np.stack(found, axis=-1)
    return luma, np.ascontiguousarray(pairs[..., ::-1] if layout.is_v_first else pairs), flaws


def _planes_to_rgb(luma: NDArray[np.uint8], colour: NDArray[np.uint8], layout: Planes) -> NDArray[np.uint8]:
    """OpenCV's own conversions, which repeat the colour of several pixels; an odd picture's last pixels have theirs."""
    height, width = luma.shape
    even = luma
    if height % layout.down or width % layout.across:
        even = np.pad(luma, ((0, -height % layout.down), (0, -width % layout.across)), "edge")
    if layout.down == 2:
        whole = cv2.cvtColorTwoPlane(np.ascontiguousarray(even), colour, cv2.COLOR_YUV2RGB_NV12)
        return np.ascontiguousarray(whole[:height, :width], np.uint8)
    # Rearranged to pairs of pixels as YUYV has them. Where each pixel has a colour of its own, it stands there twice.
    repeated = 2 // layout.across
    rgb = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _BAND):
        band = slice(top, top + _BAND)
        packed = np.empty((*np.repeat(even[band], repeated, axis=1).shape, 2), np.uint8)
        packed[..., 0] = np.repeat(even[band], repeated, axis=1)
        packed[..., 1] = colour[band].reshape(len(packed), -1)
        rgb[band] = cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_YUYV)[:, ::repeated][:, :width]
    return rgb
