"""The recordings of one command, each with a name of its own: by it their frames and folders are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.recordings.frame import frame_name, parse_frame_name
from mayhem_train.recordings.locating import METADATA, recording_stem

_LONGEST = 225  # bytes of a name, of which file systems allow 255: an index and suffixes follow


def named_recordings(paths: Sequence[Path]) -> list[Path]:
    """The paths without those that name a recording again.

    Raises:
        UsageError: two recordings have the same name, or one has a name that frames and files cannot be named after.
    """
    found: dict[str, Path] = {}
    for path in paths:
        stem = recording_stem(path)
        if stem in found:
            if _place(found[stem]) != _place(path):
                raise UsageError(
                    f"{found[stem]} and {path} are both called {stem!r}: rename one, or name them in two commands."
                )
            continue
        _refuse_unfit(stem, path)
        found[stem] = path
    return list(found.values())


def _refuse_unfit(stem: str, path: Path) -> None:
    """Raises UsageError where a recording's frames, and the files made of them, cannot be named after it."""
    try:
        size = len(stem.encode())
        parse_frame_name(frame_name(stem, 0))
    except UnicodeEncodeError as error:  # Linux asks nothing of a file's name
        raise UsageError(f"Frames of {str(path)!r} cannot be named after it, which is no UTF-8: rename it.") from error
    except MayhemError as error:
        raise UsageError(
            f"Frames of {path} cannot be named after it: rename it, without a dot at its start and without \\."
        ) from error
    if size > _LONGEST:
        raise UsageError(f"Files of {path} cannot be named after it: rename it, to {_LONGEST} bytes at most.")


def _place(path: Path) -> Path:
    """Where a recording lies, however it was named."""
    return (path.parent if path.name == METADATA else path).resolve()
