"""The range of a 16-bit camera's samples that its pictures show, and what is lost where it is not known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

GREATEST_SAMPLE = 65535

# Of the samples at either end, which are hot and dead pixels in part.
_LEFT_OUT = 0.001
# A camera of 14 bits gives so many of 256 grey levels where its samples are taken for sixteen bits.
_FEW_LEVELS = 65


class IntensityRange(NamedTuple):
    """The samples that become black and white: `low` and below 0, `high` and above 255, linear between.

    It holds for images with one 16-bit sample a pixel, grey or Bayer; `of` checks the numbers.
    """

    low: int
    high: int

    @classmethod
    def of(cls, numbers: object) -> IntensityRange:
        """Out of two numbers, as JSON has them.

        Raises:
            ValueError: they are no range.
        """
        if not isinstance(numbers, (list, tuple)) or len(numbers) != 2 or any(type(n) is not int for n in numbers):
            raise ValueError(f"the intensity range {numbers!r} is no pair of whole numbers")
        low, high = numbers
        if not 0 <= low < high <= GREATEST_SAMPLE:
            raise ValueError(
                f"the intensity range {low} to {high} is none: it goes from a sample to a greater one, "
                f"both from 0 to {GREATEST_SAMPLE}"
            )
        return cls(low, high)

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


FULL_RANGE = IntensityRange(0, GREATEST_SAMPLE)


class SampleCounts:
    """How often each value occurs among 16-bit samples."""

    def __init__(self) -> None:
        self._counts = np.zeros(GREATEST_SAMPLE + 1, np.int64)

    def add(self, samples: NDArray[np.uint16]) -> None:
        """Counts an image, unless all of it has one value: a closed shutter, or a camera that is starting."""
        if samples.size and samples.min() != samples.max():
            self._counts += np.bincount(samples.ravel(), minlength=len(self._counts))

    def found_range(self) -> IntensityRange | None:
        """What all samples lie in but one in a thousand at either end; None where they have less than two values."""
        within = np.cumsum(self._counts)
        left_out = _LEFT_OUT * within[-1]
        low = int(np.searchsorted(within, left_out, side="right"))
        high = int(np.searchsorted(within, within[-1] - left_out, side="left"))
        return IntensityRange(low, high) if low < high else None

    def few_levels(self) -> str | None:
        """What to say of a camera whose pictures keep few grey levels at full range; None where they keep enough."""
        found = self.found_range()
        if found is None:
            return None
        values = found.low + np.flatnonzero(self._counts[found.low : found.high + 1])
        levels = len(np.unique(np.rint(values * (255 / GREATEST_SAMPLE))))
        if levels > _FEW_LEVELS:
            return None
        return f"uses only {levels} of 256 grey levels (16-bit samples from {found} of {GREATEST_SAMPLE})"
