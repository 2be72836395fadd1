"""Archives of recordings, unpacked into the cache folder: each once, as long as the folder's limit allows."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.console import progress_bar
from mayhem_train.recordings.cache import FileVersion, cache_folder, one_at_a_time
from mayhem_train.recordings.zstd import MAGIC, announced_size, archive_pieces, is_archive

LIMIT = "MAYHEM_CACHE_GB"
"""The environment variable that says how much may lie unpacked."""

_LIMIT_GB = 100.0
_RESERVE = 10**9  # bytes that are left on the disk, or this share of a small one
_RESERVE_SHARE = 0.05
_AT_A_TIME = 2**26  # bytes written between two looks at the disk
_LARGE, _FAR_BEYOND = 10**9, 100  # bytes, and times an archive's size, that are worth a word
_TRIES = 3  # to open what another process may remove meanwhile


@dataclass(frozen=True)
class Unpacked:
    """What an archive held: the file in the cache folder, and in one sentence how it is damaged, or nothing."""

    path: Path
    problem: str


def unpacked_archive(path: Path) -> Unpacked | None:
    """What the file holds if it is an archive, unpacked now or before, else None.

    Raises:
        MayhemError: as `unpack`.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(len(MAGIC))
    return unpack(path) if is_archive(head) else None


def open_plain(path: Path) -> tuple[int, Path]:
    """A descriptor of the file, or of what it holds if it is an archive, and where that lies.

    What was unpacked is not removed from the cache while the descriptor is open.

    Raises:
        MayhemError: as `unpack`.
        OSError: the file cannot be opened.
    """
    for last in (*(False,) * (_TRIES - 1), True):
        unpacked = unpacked_archive(path)
        try:
            descriptor = os.open(path if unpacked is None else unpacked.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if unpacked is None or last:
                raise
            continue  # another process needed the room
        if unpacked is None:
            return descriptor, path
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return descriptor, unpacked.path
    raise AssertionError


def unpack(archive: Path) -> Unpacked:
    """Unpacks an archive into the cache folder, once for each version of it, whole or not at all.

    What a truncated or damaged archive still gives is kept, and `problem` says so. Where it needs more room than the
    cache's limit or the disk leaves, what no process reads is removed, that first which was longest not used.

    Raises:
        UsageError: the limit in the environment is no number.
        MayhemError: the archive cannot be read, the cache folder not written, or there is not enough room.
    """
    place = cache_folder() / "unpacked"
    try:
        version = FileVersion.of(archive)
        place /= version.place
        folder = place / version.name
        if not folder.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            with one_at_a_time(place / "lock"):
                if not folder.is_dir():
                    _unpack(archive, folder)
        problem = (folder / "problem").read_text()
        with suppress(OSError):
            os.utime(folder / "problem")  # it was used now
        return Unpacked(folder / "data", problem)
    except OSError as error:
        raise MayhemError(
            f"Cannot unpack {archive} into {place} ({error.strerror or error}): free the disk, or set MAYHEM_CACHE to "
            "a folder with room."
        ) from error


def discard_unpacked(archive: Path) -> None:
    """Removes what was unpacked of an archive, since it is of no use; does nothing for any other file."""
    with suppress(OSError):
        version = FileVersion.of(archive)
        _remove_unused(cache_folder() / "unpacked" / version.place / version.name)


def _unpack(archive: Path, folder: Path) -> None:
    """Makes `folder` with `data` and `problem` in it, and removes those of the archive's older versions."""
    room = _Room(folder.parents[1], archive)
    for old in folder.parent.iterdir():
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        with (partial / "data").open("wb") as out:
            with suppress(OSError):
                fcntl.flock(out, fcntl.LOCK_SH | fcntl.LOCK_NB)  # nobody takes it for what a killed process left
            problem = _copy(archive, out.fileno(), room)
        (partial / "problem").write_text(problem)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy(archive: Path, out: int, room: _Room) -> str:
    """Writes what the archive's frames hold one after the other; what is wrong in one sentence, or nothing."""
    written = claimed = 0
    if announced := announced_size(archive):
        room.claim(announced, announced)
    with progress_bar() as progress:
        task = progress.add_task(f"Unpacking {archive.name}, MB", total=room.packed // 10**6)
        for data, position, problem in archive_pieces(archive):
            if problem:
                return problem
            if written + len(data) > claimed:
                claimed = written + max(len(data), _AT_A_TIME)
                room.claim(written + len(data), claimed - written)
                progress.update(task, completed=position // 10**6)
            _write(out, data)
            written += len(data)
    if written > max(_LARGE, _FAR_BEYOND * room.packed):
        return f"{archive} ({_told(room.packed)}) holds {_told(written)}, far beyond what recordings shrink by."
    return ""


def _write(out: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(out, view) :]


class _Room:
    """What one archive may take of the cache folder and of the disk it is on."""

    def __init__(self, place: Path, archive: Path) -> None:
        self.packed = archive.stat().st_size
        self._place = place
        self._archive = archive
        self._limit = _limit()

    def claim(self, size: int, more: int) -> None:
        """Sees to it that `more` bytes may be written, `size` in all at least, by removing others if need be.

        Raises:
            MayhemError: they may not.
        """
        own = self._place / FileVersion.of(self._archive).place
        others = [entry for entry in _entries(self._place) if entry.folder.parent != own]
        usage = shutil.disk_usage(self._place)
        reserve = min(_RESERVE, int(_RESERVE_SHARE * usage.total))
        beyond_limit = size + sum(entry.size for entry in others) - self._limit
        beyond_disk = reserve + more - usage.free
        for entry in sorted(others, key=lambda entry: entry.used_ns) if size <= self._limit else ():
            if max(beyond_limit, beyond_disk) <= 0:
                break
            if _remove_unused(entry.folder):
                beyond_limit -= entry.size
                beyond_disk -= entry.size
        so_far = f"{self._archive} ({_told(self.packed)}) holds {_told(size)} or more"
        if beyond_limit > 0:
            raise MayhemError(
                f"{so_far}, and {_told(self._limit)} at most may lie unpacked in {self._place}: set {LIMIT} to more "
                "gigabytes, or unpack it yourself with `zstd -d`."
            )
        if beyond_disk > 0:
            raise MayhemError(
                f"{so_far}, and less than {_told(reserve)} would be left on the disk of {self._place}: free it, or set "
                "MAYHEM_CACHE to a folder with room."
            )


@dataclass(frozen=True)
class _Entry:
    """What was unpacked of one archive, or is being; a process that was killed leaves such too."""

    folder: Path
    size: int
    used_ns: int


def _entries(place: Path) -> Iterator[_Entry]:
    for folder in place.glob("*/*/"):
        with suppress(OSError):  # another process removes it
            data, note = folder / "data", folder / "problem"
            used_ns = (note if note.exists() else folder).stat().st_mtime_ns
            yield _Entry(folder, data.stat().st_size if data.exists() else 0, used_ns)


def _remove_unused(folder: Path) -> bool:
    """Removes what was unpacked unless a process has it open."""
    with suppress(FileNotFoundError), (folder / "data").open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return True
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _limit() -> int:
    """Bytes that may lie unpacked.

    Raises:
        UsageError: the environment says something else than a number.
    """
    said = os.environ.get(LIMIT) or str(_LIMIT_GB)
    try:
        limit = float(said)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise UsageError(f"{LIMIT} is {said!r}, which is no number of gigabytes: set it to 100 or so, or remove it.")
    return int(limit * 10**9)


def _told(size: int) -> str:
    for unit, divisor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= divisor:
            return f"{size / divisor:.1f} {unit}"
    return f"{size} B"
