"""The rows of one recording as they are decided, on the disk, so that a stopped run goes on where it was."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Mapping
from pathlib import Path

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.pruning.kept_frames import AuditRow

_PATIENCE_S = 5.0


class Journal:
    """An append-only file: a line that says what the rows were made with, then one row a line.

    Rows of another recording or made with other settings are dropped, as is everything from the first line on that is
    not whole. Only one process at a time has a journal open.

    Args:
        path: the file; its folder must exist.
        made_with: everything the rows depend on.

    Attributes:
        rows: those decided so far.

    Raises:
        OSError: the file cannot be written.
        MayhemError: another process is writing it.
    """

    def __init__(self, path: Path, made_with: Mapping[str, object]) -> None:
        self.path = path
        self.rows: list[AuditRow] = []
        self._stream = path.open("a+b", buffering=0)
        try:
            self._lock()
            self._resume(json.dumps(made_with).encode() + b"\n")
        except BaseException:
            self._stream.close()
            raise

    def append(self, row: AuditRow) -> None:
        """Adds a row, which is on its way to the disk when this returns.

        Raises:
            OSError: it cannot be written.
        """
        self._write(row.to_json().encode() + b"\n")
        self.rows.append(row)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _lock(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                # A run that was killed may take a moment to be gone.
                if time.monotonic() > deadline:
                    raise MayhemError(f"Another `mayhem prune` is writing {self.path}: wait for it to end.") from error
                time.sleep(0.05)

    def _resume(self, head: bytes) -> None:
        self._stream.seek(0)
        lines = self._stream.readall().splitlines(keepends=True)
        end = 0
        if lines and lines[0] == head:
            end = len(head)
            for line in lines[1:]:
                try:
                    row = AuditRow.from_json(json.loads(line))
                except (ValueError, RecursionError, MayhemError):
                    break
                if line != row.to_json().encode() + b"\n":
                    break
                self.rows.append(row)
                end += len(line)
        self._stream.truncate(end)
        if not end:
            self._write(head)

    def _write(self, line: bytes) -> None:
        """All of it or OSError: a full disk may take a part of a line at first."""
        view = memoryview(line)
        while view:
            view = view[self._stream.write(view) :]
