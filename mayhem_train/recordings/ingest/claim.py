"""A recording's folder of extracted files: who works on it, how far that is, and whether it is finished."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.recordings.ingest.places import MANIFEST, SCRATCH
from mayhem_train.recordings.locating import recording_files

_BEGUN = "begun.json"
_LOCK = "lock"
_PATIENCE = 5.0  # seconds; the workers of a killed ingest are gone well before


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
        raise MayhemError(
            f"{path} is no manifest of an ingest ({type(error).__name__}): choose another --out, or move it away."
        ) from error
    return dict(manifest)


def is_finished(folder: Path, job: dict[str, Any], *, force: bool) -> bool:
    """Whether the folder holds the finished result of this very `job`: its "format", "parameters" and "recording".

    Raises:
        UsageError: it holds that of another one, or something else, which `force` would (not) replace.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        if not force:
            _refuse_other(folder, manifest, job, "holds the finished ingest")
            _remove_scratch(folder)  # killed after its last step but one
        return not force
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: choose another --out.")
    if not (folder / SCRATCH).exists() and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} holds files that no ingest wrote: choose another --out, or move them away.")
    return False


@contextmanager
def claimed(folder: Path, job: dict[str, Any], *, force: bool) -> Iterator[Path]:
    """Gives the folder for intermediate files, with what an interrupted ingest of the same `job` left there.

    Nobody else works on the folder meanwhile. With `force` everything in it that an ingest wrote is removed first.

    Raises:
        UsageError: another job was begun here.
        MayhemError: another process works on it.
    """
    scratch = folder / SCRATCH
    with _locked(folder):
        begun = scratch / _BEGUN
        found = _read_begun(begun)
        if found is not None and not force:
            _refuse_other(folder, found, job, "holds the begun ingest")
        if found is None and not force and read_manifest(folder) is not None:
            _remove_scratch(folder)
            raise MayhemError(f"Another process has just finished the ingest into {folder}: nothing is left to do.")
        if found is None or force:
            _clear(folder)
            write_whole(begun, json.dumps(job).encode(), scratch / "partial")
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


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) or "all" if isinstance(value, list) else str(value)


def _read_begun(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Held until the block ends or the process does, however it does; the lock lies in the scratch folder."""
    path = folder / SCRATCH / _LOCK
    deadline = time.monotonic() + _PATIENCE
    while (stream := _try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise MayhemError(f"Another process ingests into {folder}: wait for it, or choose another --out.")
        time.sleep(0.05)
    with stream:
        yield


def _try_lock(path: Path) -> BinaryIO | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        stream = path.open("ab")
    except FileNotFoundError:  # whoever held it has finished just now
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may be a file that whoever held it before has removed meanwhile.
        if path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
            return stream
    except (BlockingIOError, FileNotFoundError):
        pass
    stream.close()
    return None


def _clear(folder: Path) -> None:
    """Removes everything but the lock; at any moment of it the folder still is seen to be an ingest's."""
    (folder / SCRATCH / _BEGUN).unlink(missing_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in [*folder.iterdir(), *(folder / SCRATCH).iterdir()]:
        if path.name not in (SCRATCH, _LOCK):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _remove_scratch(folder: Path) -> None:
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
