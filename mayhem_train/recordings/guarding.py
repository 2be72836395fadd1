"""No output is ever written over a recording, or into its folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.recordings.ingest.places import MANIFEST
from mayhem_train.recordings.locating import METADATA, recording_files


def refuse_within_recordings(
    out: Path, recordings: Iterable[Path], what: str = "--out", *, replaced: bool = True
) -> None:
    """Raises UsageError where writing `out`, a file or a folder, would change a recording or take it away.

    Args:
        out: what is to be written, or replaced.
        recordings: files and folders; those that cannot be opened count as they are named.
        what: the output's name in the sentence.
        replaced: a folder `out` is written anew, rather than added to.
    """
    written = {out.resolve(), out.parent.resolve() / out.name}  # a link may be replaced, or what it leads to
    for path in recordings:
        places = [place.resolve() for place in _places(path)]
        if path.resolve() in written:
            raise UsageError(f"{what} {out} is the recording {path} itself: choose another place.")
        if any(way.is_relative_to(place) for way in written for place in places):
            raise UsageError(f"{what} {out} is a part of the recording {path}: choose another place.")
        if replaced and any(place.is_relative_to(way) for way in written for place in places):
            raise UsageError(f"{what} {out} holds {path}, which would be deleted: choose another place.")


def refuse_within_ingested(out: Path, what: str = "--out") -> None:
    """Raises UsageError where `out` lies in a folder of extracted files, or is one."""
    for folder in (out.resolve(), *out.resolve().parents):
        if (folder / MANIFEST).is_file():
            raise UsageError(f"{what} {out} is a part of what was ingested into {folder}: choose another place.")


def _places(path: Path) -> Iterable[Path]:
    """The folder and the files that are a recording; of a file in a recording's folder that folder too."""
    yield path.parent if path.name == METADATA else path
    try:
        files = recording_files(path).paths
    except MayhemError:  # said when it is opened
        return
    for file in files:
        yield file
        metadata = file.with_name(METADATA)
        yield file.parent if metadata.exists() else metadata
