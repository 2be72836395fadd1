"""The folder for what can be made again: unpacked recordings and the indexes of their frames."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

if os.name == "posix":
    import fcntl


@dataclass(frozen=True)
class FileVersion:
    """What tells one state of a file from the next: a replaced or continued file has another one.

    Attributes:
        path: without links and relative parts.
        size: bytes.
        modified_ns: when its content was changed, ns since the epoch.
        changed_ns: when its entry in the file system was, which also notices a file put in the place of another one
            of the same size and time.
    """

    path: str
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> FileVersion:
        """The file's present version; raises OSError where there is none."""
        status = path.stat()
        return cls(os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def place(self) -> str:
        """A name for this path in the cache, the same for all its versions."""
        return f"{Path(self.path).name[:40]}-{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]}"

    @property
    def name(self) -> str:
        """A name for this version among those of its path."""
        return f"{self.size}-{self.modified_ns}-{self.changed_ns}"


def cache_folder() -> Path:
    """$MAYHEM_CACHE, else $XDG_CACHE_HOME/mayhem, else ~/.cache/mayhem; it may be removed at any time."""
    chosen = os.environ.get("MAYHEM_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "mayhem"


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Keeps other processes that ask for the same lock file waiting; where files cannot be locked, nobody waits."""
    with path.open("ab") as stream:
        if os.name == "posix":
            with suppress(OSError):  # some network file systems have no locks: the work is done twice, and right
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield
