"""A recording opened by a command, which says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mayhem_train.console import warn
from mayhem_train.recordings.recording import Recording


@contextmanager
def opened_recording(path: Path, *, distro: str | None = None) -> Iterator[Recording]:
    """The recording, open within the block; its warnings are said, each once a command.

    Raises:
        UsageError, MayhemError: as `Recording`.
    """
    with Recording(path, distro=distro) as recording:
        try:
            warn(*recording.warnings)  # before hours of work
            yield recording
        finally:
            warn(*recording.warnings)  # with those that reading came upon
