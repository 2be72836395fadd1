"""Inertial measurements: every topic as a table, and gyroscope and accelerometer of one sensor merged by stamp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_train.recordings.ingest.extraction import Extracted
from mayhem_train.recordings.ingest.spool import BLOCK, Fields, Spool

ANGULAR_VELOCITY = tuple(f"angular_velocity_{axis}" for axis in "xyz")
LINEAR_ACCELERATION = tuple(f"linear_acceleration_{axis}" for axis in "xyz")
ORIENTATION = tuple(f"orientation_{axis}" for axis in "xyzw")


@dataclass(frozen=True)
class ImuExtractor:
    """sensor_msgs/Imu: radians a second, metres a second squared, quaternion.

    What the message declares as not measured (the first value of its covariance is -1) is NaN.
    """

    fields: Fields = tuple((name, "<f8") for name in (*ANGULAR_VELOCITY, *LINEAR_ACCELERATION, *ORIENTATION))

    def extract(self, message: Any) -> Extracted:
        """One row."""
        angular, linear, q = message.angular_velocity, message.linear_acceleration, message.orientation
        values = (
            *_measured((angular.x, angular.y, angular.z), message.angular_velocity_covariance),
            *_measured((linear.x, linear.y, linear.z), message.linear_acceleration_covariance),
            *_measured((q.x, q.y, q.z, q.w), message.orientation_covariance),
        )
        return Extracted((values,))


@dataclass(frozen=True)
class Acceleration:
    """Accelerations at a gyroscope's times.

    Attributes:
        values: float64 [N, 3], metres a second squared; NaN where there are none.
        before, after: int64 [N], positions of the two samples between which each was interpolated; -1 where NaN.
    """

    values: NDArray[np.float64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]


def interpolate_acceleration(
    times: NDArray[np.int64], sample_times: NDArray[np.int64], samples: NDArray[np.float64], limit: int
) -> Acceleration:
    """Accelerations at `times`, linear between the samples before and after.

    With samples a₀ at t₀ ≤ t < t₁ the value at t is a₀ + (a₁ − a₀)·(t − t₀)/(t₁ − t₀); at a sample's own time it is
    that sample, and the first of several at one time counts. Nothing is invented: before the first and after the last
    sample, and further than `limit` from the nearer of the two, there is none.

    Args:
        times: int64 [N], ns.
        sample_times: int64 [M], ns, in any order.
        samples: float64 [M, 3].
        limit: ns.
    """
    values = np.full((len(times), 3), np.nan)
    before, after = np.full(len(times), -1, np.int64), np.full(len(times), -1, np.int64)
    if not len(sample_times):
        return Acceleration(values, before, after)
    sorted_times, positions = np.unique(sample_times, return_index=True)
    left = np.searchsorted(sorted_times, times, side="right") - 1
    right = np.where(sorted_times[left] == times, left, left + 1)
    valid = (left >= 0) & (right < len(sorted_times))
    left, right, at = left[valid], right[valid], times[valid]
    since, until = at - sorted_times[left], sorted_times[right] - at
    near = np.minimum(since, until) <= limit
    left, right, since, until = left[near], right[near], since[near], until[near]
    chosen = np.flatnonzero(valid)[near]
    before[chosen], after[chosen] = positions[left], positions[right]
    weight = since / np.maximum(since + until, 1)  # 0 at a sample's own time
    start = samples[before[chosen]]
    values[chosen] = start + (samples[after[chosen]] - start) * weight[:, None]
    return Acceleration(values, before, after)


def pair_sensors(spools: Mapping[str, Spool]) -> dict[str, str]:
    """Gyroscope topics and the accelerometer topics that belong to them.

    A topic that measures no acceleration is a gyroscope, one that measures no angular velocity an accelerometer: all
    of it is zero, or declared as not measured. Those whose names have the most leading parts in common belong together.
    """
    gyroscopes, accelerometers = [], []
    for topic, spool in sorted(spools.items()):
        turns, accelerates = _measures(spool, ANGULAR_VELOCITY), _measures(spool, LINEAR_ACCELERATION)
        if turns and not accelerates:
            gyroscopes.append(topic)
        if accelerates and not turns:
            accelerometers.append(topic)
    candidates = [
        (-_shared_parts(gyroscope, accelerometer), gyroscope, accelerometer)
        for gyroscope in gyroscopes
        for accelerometer in accelerometers
    ]
    pairs: dict[str, str] = {}
    for _, gyroscope, accelerometer in sorted(candidates):
        if gyroscope not in pairs and accelerometer not in pairs.values():
            pairs[gyroscope] = accelerometer
    return pairs


def _shared_parts(one: str, other: str) -> int:
    """How many leading parts of two topics' names are the same."""
    parts = zip(one.split("/"), other.split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], parts))


def _measures(spool: Spool, names: tuple[str, ...]) -> bool:
    for start in range(0, len(spool), BLOCK):
        rows = spool.take(np.arange(start, min(start + BLOCK, len(spool))))
        if any((np.nan_to_num(rows[name][rows["usable"]]) != 0).any() for name in names):
            return True
    return False


def _measured(values: tuple[float, ...], covariance: NDArray[np.float64]) -> tuple[float, ...]:
    return (np.nan,) * len(values) if covariance[0] == -1 else values
