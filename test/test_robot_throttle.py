"""Every camera's every reason is said once in a while, and no flood of them fills the log."""

from __future__ import annotations

from mayhem_ros.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_cameras_each_reason_is_said_once_in_five_seconds() -> None:
    clock = Clock()
    throttle = Throttle(clock=clock)
    said = [(camera, reason) for camera in ("front", "rear") for reason in ("It is depth.", "It is cut off.")]
    assert [throttle.allows(*warning) for warning in said * 2] == [True] * 4 + [False] * 4
    clock.now += 4.9
    assert not throttle.allows("rear", "It is depth.")
    clock.now += 0.1
    assert [throttle.allows(*warning) for warning in said] == [True] * 4


def test_reasons_that_differ_in_their_numbers_are_one() -> None:
    throttle = Throttle(clock=Clock())
    assert throttle.allows("front", "The image of 2312 bytes is cut off.")
    assert not throttle.allows("front", "The image of 977 bytes is cut off.")


def test_a_camera_says_five_things_at_once_at_most_and_leaves_the_others_theirs() -> None:
    throttle = Throttle(clock=Clock())
    assert sum(throttle.allows("front", f"The encoding is {'x' * length}.") for length in range(100)) == 5
    assert throttle.allows("rear", "The encoding is x.")
