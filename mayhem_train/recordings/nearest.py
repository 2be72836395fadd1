"""Which of another sensor's messages is nearest in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nearest(times: NDArray[np.int64], others: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """For each of `times` the position in `others` of the nearest time, or -1 where none is within `limit` of it.

    Of two that are equally near the earlier one is taken, of equal ones the first. Neither needs to be in order.

    Args:
        times: int64 [N], ns.
        others: int64 [M], ns.
        limit: the greatest distance that still is a pair, ns.

    Returns:
        int64 [N].
    """
    if not len(others):
        return np.full(len(times), -1, np.int64)
    order = np.argsort(others, kind="stable")
    sorted_others = others[order]
    after = np.searchsorted(sorted_others, times, side="left")  # the first of equal ones
    before = np.searchsorted(sorted_others, sorted_others[np.maximum(after - 1, 0)], side="left")
    after = np.minimum(after, len(others) - 1)
    distance_before = np.abs(times - sorted_others[before])
    distance_after = np.abs(sorted_others[after] - times)
    chosen = np.where(distance_before <= distance_after, before, after)
    # Where all others are earlier, `after` is the last of equal ones and `before` the first: the distances tie.
    within = np.minimum(distance_before, distance_after) <= limit
    return np.where(within, order[chosen], -1).astype(np.int64)
