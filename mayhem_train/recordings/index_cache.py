"""What a file's index says and the stamps of its messages, kept so that the next opening need not gather them again."""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mayhem_train.recordings.cache import FileVersion, cache_folder
from mayhem_train.recordings.storages.storage import ENTRY, Connection, StorageIndex

UNREAD = np.iinfo(np.int64).min
"""Stands for a stamp that has not been read."""

_FORMAT = 3  # raised whenever what is written changes
_PATH = "\0"  # stands for the file's path in sentences, since the same file may be named differently next time


def load_index(path: Path, version: FileVersion) -> StorageIndex | None:
    """The index kept of this version of the file, or None where there is none or it is damaged."""
    loaded = _load("index", version)
    if loaded is None:
        return None
    facts, entries = loaded
    try:
        connections = tuple(Connection(**fields) for fields in facts["connections"])
        compression = tuple(map(str, facts["compression"]))
        problems = tuple(problem.replace(_PATH, str(path)) for problem in facts["problems"])
    except (KeyError, TypeError, AttributeError):
        return None
    if entries.dtype != ENTRY or entries.ndim != 1:
        return None
    if len(entries) and not 0 <= entries["connection"].min() <= entries["connection"].max() < len(connections):
        return None
    return StorageIndex(connections, entries, compression, problems)


def save_index(path: Path, version: FileVersion, index: StorageIndex) -> str:
    """Keeps the index, as long as the file is still of that version; says in a sentence where it cannot, or nothing."""
    facts = {
        "connections": [asdict(connection) for connection in index.connections],
        "compression": index.compression,
        "problems": [re.sub(rf"(?<!\S){re.escape(str(path))}(?!\w)", _PATH, problem) for problem in index.problems],
    }
    return _save("index", path, version, facts, index.entries)


def load_stamps(version: FileVersion, count: int) -> NDArray[np.int64] | None:
    """int64 [count], UNREAD where a stamp has not been read; None where there are none or they are damaged."""
    loaded = _load("stamps", version)
    if loaded is None or loaded[1].dtype != np.int64 or loaded[1].shape != (count,):
        return None
    return loaded[1]


def save_stamps(path: Path, version: FileVersion, stamps_ns: NDArray[np.int64]) -> str:
    """Keeps stamps in the order of the file's log times, as `save_index` does."""
    return _save("stamps", path, version, {}, stamps_ns)


def load_packet_contents(version: FileVersion, count: int) -> NDArray[np.uint16] | None:
    """uint16 [count], 0 where a message was not looked at; None where there are none or they are damaged."""
    loaded = _load("packets", version)
    if loaded is None or loaded[1].dtype != np.uint16 or loaded[1].shape != (count,):
        return None
    return loaded[1]


def save_packet_contents(path: Path, version: FileVersion, contents: NDArray[np.uint16]) -> None:
    """Keeps what video packets hold, in the order of the file's log times, as `save_stamps` does."""
    _save("packets", path, version, {}, contents)


def load_content_hash(version: FileVersion) -> str | None:
    """The SHA-256 that this version of the file once had, None where nobody asked for it yet."""
    loaded = _load("content", version)
    return None if loaded is None else loaded[1].tobytes().hex()


def save_content_hash(path: Path, version: FileVersion, sha256: str) -> str:
    """Keeps the SHA-256 of the file's content, as `save_index` does."""
    return _save("content", path, version, {}, np.frombuffer(bytes.fromhex(sha256), np.uint8))


def forget(version: FileVersion) -> None:
    """Removes what is kept of a file."""
    for kind in ("index", "stamps", "packets", "content"):
        with suppress(OSError):
            _place(kind, version).unlink(missing_ok=True)


def _place(kind: str, version: FileVersion) -> Path:
    return cache_folder() / "indexes" / f"{version.place}.{kind}.npz"


def _load(kind: str, version: FileVersion) -> tuple[dict[str, Any], NDArray[Any]] | None:
    """The facts and the array that were kept of this version of a file; nothing that is damaged."""
    try:
        with np.load(_place(kind, version), allow_pickle=False) as kept:  # its checksums are verified on the way
            facts = json.loads(kept["facts"].tobytes())
            if facts["format"] != _FORMAT or facts["version"] != asdict(version):
                return None
            return facts, kept["array"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, NotImplementedError):
        return None


def _save(kind: str, path: Path, version: FileVersion, facts: dict[str, Any], array: NDArray[Any]) -> str:
    """Keeps facts and an array, whole or not at all; of several processes that do so the last one counts.

    Where that cannot be, which only costs time, a sentence says so.
    """
    place = _place(kind, version)
    text = json.dumps({"format": _FORMAT, "version": asdict(version), **facts}).encode()
    try:
        if FileVersion.of(path) != version:  # it was being written while it was read
            return ""
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(prefix=".partial-", dir=place.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                np.savez(stream, facts=np.frombuffer(text, np.uint8), array=array)
            Path(partial).replace(place)
        finally:
            Path(partial).unlink(missing_ok=True)
    except OSError as error:
        return (
            f"The indexes of recordings cannot be kept in {cache_folder()} ({error.strerror or error}): set "
            "MAYHEM_CACHE to a folder that can be written, or opening large recordings takes as long every time."
        )
    return ""
