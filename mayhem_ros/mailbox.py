"""The frames that wait for the model: only the newest of each camera, or all of them in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """A queue for each camera between the threads that receive frames and the one that works on them.

    Args:
        cameras: the cameras' names.
        capacity: how many frames of a camera may wait; a newer one overtakes the oldest. None for any number.
    """

    def __init__(self, cameras: Iterable[str], capacity: int | None = 1) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[Item]] = {camera: deque() for camera in cameras}
        self._overtaken = dict.fromkeys(self._waiting, 0)
        self._capacity = capacity
        self._closed = False

    def put(self, camera: str, frame: Item) -> None:
        """Leaves a frame; never waits. After `close` it is dropped."""
        with self._changed:
            if self._closed:
                return
            waiting = self._waiting[camera]
            waiting.append(frame)
            if self._capacity is not None and len(waiting) > self._capacity:
                waiting.popleft()
                self._overtaken[camera] += 1
            self._changed.notify()

    def take(self) -> dict[str, Item]:
        """Waits for a frame, then takes the oldest one waiting of every camera that has one. Empty once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or any(self._waiting.values()))
            if self._closed:
                return {}
            return {camera: waiting.popleft() for camera, waiting in self._waiting.items() if waiting}

    def overtaken(self, camera: str) -> int:
        """How many of a camera's frames were dropped for a newer one."""
        with self._changed:
            return self._overtaken[camera]

    def close(self) -> None:
        """Ends the waiting; frames still here are dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
