"""The mean SSIM of two 8-bit images in one pass over integers, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mayhem_train.recordings.compilation import compiled
from mayhem_train.recordings.pruning.window import WINDOW

_PIXELS = float(WINDOW * WINDOW)
_SAMPLE_COVARIANCE = _PIXELS / (_PIXELS - 1)
# Wang's constants for 8-bit images. All terms below are sums over a window instead of means, hence the squared size.
_C1 = (0.01 * 255) ** 2 * _PIXELS**2
_C2 = (0.03 * 255) ** 2 * _PIXELS**2


@compiled(error_model="numpy")  # divisions are not checked for zero
def mean_ssim(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> float:
    """The mean SSIM of two C-contiguous uint8 [H, W] images over all windows within them.

    Each of a window's two uint64 sums holds two of 32 bits, low and high: Σx and Σy, Σ(x² + y²) and Σxy. Differences of
    such pairs are exact whatever overflowed on the way, because each sum over one window is below 2³¹. They and their
    products are below 2⁵³, so that float64 holds them exactly too, and the order of additions is fixed: the result is
    the same in every run.
    """
    height, width = x.shape
    windows = width - WINDOW + 1
    column_sums = np.zeros(width, np.uint64)  # over the rows of the current windows
    column_squares = np.zeros(width, np.uint64)
    sums = np.zeros(width + 1, np.uint64)  # running over the columns
    squares = np.zeros(width + 1, np.uint64)
    ssim = np.zeros(windows)  # by column, summed over the rows
    high = np.uint64(32)
    for row in range(height):
        for column in range(width):
            a, b = np.uint32(x[row, column]), np.uint32(y[row, column])
            column_sums[column] += np.uint64(a) + (np.uint64(b) << high)
            column_squares[column] += np.uint64(a * a + b * b) + (np.uint64(a * b) << high)
        if row >= WINDOW:
            for column in range(width):
                a, b = np.uint32(x[row - WINDOW, column]), np.uint32(y[row - WINDOW, column])
                column_sums[column] -= np.uint64(a) + (np.uint64(b) << high)
                column_squares[column] -= np.uint64(a * a + b * b) + (np.uint64(a * b) << high)
        if row < WINDOW - 1:
            continue
        linear, quadratic = np.uint64(0), np.uint64(0)
        for column in range(width):
            linear += column_sums[column]
            quadratic += column_squares[column]
            sums[column + 1] = linear
            squares[column + 1] = quadratic
        for column in range(windows):
            linear = sums[column + WINDOW] - sums[column]
            quadratic = squares[column + WINDOW] - squares[column]
            sum_x, sum_y = np.float64(np.int32(linear)), np.float64(np.int32(linear >> high))
            sum_squares, sum_products = np.float64(np.int32(quadratic)), np.float64(np.int32(quadratic >> high))
            product_of_sums = sum_x * sum_y
            squares_of_sums = sum_x * sum_x + sum_y * sum_y
            covariance = _SAMPLE_COVARIANCE * (_PIXELS * sum_products - product_of_sums)
            variances = _SAMPLE_COVARIANCE * (_PIXELS * sum_squares - squares_of_sums)
            ssim[column] += ((2 * product_of_sums + _C1) * (2 * covariance + _C2)) / (
                (squares_of_sums + _C1) * (variances + _C2)
            )
    total = 0.0
    for column in range(windows):
        total += ssim[column]
    return total / (windows * (height - WINDOW + 1))
