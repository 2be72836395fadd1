"""How alike two grey images are: 0.4·SSIM + 0.6·(1 − NRMSE), scikit-image's numbers in one pass over integers."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.pruning.window import WINDOW

SSIM_WEIGHT, NRMSE_WEIGHT = 0.4, 0.6


def to_grey(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenCV's grey of uint8 [H, W, 3] RGB: uint8 [H, W]."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def similarity(reference: NDArray[np.uint8], image: NDArray[np.uint8]) -> float:
    """`Reference(reference).similarity(image)`, for one comparison."""
    return Reference(reference).similarity(image)


class Reference:
    """An image that others are compared with.

    Args:
        image: uint8 [H, W] grey, both at least `WINDOW`; not copied, so it must not change afterwards.

    Raises:
        MayhemError: the image is smaller than the window.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        if min(image.shape) < WINDOW:
            height, width = image.shape
            raise MayhemError(f"An image of {width}x{height} is smaller than the window of {WINDOW} pixels.")
        self.image = np.ascontiguousarray(image)
        self._norm = cv2.norm(self.image, cv2.NORM_L2)

    @property
    def is_black(self) -> bool:
        """Whether every pixel is 0, so that no error can be divided by the image's norm."""
        return self._norm == 0

    def similarity(self, image: NDArray[np.uint8]) -> float:
        """0.4·SSIM + 0.6·(1 − NRMSE) of a uint8 [H, W] grey image, 1 for the same image.

        SSIM is that of Wang et al. 2004 as scikit-image computes it by default, with a uniform window of 111 pixels,
        averaged over the windows that lie within the image; NRMSE is ‖reference − image‖ / ‖reference‖. For a black
        reference it is 1 where the image is black too, -inf otherwise.

        Raises:
            MayhemError: the image is of another size than the reference.
        """
        if image.shape != self.image.shape:
            (height, width), (own_height, own_width) = image.shape, self.image.shape
            raise MayhemError(f"An image of {width}x{height} cannot be compared with one of {own_width}x{own_height}.")
        image = np.ascontiguousarray(image)
        error = cv2.norm(self.image, image, cv2.NORM_L2)
        if not self._norm:
            return -math.inf if error else 1.0
        # numba takes longer to import than all the rest of a command that has nothing to compare.
        from mayhem_train.recordings.pruning.ssim import mean_ssim

        try:
            ssim = mean_ssim(self.image, image)
        except OSError:  # the disk is full, so that the compiled code could not be stored, but now it is in memory
            ssim = mean_ssim(self.image, image)
        return float(SSIM_WEIGHT * ssim + NRMSE_WEIGHT * (1 - error / self._norm))
