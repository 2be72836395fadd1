"""What belongs together in time: nearest within a limit, and accelerations between samples, as brute force has them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayhem_train.recordings.ingest.imu import interpolate_acceleration
from mayhem_train.recordings.nearest import nearest

FEW = st.integers(-30, 30)
LONG_AGO = st.integers(-(2**31) * 10**9, 2**31 * 10**9)
TIMES = st.lists(st.one_of(FEW, LONG_AGO), max_size=30)


@settings(max_examples=500, deadline=None)
@given(TIMES, TIMES, st.one_of(st.integers(0, 40), st.integers(0, 2**62)))
def test_nearest_is_what_brute_force_finds(times: list[int], others: list[int], limit: int) -> None:
    found = nearest(np.array(times, np.int64), np.array(others, np.int64), limit)
    expected = []
    for time in times:
        # Nearest first, then the earlier one, then the first of equal ones.
        ranked = sorted(range(len(others)), key=lambda k: (abs(others[k] - time), others[k], k))
        within = ranked and abs(others[ranked[0]] - time) <= limit
        expected.append(ranked[0] if within else -1)
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([90, 110], 0),  # as near before as after: the one before
        ([110, 90], 1),  # whatever their order
        ([105, 100, 100], 1),  # of duplicates the first
        ([130, 70], -1),  # none within the limit
        ([120], 0),  # just within it
        ([], -1),
    ],
)
def test_the_pair_of_a_frame_at_100_within_20(others: list[int], expected: int) -> None:
    assert nearest(np.array([100]), np.array(others, np.int64), 20).tolist() == [expected]


@settings(max_examples=300, deadline=None)
@given(st.lists(FEW, max_size=20), st.lists(st.tuples(FEW, st.integers(-5, 5)), max_size=20), st.integers(0, 40))
def test_accelerations_are_interpolated_as_by_hand(
    times: list[int], samples: list[tuple[int, int]], limit: int
) -> None:
    values = np.array([[value, 2 * value, -value] for _, value in samples], np.float64).reshape(-1, 3)
    found = interpolate_acceleration(
        np.array(times, np.int64), np.array([time for time, _ in samples], np.int64), values, limit
    )
    for row, time in enumerate(times):
        expected = by_hand(time, samples, limit)
        if expected is None:
            assert np.isnan(found.values[row]).all()
            assert found.before[row] == found.after[row] == -1
        else:
            before, after, value = expected
            assert (found.before[row], found.after[row]) == (before, after)
            assert found.values[row] == pytest.approx([float(value), 2 * float(value), -float(value)], abs=1e-12)


def by_hand(time: int, samples: list[tuple[int, int]], limit: int) -> tuple[int, int, Fraction] | None:
    at_or_before = [k for k, (t, _) in enumerate(samples) if t <= time]
    at_or_after = [k for k, (t, _) in enumerate(samples) if t >= time]
    if not at_or_before or not at_or_after:
        return None
    before = max(at_or_before, key=lambda k: (samples[k][0], -k))
    after = min(at_or_after, key=lambda k: (samples[k][0], k))
    (t0, a0), (t1, a1) = samples[before], samples[after]
    if min(time - t0, t1 - time) > limit:
        return None
    return before, after, a0 + (Fraction(time - t0, t1 - t0) if t1 > t0 else Fraction(0)) * (a1 - a0)


def test_nothing_is_invented_outside_of_the_samples_nor_in_a_gap() -> None:
    samples = np.array([[1.0, 0, 0], [3.0, 0, 0], [5.0, 0, 0]])
    found = interpolate_acceleration(np.array([99, 100, 105, 150, 200, 201]), np.array([100, 110, 200]), samples, 10)
    assert found.values[:, 0].tolist()[1:3] == [1.0, 2.0]
    assert found.values[4, 0] == 5.0
    assert np.isnan(found.values[[0, 3, 5]]).all()
