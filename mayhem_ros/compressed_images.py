"""`sensor_msgs/CompressedImage`: JPEG, PNG, WebP and TIFF, of colours, of grey, or of a Bayer mosaic."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_ros.decoded_image import MAX_PIXELS, DecodedImage
from mayhem_ros.errors import MayhemError
from mayhem_ros.image_files import decode_file, is_image_file
from mayhem_ros.intensity_range import IntensityRange
from mayhem_ros.jpeg import JPEG_START, decode_jpeg, read_jpeg_header
from mayhem_ros.raw_encodings import bayer_conversion, depth_encodings, layout_of, refusal_of_depth
from mayhem_ros.sixteen_bits import eight_bit


def is_compressed_encoding(encoding: str) -> bool:
    """Whether a raw image's `encoding` is the name of a file format, as some drivers of JPEG cameras write."""
    return encoding.lower() in ("jpeg", "jpg", "mjpeg", "mjpg", "png", "webp", "tiff")


def decode_compressed(
    data: Any, format_: str, max_pixels: int, intensity_range: IntensityRange | None = None
) -> DecodedImage:
    """A file as RGB; what `format_` says counts only where it is depth or a Bayer mosaic.

    The range is for files with one channel of 16 bits; beside it the format 16UC1 is grey.

    Raises:
        MayhemError: it is depth, no file of these formats, too large, cut off, or damaged so that there is no picture.
    """
    depth = depth_encodings(is_ranged=intensity_range is not None)
    if "compresseddepth" in format_.lower() or any(encoding in format_.upper() for encoding in depth):
        raise MayhemError(refusal_of_depth("The compressed image's format", f"{format_[:60]!r}"))
    content = bytes(memoryview(data))
    found = _found(content, format_)
    mosaic = mosaic_conversion(format_)
    if content.startswith(JPEG_START):
        if mosaic is None or read_jpeg_header(content, found).components > 1:
            return decode_jpeg(content, max_pixels, found)
        grey = decode_jpeg(content, max_pixels, found, as_grey=True)
        return DecodedImage(_to_rgb(grey.pixels[..., 0], mosaic, found), grey.flaws, grey.is_damaged)
    if not is_image_file(content):
        start = content[:8].hex(" ") or "nothing"
        raise MayhemError(f"{found} is neither JPEG, PNG, WebP nor TIFF: it starts with {start}.")
    return DecodedImage(_to_rgb(decode_file(content, max_pixels, found), mosaic, found, intensity_range))


def compressed_samples(data: Any, format_: str) -> NDArray[np.uint16] | None:
    """The samples [H, W] of a file with one channel of 16 bits; None for any other."""
    content = bytes(memoryview(data))
    if not is_image_file(content):
        return None
    samples = decode_file(content, MAX_PIXELS, _found(content, format_))
    return samples if samples.dtype == np.uint16 and samples.ndim == 2 else None


def _found(content: bytes, format_: str) -> str:
    return f"The compressed image of {len(content)} bytes (format {format_[:60]!r})"


def mosaic_conversion(format_: str) -> int | None:
    """OpenCV's conversion of the Bayer mosaic that a compressed image's one channel is; None where it is none.

    image_transport writes `<encoding of the camera>; jpeg compressed <encoding of the picture>`, and leaves the last
    one out where it compressed the mosaic itself. Where it names another encoding, the picture was converted before.
    """
    camera, _, compressed = format_.partition(";")
    _, _, picture = compressed.lower().partition("compressed")
    conversion = bayer_conversion(picture)
    if conversion is not None or layout_of(picture) is not None:
        return conversion
    return bayer_conversion(camera)


_ALIKE = 2  # what rounding makes of equal channels


def _to_rgb(
    pixels: NDArray[Any], mosaic: int | None, found: str, intensity_range: IntensityRange | None = None
) -> NDArray[np.uint8]:
    """What a file stores, [H, W] or BGR [H, W, 3], as uint8 RGB."""
    if pixels.dtype not in (np.uint8, np.uint16):
        raise MayhemError(f"{found} holds pixels of {pixels.dtype}, which are no colour image's.")
    if pixels.ndim == 3 and mosaic is not None and np.ptp(pixels, axis=2).max(initial=0) <= _ALIKE:
        pixels = np.ascontiguousarray(pixels[..., 1])  # a mosaic in a file that knows colours alone, as WebP does
    if pixels.ndim == 3:
        bgr = eight_bit(pixels)
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr)  # type: ignore[return-value]
    try:
        if mosaic is not None:
            return eight_bit(cv2.cvtColor(pixels, mosaic), intensity_range)
        return cv2.cvtColor(eight_bit(pixels, intensity_range), cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]
    except cv2.error as error:
        raise MayhemError(f"{found} is too small for a Bayer mosaic.") from error
