"""What is known of a topic's messages so far: rows of numbers on the disk, which survive the process at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Fields = Sequence[tuple[str, str]]

COMMON: Fields = (
    ("index", "<i8"),
    ("log_time_ns", "<i8"),
    ("stamp_ns", "<i8"),
    ("usable", "?"),
    ("frame_id", "<i4"),
)
"""Of every message: `stamp_ns` is 0 where it has no stamp, `usable` is false where it could not be extracted, and
`frame_id` is a number that `Names` gave."""

BLOCK = 65_536  # rows in memory at a time


class Names:
    """Strings by number, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _cut(path, path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0)
        self._file = path.open("ab", buffering=0)
        self._names = [str(json.loads(line)) for line in path.read_bytes().splitlines()]
        self._numbers = {name: number for number, name in enumerate(self._names)}

    def number(self, name: str) -> int:
        """The string's number; a new one is on the disk when this returns."""
        if name not in self._numbers:
            _write(self._file, json.dumps(name).encode() + b"\n")
            self._numbers[name] = len(self._names)
            self._names.append(name)
        return self._numbers[name]

    def __getitem__(self, number: int) -> str:
        return self._names[number]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Spool:
    """One topic's rows, in the order of its messages.

    Opening it again forgets the last message, since one that has several rows may lack some of them.

    Attributes:
        dtype: of a row, `COMMON` and the fields of its kind.
        next_index: the message to go on with.
    """

    def __init__(self, path: Path, fields: Fields, names: Names) -> None:
        self.dtype = np.dtype([*COMMON, *fields])
        self._path = path
        self._names = names
        whole = path.stat().st_size // self.dtype.itemsize if path.exists() else 0
        _cut(path, whole * self.dtype.itemsize)
        self._count = whole
        self.next_index = 0
        if whole:
            indices = self.column("index")
            self.next_index = int(indices[-1])
            self._count = int(np.searchsorted(indices, self.next_index))
            _cut(path, self._count * self.dtype.itemsize)
        self._file = path.open("ab", buffering=0)

    def append(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Adds one message's rows, strings among them as names; they are with the system when this returns."""
        numbered = [
            tuple(self._names.number(value) if isinstance(value, str) else value for value in row) for row in rows
        ]
        if numbered:
            _write(self._file, np.array(numbered, self.dtype).tobytes())
            self._count += len(numbered)

    def __len__(self) -> int:
        return self._count

    def column(self, name: str) -> NDArray[Any]:
        """One field of all rows."""
        column = np.empty(self._count, self.dtype[name])
        for start, rows in self._blocks():
            column[start : start + len(rows)] = rows[name]
        return column

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.void]:
        """The rows at `positions`; the file is mapped only meanwhile, so that memory stays flat."""
        if not len(positions):
            return np.zeros(0, self.dtype)
        taken: NDArray[np.void] = np.asarray(np.memmap(self._path, self.dtype, "r")[positions])
        return taken

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _blocks(self) -> Iterator[tuple[int, NDArray[np.void]]]:
        for start in range(0, self._count, BLOCK):
            count = min(BLOCK, self._count - start)
            yield start, np.fromfile(self._path, self.dtype, count, offset=start * self.dtype.itemsize)


def _write(file: BinaryIO, data: bytes) -> None:
    """All of it: an unbuffered file may take a part when the disk fills."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _cut(path: Path, size: int) -> None:
    if path.exists() and path.stat().st_size > size:
        os.truncate(path, size)
