"""Colour images as PNG or JPEG, and depth images as 16-bit PNG or 32-bit float TIFF, exactly as recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_ros.image_decoding import decode_with_flaws
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.recordings.depth import DepthImage, decode_depth
from mayhem_train.recordings.ingest.extraction import FILE_FIELDS, Extracted
from mayhem_train.recordings.ingest.jpeg_copy import can_be_copied, jpeg_copy
from mayhem_train.recordings.ingest.png import png_bytes
from mayhem_train.recordings.ingest.spool import Fields
from mayhem_train.recordings.video.video_picture import VideoPicture

# OpenCV's compressed float TIFF needs a predictor that few readers know, and thirty times as long.
_TIFF = [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_NONE]


@dataclass(frozen=True)
class ColourExtractor:
    """Colour images in `form` ("png" or "jpg"); a JPEG wanted as JPEG is only checked, and copied without its EXIF."""

    form: str
    jpeg_quality: int
    intensity_range: IntensityRange | None = None
    fields: Fields = FILE_FIELDS

    def extract(self, message: Any) -> Extracted:
        """Decodes what is no picture of a video already, and encodes.

        Raises:
            MayhemError: the message is no colour image that can be decoded.
        """
        is_decoded = isinstance(message, VideoPicture)
        decoded = message.decoded if is_decoded else decode_with_flaws(message, self.intensity_range)
        image = decoded.pixels
        height, width = image.shape[:2]
        recorded = message.data.tobytes() if self.form == "jpg" and hasattr(message, "format") else b""
        if recorded and can_be_copied(recorded, message.format):
            data = jpeg_copy(recorded)
        elif self.form == "png":
            data = png_bytes(image)
        else:
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            data = _encoded(bgr, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
        return Extracted.file(width, height, data, f".{self.form}", flawed=bool(decoded.flaws))


@dataclass(frozen=True)
class DepthExtractor:
    """Depth images in `form`: "png" (integers as recorded), "tiff" (metres), or "auto", by what was recorded.

    `unit` is that of integers in metres, None for millimetres.
    """

    form: str
    unit: float | None = None
    fields: Fields = FILE_FIELDS

    def extract(self, message: Any) -> Extracted:
        """Decodes and encodes; raises MayhemError where it is no depth image, or one that PNG cannot hold."""
        depth = decode_depth(message, self.unit)
        height, width = depth.pixels.shape
        is_integer = depth.pixels.dtype == np.uint16
        if self.form == "png" and not is_integer:
            raise MayhemError("The depth is in float metres, which a 16-bit PNG cannot hold: write it as TIFF.")
        if is_integer and self.form != "tiff":
            data = png_bytes(np.asarray(depth.pixels, np.uint16))
            return Extracted.file(width, height, data, ".png", flawed=bool(depth.flaws))
        data = _encoded(depth_metres(depth), ".tiff", _TIFF)
        return Extracted.file(width, height, data, ".tiff", flawed=bool(depth.flaws))


def depth_metres(depth: DepthImage) -> NDArray[np.float32]:
    """float32 [H, W], each the one nearest to the recorded value in metres; 0 and NaN (no measurement) stay."""
    if depth.pixels.dtype == np.float32:
        return np.asarray(depth.pixels, np.float32)
    return (depth.pixels * np.float64(depth.metres_per_unit)).astype(np.float32)


def _encoded(pixels: NDArray[Any], suffix: str, settings: list[int]) -> bytes:
    height, width = pixels.shape[:2]
    problem = f"OpenCV cannot write {width}x{height} pixels as {suffix[1:]}."
    try:
        is_done, data = cv2.imencode(suffix, pixels, settings)
    except cv2.error as error:
        raise MayhemError(problem) from error
    if not is_done:
        raise MayhemError(problem)
    return data.tobytes()
