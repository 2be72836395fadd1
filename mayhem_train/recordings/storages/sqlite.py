"""rosbag2's SQLite files (.db3): messages by row id."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from urllib.parse import quote

import apsw
import numpy as np

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.storages.per_process import PerProcess
from mayhem_train.recordings.storages.storage import ENTRY, Connection, StorageIndex, normalise_type

MAGIC = b"SQLite format 3\x00"


class SqliteStorage:
    """One .db3 file, opened read-only. A message's `offset` is its row id; `block` is 0."""

    name = "sqlite3"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = PerProcess(partial(_open, path))

    def index(self) -> StorageIndex:
        """From the tables; SQLite skips the pages that hold only payloads."""
        database = self._database.get()
        try:
            definitions = {}
            if list(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'message_definitions'")):
                query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
                definitions = {
                    normalise_type(name): (text, kind) for name, kind, text in database.execute(query) if text
                }
            topics = list(database.execute("SELECT id, name, type, serialization_format FROM topics ORDER BY id"))
            rows = database.execute("SELECT timestamp, 0, topic_id, 0, id FROM messages ORDER BY id")
            entries = np.fromiter(rows, ENTRY)
            connections = tuple(
                Connection(topic, normalise_type(name), encoding, *definitions.get(normalise_type(name), ("", "")))
                for _, topic, name, encoding in topics
            )
        except (apsw.Error, ValueError, TypeError, AttributeError, OverflowError) as error:  # NULL where none may be
            raise MayhemError(_damaged(self.path, error)) from error
        ids = np.array([row[0] for row in topics], np.int64)
        known = np.isin(entries["connection"], ids)
        orphans = len(entries) - int(known.sum())
        entries = entries[known]
        entries["connection"] = np.searchsorted(ids, entries["connection"])
        problems = (f"{self.path} holds {orphans} messages of topics it does not name.",) if orphans else ()
        return StorageIndex(connections, entries, (), problems)

    def read(self, block: int, offset: int, size: int | None = None) -> bytes:
        """The message in row `offset`."""
        database = self._database.get()
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

    def close(self) -> None:
        """Closes the file; reading opens it again."""
        database = self._database.take()
        if database is not None:
            database.close()


def _open(path: Path) -> apsw.Connection:
    # Immutable: no locks and no side files, also in a read-only folder. But an unfinished log must be read.
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
    try:
        return apsw.Connection(
            f"file:{quote(str(path.absolute()))}?{mode}", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
    except apsw.Error as error:
        raise MayhemError(f"Cannot open {path} ({error}): check the path and its permissions.") from error


def _damaged(path: Path, error: Exception) -> str:
    if "no such table" in str(error) or "no such column" in str(error):
        return f"{path} is an SQLite file but no rosbag2 recording ({error}): name a recorded .db3 file."
    return f"{path} is cut off or damaged ({error}): copy it from its source, or rescue it with `sqlite3 .recover`."
