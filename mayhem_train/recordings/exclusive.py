"""One process at a time: a lock that ends with its process, and whose file the holder may remove."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mayhem_train.console import error_console

_SILENT_FOR = 1.0  # seconds; the workers of a killed command are gone before
_AGAIN_AFTER = 0.05  # seconds


@contextmanager
def exclusive(path: Path, work: str) -> Iterator[None]:
    """Waits until nobody else holds the file `path`, makes it with its folder if need be, and holds it for the block.

    However the holding process ends, the lock ends with it.

    Args:
        path: the file; the holder may remove it, and those that wait make it again.
        work: what holders do ("ingests into extracted/drive"), for a person who wonders what is waited for.

    Raises:
        OSError: the file cannot be made or locked.
    """
    begun, said = time.monotonic(), False
    while (stream := _held(path)) is None:
        if not said and time.monotonic() - begun > _SILENT_FOR:
            error_console.print(
                f"Waiting for another process that {work}.", markup=False, highlight=False, soft_wrap=True
            )
            said = True
        time.sleep(_AGAIN_AFTER)
    with stream:
        yield


def _held(path: Path) -> BinaryIO | None:
    """The locked file, None where another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        stream = path.open("ab")
    except FileNotFoundError:  # whoever held it has removed its folder just now
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may be a file that whoever held it before has removed meanwhile.
        if path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
            return stream
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        stream.close()
        raise
    stream.close()
    return None
