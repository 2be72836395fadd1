"""A recording's folder of extracted files: who works on it, how far that is, and whether it is finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.recordings.exclusive import exclusive
from mayhem_train.recordings.ingest.places import MANIFEST, SCRATCH
from mayhem_train.recordings.ingest.written import count_lost, remove_files, written_files
from mayhem_train.recordings.locating import recording_files

_BEGUN = "begun.json"
_REPLACED = "replaced.json"
_LOCK = "lock"
_NO_NOTES = (KeyError, TypeError, ValueError, AttributeError)


def recording_key(path: Path) -> dict[str, Any]:
    """What tells whether a recording is still the same: its name, and its files' names, sizes and times."""
    files = [
        {"name": file.name, "size": file.stat().st_size, "mtime_ns": file.stat().st_mtime_ns}
        for file in recording_files(path).paths
    ]
    return {"name": path.resolve().name, "files": files}


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What a finished ingest says of itself, None where there is none.

    Raises:
        MayhemError: the file is no manifest.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        if not isinstance(manifest["parameters"], dict) or not isinstance(manifest["recording"], dict):
            raise TypeError("it names no parameters and no recording")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror}): check its permissions.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _no_manifest(path, error) from error
    return dict(manifest)


def is_finished(folder: Path, job: dict[str, Any], *, force: bool) -> bool:
    """Whether the folder holds the whole result of this very `job`: its "format", "parameters" and "recording".

    Raises:
        UsageError: it holds that of another one, or something else, which `force` would (not) replace.
        MayhemError: its manifest is none.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        if force:
            return False
        _refuse_other(folder, manifest, job, "holds the finished ingest")
        # Beside scratch files, it was killed after its last step but one, or another process replaces it.
        return not _count_lost(folder, manifest) and not (folder / SCRATCH).exists()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: choose another --out.")
    if not (folder / SCRATCH).exists() and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} holds files that no ingest wrote: choose another --out, or move them away.")
    return False


@contextmanager
def claimed(
    folder: Path, job: dict[str, Any], topics: Sequence[dict[str, str]], warn: Callable[[str], None], *, force: bool
) -> Iterator[Path | None]:
    """Gives the folder for intermediate files, with what an interrupted ingest of the same `job` left there.

    None where all is done, be it by another process that this one has waited for. Nobody else works on the folder
    within the block. With `force`, and where files of a finished ingest are gone, all that an ingest wrote is removed
    first, and nothing else.

    Args:
        topics: what `topic_notes` says of those to be extracted.
        warn: is told where files of a finished ingest are gone.

    Raises:
        UsageError: another job was begun here, or the folder holds a file that this one would write over.
    """
    scratch = folder / SCRATCH
    begun = scratch / _BEGUN
    if not force:
        _refuse_other_begun(folder, job)  # rather than when whoever works on it is done
    with exclusive(scratch / _LOCK, f"ingests into {folder}"):
        manifest = read_manifest(folder)
        if manifest is not None and not force:
            _refuse_other(folder, manifest, job, "holds the finished ingest")
            lost = _count_lost(folder, manifest)
            if not lost:
                _remove_scratch(folder)
                yield None
                return
            warn(f"The finished ingest in {folder} lacks {lost} of its files: it is done again.")
        if not force:
            _refuse_other_begun(folder, job)
        if force or manifest is not None or _read(begun) is None:
            notes = {**job, "topics": list(topics)}
            _clear(folder, notes)
            write_whole(begun, json.dumps(notes).encode(), scratch / "partial")
            (scratch / _REPLACED).unlink(missing_ok=True)
        yield scratch


def write_whole(path: Path, data: bytes, partial: Path) -> None:
    """Writes a file that appears whole or not at all; `partial` is where it lies meanwhile, a place of its own."""
    partial.write_bytes(data)
    place_whole(path, partial)


def place_whole(path: Path, partial: Path) -> None:
    """Moves a written file to its place."""
    try:
        partial.replace(path)
    except FileNotFoundError:  # the first one in its folder
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(path)


def finish(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes the manifest, which says that all is done, and removes the intermediate files."""
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n", folder / SCRATCH / "partial")
    _remove_scratch(folder)


def _refuse_other(folder: Path, found: dict[str, Any], job: dict[str, Any], what: str) -> None:
    if found.get("format") != job["format"]:
        raise UsageError(
            f"{folder} {what} of another version of mayhem: pass --force to replace it, or choose another --out."
        )
    for name, value in job["parameters"].items():
        other = found["parameters"].get(name)
        if other != value:
            raise UsageError(
                f"{folder} {what} with other options ({name} {_shown(other)}, now {_shown(value)}): "
                "pass --force to replace it, or choose another --out."
            )
    if found["recording"] != job["recording"]:
        raise UsageError(
            f"{folder} {what} of {found['recording'].get('name')} as it was before it changed: "
            "pass --force to replace it, or choose another --out."
        )


def _refuse_other_begun(folder: Path, job: dict[str, Any]) -> None:
    begun = _read(folder / SCRATCH / _BEGUN)
    if begun is not None:
        _refuse_other(folder, begun, job, "holds the begun ingest")


def _count_lost(folder: Path, manifest: dict[str, Any]) -> int:
    try:
        return count_lost(folder, manifest)
    except _NO_NOTES as error:
        raise _no_manifest(folder / MANIFEST, error) from error


def _no_manifest(path: Path, error: Exception) -> MayhemError:
    return MayhemError(
        f"{path} is no manifest of an ingest ({type(error).__name__}): choose another --out, or move it away."
    )


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) or "all" if isinstance(value, list) else str(value)


def _read(path: Path) -> Any:
    """What this module has noted in a file; None where it could not even do that."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _clear(folder: Path, notes: dict[str, Any]) -> None:
    """Removes all that an ingest wrote, before one with these `notes` begins.

    What was written is noted until it is gone, so that this may be interrupted and done again. At any moment the
    folder is seen to be an ingest's.

    Raises:
        UsageError: the folder holds a file that the new ingest would write over, but no ingest wrote.
    """
    scratch = folder / SCRATCH
    earlier_notes = [*(_read(scratch / _REPLACED) or []), _read(scratch / _BEGUN), read_manifest(folder)]
    try:
        found = [
            {"parameters": earlier["parameters"], "topics": earlier["topics"]} for earlier in earlier_notes if earlier
        ]
        written = [file for earlier in found for file in written_files(folder, earlier)]
    except _NO_NOTES as error:
        raise _no_manifest(folder / MANIFEST, error) from error
    foreign = sorted(set(written_files(folder, notes)) - set(written))
    if foreign:
        raise UsageError(f"{foreign[0]} was written by no ingest, but would be by this one: move it away.")
    write_whole(scratch / _REPLACED, json.dumps(found).encode(), scratch / "partial")
    (scratch / _BEGUN).unlink(missing_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in scratch.iterdir():
        if path.name not in (_LOCK, _REPLACED):
            path.unlink()
    remove_files(folder, written)


def _remove_scratch(folder: Path) -> None:
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
