"""Tells an error of the disk, which may be gone tomorrow, from a damaged message."""

from __future__ import annotations

from mayhem_ros.errors import MayhemError


def is_of_the_disk(error: MayhemError) -> bool:
    """Whether the system refused to read: the same frame may be readable tomorrow."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:  # bz2 raises one without for damaged data
            return True
        cause = cause.__cause__
    return False
