"""Which warnings are said: each camera's each reason once in a while, however many frames give it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

_NUMBER = re.compile(r"\d+")


class Throttle:
    """Lets a camera's warning through unless it was said lately; rclpy's throttle knows the source line alone.

    Args:
        seconds: how long a warning holds back others like it, equal but for their numbers.
        most: how many different warnings of one camera are let through in that time.
        clock: gives the seconds.
    """

    def __init__(self, seconds: float = 5.0, most: int = 5, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}

    def allows(self, camera: str, reason: str) -> bool:
        """Whether to say it now; if so it counts as said."""
        now = self._clock()
        self._said = {key: at for key, at in self._said.items() if now - at < self._seconds}
        key = camera, _NUMBER.sub("#", reason)
        if key in self._said or sum(name == camera for name, _ in self._said) >= self._most:
            return False
        self._said[key] = now
        return True
