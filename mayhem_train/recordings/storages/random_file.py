"""A file, or what an archive of it holds, read at any place without a position that two readers could fight over."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import BinaryIO

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.storages.per_process import PerProcess
from mayhem_train.recordings.unpacking import open_plain

_LARGE = 2**24


class RandomFile:
    """Bytes of `path` by offset; opened, and an archive unpacked, when first needed, once a process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = PerProcess(partial(_open, path))

    @property
    def size(self) -> int:
        """The file's length in bytes."""
        return os.fstat(self._descriptor.get()).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`: fewer only at the end of the file."""
        descriptor = self._descriptor.get()
        if size > _LARGE:  # a damaged length may ask for more than fits in memory
            size = max(0, min(size, self.size - offset))
        try:
            data = os.pread(descriptor, size, offset)
            while len(data) < size and (more := os.pread(descriptor, size - len(data), offset + len(data))):
                data += more
        except (OSError, OverflowError) as error:
            raise MayhemError(
                f"Cannot read {self.path} at byte {offset} ({error}): copy it from its source."
            ) from error
        return data

    def read_exactly(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`.

        Raises:
            MayhemError: the file ends before.
        """
        data = self.read(offset, size)
        if len(data) < size:
            raise MayhemError(
                f"{self.path} ends at byte {offset + len(data)}, within a message: copy it from its source."
            )
        return data

    def stream(self) -> BinaryIO:
        """The file as a stream of its own, at its start."""
        stream = os.fdopen(os.dup(self._descriptor.get()), "rb")
        stream.seek(0)
        return stream

    def close(self) -> None:
        """Closes the file; reading opens it again."""
        descriptor = self._descriptor.take()
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def _open(path: Path) -> int:
    try:
        return open_plain(path)[0]
    except OSError as error:
        raise MayhemError(f"Cannot open {path} ({error.strerror}): check the path and its permissions.") from error
