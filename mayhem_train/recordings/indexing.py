"""A file's index: as it was kept from an earlier opening, or made now and kept for the next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.cache import FileVersion
from mayhem_train.recordings.index_cache import load_index, save_index
from mayhem_train.recordings.storages.sqlite import unfinished_log
from mayhem_train.recordings.storages.storage import Storage, StorageIndex
from mayhem_train.recordings.unpacking import discard_unpacked, unpacked_archive
from mayhem_train.recordings.zstd import MAGIC, is_compressed_message


def file_version(path: Path) -> FileVersion | None:
    """What the file's index is kept under; None where it cannot be told from a later state of it."""
    try:
        return None if unfinished_log(path) else FileVersion.of(path)
    except OSError:
        return None


def file_index(storage: Storage, version: FileVersion | None) -> tuple[StorageIndex, str]:
    """The index of a storage's file in this version, and in a sentence why it cannot be kept, or nothing.

    A zstd archive or zstd messages count as its compression. What was unpacked and holds no message does not stay.
    """
    index = None if version is None else load_index(storage.path, version)
    if index is not None:
        return index, ""
    try:
        index = storage.index()
    except MayhemError:
        storage.close()
        discard_unpacked(storage.path)
        raise
    archive = unpacked_archive(storage.path)
    if archive is not None or _has_compressed_messages(storage, index):
        index = replace(index, compression=(*index.compression, "zstd"))
    if archive is not None and archive.problem:
        index = replace(index, problems=(archive.problem, *index.problems))
    if archive is not None and not len(index.entries):
        storage.close()
        discard_unpacked(storage.path)
    return index, "" if version is None else save_index(storage.path, version, index)


def _has_compressed_messages(storage: Storage, index: StorageIndex) -> bool:
    """Whether rosbag2 compressed message by message: then it did so with each."""
    if not len(index.entries) or index.compression:
        return False
    first = index.entries[0]
    try:
        head = storage.read(int(first["block"]), int(first["offset"]), len(MAGIC))
    except MayhemError:
        return False
    return is_compressed_message(index.connections[int(first["connection"])].encoding, head)
