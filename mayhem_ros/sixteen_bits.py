"""Samples of sixteen bits as the eight that a network takes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_ros.intensity_range import FULL_RANGE, IntensityRange


def eight_bit(samples: NDArray[Any], intensity_range: IntensityRange | None = None) -> NDArray[np.uint8]:
    """uint8 of the same shape; eight bits stay as they are.

    The range's ends become 0 and 255. Without one all of 0..65535 does, with the same rounding as cv_bridge.
    """
    if samples.dtype == np.uint8:
        return samples
    low, high = intensity_range or FULL_RANGE
    above = np.maximum(samples, low) - low if low else samples
    return cv2.convertScaleAbs(above, alpha=255 / (high - low))  # type: ignore[return-value]
