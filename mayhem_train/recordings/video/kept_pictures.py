"""Decoded pictures of a video on the disk, for those who ask for the same ones again and again in any order."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np

from mayhem_ros.errors import MayhemError
from mayhem_ros.image_decoding import DecodedImage
from mayhem_train.console import error_console
from mayhem_train.recordings.cache import cache_folder, one_at_a_time

LIMIT = 20 * 10**9
"""Bytes that the kept pictures of all videos take."""

_FORMAT = 1  # raised whenever what is kept would be another
_LEFT_FREE = 5 * 10**9  # bytes of the disk
_IN_USE_S = 3600.0  # a video whose pictures were read this lately is not removed for another's
_COUNTED_EVERY = 2**28  # bytes written until it is counted again what there is, other processes' too


class KeptPictures:
    """Some pictures of one video, each kept when it was decoded first; processes share them.

    Args:
        name: of the folder within the cache's, the same for the same content alone.
        wanted: the places of the pictures that are kept.
    """

    def __init__(self, name: str, wanted: Collection[int]) -> None:
        self.wanted = frozenset(wanted)
        self._name = f"{name}-{_FORMAT}"
        self._touched = 0.0
        self._room = 0

    def load(self, index: int) -> DecodedImage | None:
        """The picture, None where it was not kept yet.

        Raises:
            MayhemError: it could not be decoded when it was tried.
        """
        try:
            with self._path(index).open("rb") as stream:
                pixels = np.load(stream, allow_pickle=False)
                flaws, problem = json.loads(stream.read())
        except (OSError, ValueError, TypeError, EOFError):
            return None
        self._touch()
        if problem:
            raise MayhemError(problem)
        return DecodedImage(pixels, tuple(flaws), is_damaged=bool(flaws))

    def save(self, index: int, picture: DecodedImage | MayhemError) -> None:
        """Keeps a picture, or why there is none; where it does not fit or cannot be written, nothing is kept."""
        if isinstance(picture, DecodedImage):
            pixels, flaws, problem = picture.pixels, picture.flaws, ""
        else:
            pixels, flaws, problem = np.zeros((0, 0, 3), np.uint8), (), str(picture)
        if self._room < pixels.nbytes:
            self._room = min(_room(self._folder), _COUNTED_EVERY)
        if self._room < pixels.nbytes:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(prefix=".partial-", dir=self._folder)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    np.save(stream, pixels)  # not compressed, which would take longer than to decode it again
                    stream.write(json.dumps([flaws, problem]).encode())
                Path(partial).replace(self._path(index))
            finally:
                Path(partial).unlink(missing_ok=True)
        except OSError as error:
            _warn(cache_folder(), error.strerror or str(error))
        self._room -= pixels.nbytes

    @contextmanager
    def filling(self, first: int) -> Iterator[None]:
        """Within it no other process fills in the pictures that are decoded from the same packet on."""
        with ExitStack() as stack:
            with suppress(OSError):  # nothing can be kept there; saving says so
                self._folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(one_at_a_time(self._folder / f"{first}.lock"))
            yield

    @property
    def _folder(self) -> Path:
        return _pictures_folder() / self._name

    def _path(self, index: int) -> Path:
        return self._folder / f"{index}.npy"

    def _touch(self) -> None:
        """Notes now and then that the video is in use."""
        if time.monotonic() - self._touched > _IN_USE_S / 4:
            self._touched = time.monotonic()
            with suppress(OSError):
                os.utime(self._folder)


def _pictures_folder() -> Path:
    return cache_folder() / "pictures"


def _room(own: Path) -> int:
    """Bytes that may be written, after the videos that nobody has used lately made way, the oldest first."""
    folders = [folder for folder in _pictures_folder().glob("*") if folder != own]
    sizes = {folder: _size(folder) for folder in folders}
    used = sum(sizes.values()) + _size(own)
    for folder in sorted(folders, key=_used_at):
        if used < LIMIT - _COUNTED_EVERY or time.time() - _used_at(folder) < _IN_USE_S:
            break
        shutil.rmtree(folder, ignore_errors=True)
        used -= sizes[folder]
    try:
        free = shutil.disk_usage(_pictures_folder().parent).free
    except OSError:
        free = LIMIT  # the folder is not there yet; writing tells
    return max(0, min(LIMIT - used, free - _LEFT_FREE))


def _size(folder: Path) -> int:
    with suppress(OSError):
        return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())
    return 0


def _used_at(folder: Path) -> float:
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0


@cache
def _warn(folder: Path, reason: str) -> None:
    """Says once that nothing is kept: it only costs time."""
    error_console.print(
        f"Warning: the pictures of videos cannot be kept in {folder} ({reason}): set MAYHEM_CACHE to a folder that can "
        "be written, or they are decoded again every time.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
