"""rosbag2's SQLite files (.db3): messages by row id, and of a truncated or damaged file those that are left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import apsw
import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.storages.per_process import PerProcess
from mayhem_train.recordings.storages.storage import ENTRY, Connection, StorageIndex, normalise_type
from mayhem_train.recordings.unpacking import open_plain

MAGIC = b"SQLite format 3\x00"

_MESSAGES = "SELECT timestamp, 0, topic_id, 0, id FROM messages"
_LARGEST_ID = 2**63 - 1
_HEAD = 100  # bytes of the file's header


class SqliteStorage:
    """One .db3 file, opened read-only. A message's `offset` is its row id; `block` is 0."""

    name = "sqlite3"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = PerProcess(partial(_open, path))
        self.damage: list[str] = []

    def index(self) -> StorageIndex:
        """From the tables; SQLite skips the pages that hold only payloads, unless the file is damaged."""
        database, is_cut_off, _ = self._opened.get()
        problems: tuple[str, ...] = ()
        try:
            definitions = {}
            if list(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'message_definitions'")):
                query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
                definitions = {
                    normalise_type(name): (text, kind) for name, kind, text in database.execute(query) if text
                }
            topics = list(database.execute("SELECT id, name, type, serialization_format FROM topics ORDER BY id"))
            try:
                if is_cut_off:
                    raise apsw.CorruptError("it is shorter than it says")
                entries = np.fromiter(database.execute(f"{_MESSAGES} ORDER BY id"), ENTRY)
            except apsw.CorruptError as error:
                entries, lost = _salvaged(database)
                problems = (
                    f"{self.path} is cut off or damaged ({error}): {len(entries)} messages could be recovered"
                    + (f", {lost} others only without their content." if lost else "."),
                )
            connections = tuple(
                Connection(topic, normalise_type(name), encoding, *definitions.get(normalise_type(name), ("", "")))
                for _, topic, name, encoding in topics
            )
        except (apsw.Error, ValueError, TypeError, AttributeError, OverflowError) as error:  # NULL where none may be
            if not is_cut_off and ("no such table" in str(error) or "no such column" in str(error)):
                raise MayhemError(
                    f"{self.path} is an SQLite file but no rosbag2 recording ({error}): name a recorded .db3 file."
                ) from error
            raise MayhemError(_damaged(self.path, error)) from error
        ids = np.array([row[0] for row in topics], np.int64)
        known = np.isin(entries["connection"], ids)
        orphans = len(entries) - int(known.sum())
        entries = entries[known]
        entries["connection"] = np.searchsorted(ids, entries["connection"])
        if orphans:
            problems = (*problems, f"{self.path} holds {orphans} messages of topics it does not name.")
        return StorageIndex(connections, entries, (), problems)

    def read(self, block: int, offset: int, size: int | None = None) -> bytes:
        """The message in row `offset`."""
        database = self._opened.get().database
        try:
            if size is not None:
                # A blob handle reads only the pages that it is asked for; substr() would load the whole image.
                blob = database.blob_open("main", "messages", "data", offset, False)
                try:
                    return blob.read(size)
                finally:
                    blob.close()
            for (data,) in database.execute("SELECT data FROM messages WHERE id = ?", (offset,)):
                return bytes(data)
        except (apsw.Error, TypeError) as error:
            raise MayhemError(_damaged(self.path, error)) from error
        raise MayhemError(f"{self.path} has lost its message {offset}: copy it from its source.")

    def check(self) -> Iterator[str]:
        """What SQLite finds wrong with its own structure; it has no checksums of the messages."""
        try:
            for (finding,) in self._opened.get().database.execute("PRAGMA quick_check(3)"):
                if finding != "ok":
                    yield f"{self.path} is damaged: SQLite finds {' '.join(finding.split())}."
        except apsw.Error as error:
            yield f"{self.path} is damaged: SQLite cannot check it ({error})."

    def close(self) -> None:
        """Closes the file; reading opens it again."""
        opened = self._opened.take()
        if opened is not None:
            opened.database.close()
            if opened.held is not None:
                os.close(opened.held)


class _Opened(NamedTuple):
    """A database, whether its file is shorter than it says, and what keeps it in the cache if it came of an archive."""

    database: apsw.Connection
    is_cut_off: bool
    held: int | None


def _open(file: Path) -> _Opened:
    path, held = file, None
    try:
        descriptor, path = open_plain(file)
        if path == file:
            os.close(descriptor)  # before SQLite opens it: to close one later would end SQLite's own locks
        else:
            held = descriptor
        # Immutable: no locks and no side files, also in a read-only folder. But an unfinished log must be read: with
        # SQLite's locks where its index lies beside it, since a recorder may be at work; else it is ours alone.
        has_log = unfinished_log(path)
        is_cut_off = _is_cut_off(path)
        is_ours_alone = is_cut_off or (has_log and not Path(f"{path}-shm").exists())
        database = apsw.Connection(
            f"file:{quote(str(path.absolute()))}?{'mode=ro' if has_log else 'immutable=1'}",
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
            vfs=_untouched().vfs_name if is_ours_alone else None,
        )
        if has_log and is_ours_alone:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")  # the log's index stays in memory
        database.execute("PRAGMA writable_schema = ON")  # also opens a file that is shorter than its header says
        return _Opened(database, is_cut_off, held)
    except (apsw.Error, OSError) as error:
        raise MayhemError(f"Cannot open {path} ({error}): check the path and its permissions.") from error


def unfinished_log(path: Path) -> bool:
    """Whether messages wait in a log beside the file, where SQLite finds them."""
    return Path(f"{path}-wal").exists()


def _is_cut_off(path: Path) -> bool:
    """Whether the file is shorter than its header says; old SQLite versions left that size out."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    has_size = head[24:28] == head[92:96]
    return has_size and _page_size(head) * int.from_bytes(head[28:32], "big") > path.stat().st_size


def _page_size(head: bytes) -> int:
    size = int.from_bytes(head[16:18], "big")
    return 65536 if size == 1 else size


class _Untouched(apsw.VFS):
    """SQLite's file access for files that nobody writes: neither they nor their folder is changed.

    Of a file that breaks off in a page there are only the whole ones: otherwise zeros would stand for its end.
    """

    vfs_name = "mayhem-untouched"
    base = "unix-none" if "unix-none" in apsw.vfsnames() else ""  # without locks

    def __init__(self) -> None:
        super().__init__(self.vfs_name, self.base)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if flags[0] & apsw.SQLITE_OPEN_WAL:
            flags[0] = flags[0] & ~(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE) | apsw.SQLITE_OPEN_READONLY
        kind = _WholePagesFile if flags[0] & apsw.SQLITE_OPEN_MAIN_DB else apsw.VFSFile
        return kind(self.base, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        raise apsw.ReadOnlyError(f"{filename} is not to be removed")


class _WholePagesFile(apsw.VFSFile):
    def xFileSize(self) -> int:  # noqa: N802
        size = super().xFileSize()
        if size < _HEAD:
            return size
        page_size = _page_size(self.xRead(_HEAD, 0))
        return size // page_size * page_size if page_size else size


@cache
def _untouched() -> _Untouched:
    return _Untouched()


def _salvaged(database: apsw.Connection) -> tuple[NDArray[np.void], int]:
    """The messages that can be read in full, and the number of those whose content is gone."""
    entries: list[tuple[int, ...]] = []
    lost = 0
    for row in _rows_around_damage(database):
        try:
            with database.blob_open("main", "messages", "data", row[-1], False) as blob:
                blob.read()
        except apsw.Error:
            lost += 1
        else:
            entries.append(row)
    return np.array(entries, ENTRY), lost


def _rows_around_damage(database: apsw.Connection) -> Iterator[tuple[int, ...]]:
    """The rows of all pages of the table that SQLite still finds, by ascending id."""
    last = -1  # rosbag2 counts from 1
    while True:
        try:
            for row in database.execute(f"{_MESSAGES} WHERE id > ? ORDER BY id", (last,)):
                if not all(isinstance(value, int) for value in row) or row[-1] <= last:
                    break  # no such row was ever written: its page is damaged
                last = row[-1]
                yield row
            else:
                return
        except apsw.Error:
            pass
        end = _end_of_damage(database, last)
        if end is None:
            return
        last = end


def _end_of_damage(database: apsw.Connection, last: int) -> int | None:
    """The smallest id, about, behind which rows can be read again; None where there is none."""

    def is_readable(start: int) -> bool:
        try:
            return bool(list(database.execute(f"{_MESSAGES} WHERE id > ? ORDER BY id LIMIT 1", (start,))))
        except apsw.Error:
            return False

    step = 1
    while not is_readable(last + step):
        step *= 2
        if last + step > _LARGEST_ID:
            return None
    low, high = last + step // 2, last + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_readable(middle) else (middle, high)
    return high


def _damaged(path: Path, error: Exception) -> str:
    return f"{path} is cut off or damaged ({error}): copy it from its source."
