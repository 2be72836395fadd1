"""zstd around whole recordings and around single messages, as rosbag2 and people compress them."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import zstandard

from mayhem_ros.errors import MayhemError
from mayhem_train.console import progress_bar
from mayhem_train.recordings.cache import FileVersion, cache_folder, one_at_a_time

MAGIC = b"\x28\xb5\x2f\xfd"

_SKIPPABLE = tuple(bytes((0x50 + number, 0x2A, 0x4D, 0x18)) for number in range(16))
_PIECE = 2**16  # what is in hand when an archive turns out to be damaged is lost
_LONGEST_WINDOW = 2**31  # of `zstd --long=31`


@dataclass(frozen=True)
class Unpacked:
    """What an archive held: the file in the cache folder, and in one sentence how it is damaged, or nothing."""

    path: Path
    problem: str


def is_archive(head: bytes) -> bool:
    """Whether these first bytes are those of a zstd archive: no recording begins so."""
    return head.startswith((MAGIC, *_SKIPPABLE))


def is_compressed_message(encoding: str, data: bytes) -> bool:
    """Whether rosbag2 compressed a message that begins with `data`, since CDR never begins as zstd does."""
    return encoding == "cdr" and data.startswith(MAGIC)


def archive_head(archive: Path, size: int) -> bytes:
    """The first bytes of what an archive holds, as many as can be had."""
    try:
        with archive.open("rb") as stream, _decompressor().stream_reader(stream, read_across_frames=True) as reader:
            return reader.read(size)
    except zstandard.ZstdError:
        return b""


def plain_file(path: Path) -> Path:
    """The file itself, or what it holds if it is an archive; raises as `unpacked_archive`."""
    unpacked = unpacked_archive(path)
    return path if unpacked is None else unpacked.path


def unpacked_archive(path: Path) -> Unpacked | None:
    """What the file holds if it is an archive, unpacked now or before, else None.

    Raises:
        MayhemError: as `unpack`.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(len(MAGIC))
    return unpack(path) if is_archive(head) else None


def unpack(archive: Path) -> Unpacked:
    """Unpacks an archive into the cache folder, once for each version of it, whole or not at all.

    What a truncated or damaged archive still gives is kept, and `problem` says so.

    Raises:
        MayhemError: the archive cannot be read, or the cache folder not written.
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
        return Unpacked(folder / "data", (folder / "problem").read_text())
    except OSError as error:
        raise MayhemError(
            f"Cannot unpack {archive} into {place} ({error.strerror or error}): free the disk, or set MAYHEM_CACHE to "
            "a folder with room."
        ) from error


def decompress_message(data: bytes, size: int | None = None) -> bytes:
    """A compressed message, or only its first `size` bytes without decompressing the rest.

    Raises:
        MayhemError: the bytes are damaged.
    """
    try:
        if size is not None:
            with _decompressor().stream_reader(data) as reader:
                return reader.read(size)
        stream = _decompressor().decompressobj()
        message = stream.decompress(data)
        if not stream.eof:
            raise MayhemError("it does not decompress: its end is missing.")
        return message
    except (zstandard.ZstdError, MemoryError) as error:
        raise MayhemError(f"it does not decompress ({error}).") from error


def _unpack(archive: Path, folder: Path) -> None:
    """Makes `folder` with `data` and `problem` in it, and removes those of the archive's older versions."""
    for old in folder.parent.iterdir():
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        with (partial / "data").open("wb") as out:
            problem = _copy(archive, out.fileno())
        (partial / "problem").write_text(problem)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy(archive: Path, out: int) -> str:
    """Writes what the archive's frames hold one after the other; what is wrong in one sentence, or nothing."""
    frame = _decompressor().decompressobj()
    within = False  # a frame
    with archive.open("rb") as stream, progress_bar() as progress:
        task = progress.add_task(f"Unpacking {archive.name}, MB", total=archive.stat().st_size // 10**6)
        while piece := stream.read(_PIECE):
            while piece:
                try:
                    _write(out, frame.decompress(piece))
                except zstandard.ZstdError as error:
                    return f"{archive} is damaged before its byte {stream.tell()} ({error}): its start was unpacked."
                within = not frame.eof
                piece = frame.unused_data
                if frame.eof:
                    frame = _decompressor().decompressobj()
            progress.update(task, completed=stream.tell() // 10**6)
    return f"{archive} is cut off: its start was unpacked." if within else ""


def _write(out: int, data: bytes) -> None:
    while data:
        data = data[os.write(out, data) :]


def _decompressor() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(max_window_size=_LONGEST_WINDOW)
