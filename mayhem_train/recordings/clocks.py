"""Whether header stamps tell the time: drivers leave them zero, stamp once for all, or by a clock of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mayhem_train.recordings.nearest import nearest

APART_NS = 10 * 10**9
"""Clocks are different ones when they are further apart: hardly a sensor's way into the recording takes that long, and
the offsets between time scales (18 s of GPS, 37 s of TAI) are longer."""

_FEW = 2  # of one stamp are a repetition; more are no clock


def tell_time(times_ns: NDArray[np.int64]) -> bool:
    """Whether stamps, or log times, tell messages apart: some are not zero, and these are not all the same."""
    given = times_ns[times_ns != 0]
    return len(given) > 0 and (len(times_ns) <= _FEW or bool((given != given[0]).any()))


def count_jumps(stamps_ns: NDArray[np.int64], log_times_ns: NDArray[np.int64]) -> int:
    """How often the stamps went back, or forward further than the log times did, by more than `APART_NS`.

    A pause of the recorder, or of what was played into it, is none: there the log times go on alone.
    """
    steps, passed = np.diff(stamps_ns), np.diff(log_times_ns)
    return int(((steps < -APART_NS) | (steps - passed > APART_NS)).sum())


def clock_difference_ns(
    stamps_ns: NDArray[np.int64],
    log_times_ns: NDArray[np.int64],
    other_stamps_ns: NDArray[np.int64],
    other_log_times_ns: NDArray[np.int64],
) -> int:
    """How far the clock that stamps one topic is behind the one that stamps another, where it is another: else 0.

    Messages are compared with those of the other topic that were logged next to them. A stamp of 0 does not count.
    """
    given, others = stamps_ns != 0, other_stamps_ns != 0
    times, other_times = log_times_ns[given], other_log_times_ns[others]
    if not (len(times) and len(other_times) and tell_time(times) and tell_time(other_times)):
        return 0
    beside = nearest(times, other_times, np.iinfo(np.int64).max)
    ahead = (other_stamps_ns[others][beside] - other_times[beside]) - (stamps_ns[given] - times)
    typical = int(np.median(ahead))
    return typical if abs(typical) > APART_NS else 0
