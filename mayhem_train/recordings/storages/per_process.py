"""A handle that is opened anew in every process, so that fork and spawn never share one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Handle = TypeVar("Handle")


class PerProcess(Generic[Handle]):
    """Makes a handle when it is first asked for, and again in a forked child; a pickle carries only how to make it."""

    def __init__(self, make: Callable[[], Handle]) -> None:
        self._make = make
        self._handle: Handle | None = None
        self._process: int | None = None

    def get(self) -> Handle:
        """This process's own handle."""
        if self._handle is None or self._process != os.getpid():
            self._handle, self._process = self._make(), os.getpid()
        return self._handle

    def take(self) -> Handle | None:
        """Gives this process's handle away for closing, if there is one."""
        handle = self._handle if self._process == os.getpid() else None
        self._handle = None
        return handle

    def __getstate__(self) -> dict[str, Any]:
        return {"_make": self._make, "_handle": None, "_process": None}
