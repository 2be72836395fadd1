"""Latencies by their percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Percentiles:
    """How long something took, in milliseconds, over `count` times."""

    p50: float
    p90: float
    p99: float
    max: float
    count: int


def percentiles(milliseconds: Sequence[float]) -> Percentiles | None:
    """Percentiles by linear interpolation; None of nothing."""
    if not milliseconds:
        return None
    p50, p90, p99, most = (float(value) for value in np.percentile(milliseconds, [50, 90, 99, 100]))
    return Percentiles(p50, p90, p99, most, len(milliseconds))
