"""Camera messages of any driver or recorder as RGB arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.compressed_images import compressed_samples, decode_compressed, is_compressed_encoding
from mayhem_ros.decoded_image import MAX_PIXELS, DecodedImage
from mayhem_ros.errors import MayhemError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_ros.raw_images import decode_raw, raw_samples

__all__ = ["MAX_PIXELS", "DecodedImage", "decode_image", "decode_with_flaws", "sixteen_bit_samples"]


def decode_image(
    message: Any, intensity_range: IntensityRange | None = None, *, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """A `sensor_msgs/Image` or `sensor_msgs/CompressedImage` as uint8 [H, W, 3] RGB, C-contiguous.

    The pixels of `decode_with_flaws`, for those whom its flaws do not concern.
    """
    return decode_with_flaws(message, intensity_range, max_pixels=max_pixels).pixels


def decode_with_flaws(
    message: Any, intensity_range: IntensityRange | None = None, *, max_pixels: int = MAX_PIXELS
) -> DecodedImage:
    """A `sensor_msgs/Image` or `sensor_msgs/CompressedImage` decoded, and what is wrong with it though it could be.

    Only the fields count, so messages of rclpy (`data` an `array('B')`) and of rosbags (`data` an ndarray) both work.
    A tight `rgb8` image is not copied: the result is a view of `message.data`, so do not write to it. Rows are `step`
    bytes apart; 16-bit samples follow `is_bigendian` and are scaled to 0..255; `8UC3` and `8UC4` are taken for OpenCV's
    BGR and BGRA. A compressed image is what its bytes say (JPEG, PNG, WebP or TIFF, in these formats' own colours);
    its `format` counts only where it says that the picture is depth or a Bayer mosaic. An orientation in its metadata
    is ignored: the camera's calibration knows nothing of it.

    Args:
        message: of either type.
        intensity_range: what is shown of 16-bit grey and Bayer images, rounded to the nearest level and of two equally
            near to the even one; None shows all of 0..65535, as colour of 16 bits always does. 16UC1 is grey where
            there is a range, and depth where there is none.
        max_pixels: an image that claims to have more is refused before anything of it is decoded.

    Raises:
        MayhemError: the message is no colour or grey image, its data do not fit its description, or it is too large.
    """
    if hasattr(message, "encoding"):
        if is_compressed_encoding(message.encoding):
            return decode_compressed(message.data, message.encoding, max_pixels, intensity_range)
        return decode_raw(message, max_pixels, intensity_range)
    if hasattr(message, "format"):
        return decode_compressed(message.data, message.format, max_pixels, intensity_range)
    raise MayhemError(f"A message of type {type(message).__name__} is no sensor_msgs/Image or CompressedImage.")


def sixteen_bit_samples(message: Any) -> NDArray[np.uint16] | None:
    """The samples [H, W] that an intensity range is for: grey, Bayer, and 16UC1; None for any other image.

    Raises:
        MayhemError: as `decode_image`.
    """
    if hasattr(message, "encoding"):
        return raw_samples(message)
    return compressed_samples(message.data, message.format)
