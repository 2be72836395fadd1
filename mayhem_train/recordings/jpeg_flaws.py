"""What libjpeg complains of while an image is decoded; OpenCV passes over it and gives a picture all the same."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def jpeg_flaws(found: list[str]) -> Iterator[None]:
    """Appends to `found` what libjpeg writes to standard error within the block, which costs some 20 microseconds.

    libjpeg cannot be asked, nor told where to complain. Several threads may do so at once: each then finds the
    complaints about the others' images too. What Python writes within the block, such as a progress bar, is shown at
    once; what other libraries do, at its end.
    """
    file = _STANDARD_ERROR.catch()
    before = os.fstat(file).st_size
    try:
        yield
    finally:
        complaints, _ = _sorted(os.pread(file, os.fstat(file).st_size - before, before))
        found.extend(line.decode(errors="replace").strip() for line in complaints)
        _STANDARD_ERROR.release()


class _StandardError:
    """The process's standard error, which leads to a file as long as somebody wants it caught."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._file = self._terminal = -1
        self._stream: TextIO | None = None

    def catch(self) -> int:
        with self._lock:
            if not self._holders:
                self._begin()
            self._holders += 1
            return self._file

    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._end()

    def _begin(self) -> None:
        self._file, self._terminal = _nameless_file(), os.dup(2)
        stream = sys.stderr
        if _descriptor(stream) == 2:  # what Python itself writes goes on to where it went
            stream.flush()
            self._stream = stream
            sys.stderr = open(  # noqa: SIM115 - closed by nobody: the descriptor is
                self._terminal, "w", buffering=1, encoding=stream.encoding, errors=stream.errors, closefd=False
            )
        os.dup2(self._file, 2)

    def _end(self) -> None:
        if self._stream is not None:
            sys.stderr.flush()
            sys.stderr, self._stream = self._stream, None
            sys.stderr.flush()
        os.dup2(self._terminal, 2)
        _, others = _sorted(os.pread(self._file, os.fstat(self._file).st_size, 0))
        os.write(2, b"".join(others))
        os.close(self._file)
        os.close(self._terminal)


_STANDARD_ERROR = _StandardError()  # a process has one


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):  # a program may put anything in its place
        return None


def _nameless_file() -> int:
    """In memory where the system has such, since a disk may be full."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("stderr")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _sorted(text: bytes) -> tuple[list[bytes], list[bytes]]:
    """The lines that libjpeg wrote, and the others."""
    lines = text.splitlines(keepends=True)
    return [line for line in lines if b"JPEG" in line], [line for line in lines if b"JPEG" not in line]
