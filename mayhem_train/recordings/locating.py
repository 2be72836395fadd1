"""Which files make up a recording, and what it is called."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.storages import mcap, ros1, sqlite
from mayhem_train.recordings.storages.mcap import McapStorage
from mayhem_train.recordings.storages.ros1 import Ros1Storage
from mayhem_train.recordings.storages.sqlite import SqliteStorage
from mayhem_train.recordings.storages.storage import Storage

SUFFIXES = (".bag", ".db3", ".mcap")
METADATA = "metadata.yaml"


@dataclass(frozen=True)
class RecordingFiles:
    """The storage files of a recording in the order they were written.

    Attributes:
        problems: what its metadata.yaml lacks, one sentence each.
        message_count: how many messages metadata.yaml promises, None where it says nothing.
    """

    paths: tuple[Path, ...]
    problems: tuple[str, ...] = ()
    message_count: int | None = None


def recording_stem(path: Path) -> str:
    """The file's or folder's name without `.bag`, `.db3` or `.mcap`."""
    name = Path(os.path.abspath(path)).name  # noqa: PTH100 - `.` and `..` have names, but links keep theirs
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    return stem if suffix.lower() in SUFFIXES else name


def recording_files(path: Path) -> RecordingFiles:
    """The files behind a recording's path.

    Raises:
        MayhemError: nothing is there, or no recording.
    """
    if path.is_dir():
        return _from_metadata(path) if (path / METADATA).exists() else _without_metadata(path)
    if not path.exists():
        raise MayhemError(f"There is no recording at {path}: check the path.")
    if path.name == METADATA:
        return recording_files(path.parent)
    return RecordingFiles((path,))


def open_storage(path: Path) -> Storage:
    """The file's storage, chosen by its first bytes.

    Raises:
        MayhemError: the file is missing, empty or no recording.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError as error:
        raise MayhemError(f"Cannot open {path} ({error.strerror}): check the path and its permissions.") from error
    if not head:
        raise MayhemError(f"{path} is empty: copy it from its source or record it again.")
    if head.startswith(mcap.MAGIC):
        return McapStorage(path)
    if head.startswith(sqlite.MAGIC):
        return SqliteStorage(path)
    if head.startswith(ros1.MAGIC):
        return Ros1Storage(path)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        raise MayhemError(f"{path} is a zstd archive: unpack it with `unzstd` first.")
    if head.startswith(b"#ROSBAG V1"):
        raise MayhemError(f"{path} is a bag of an old format: convert it with `rosbag fix` first.")
    raise MayhemError(f"{path} is no recording (it begins with {head[:8]!r}): name a .mcap, .db3 or .bag file.")


def find_recordings(folder: Path) -> dict[str, Path]:
    """Every recording in `folder` and below, by its stem. A rosbag2 folder counts once, the files in it do not.

    Raises:
        MayhemError: the folder is missing, or two recordings have the same stem.
    """
    if not folder.is_dir():
        raise MayhemError(f"There is no folder {folder}: name the one that holds the recordings.")
    found: dict[str, Path] = {}
    for path in [folder] if (folder / METADATA).exists() else _recordings_below(folder):
        stem = recording_stem(path)
        if stem in found:
            raise MayhemError(f"{found[stem]} and {path} are both called {stem!r}: rename one of them.")
        found[stem] = path
    return found


def _recordings_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            found.append(path)
        elif path.is_dir():
            is_recording = (path / METADATA).exists() or _series(_storage_files(path)) == {path.name}
            found.extend([path] if is_recording else _recordings_below(path))
    return found


def _storage_files(folder: Path) -> list[Path]:
    """The rosbag2 files in a folder; numbered ones in the order of their numbers."""

    def place(path: Path) -> tuple[str, int]:
        series, number = _split_number(path.stem)
        return series, number

    files = (path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in (".mcap", ".db3"))
    return sorted((path for path in files if not path.name.startswith(".")), key=place)


def _series(files: list[Path]) -> set[str]:
    """What the files are called without rosbag2's running number: one name for the parts of one recording."""
    return {_split_number(path.stem)[0] for path in files}


def _split_number(stem: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.+)_(\d+)", stem)
    return (match[1], int(match[2])) if match else (stem, -1)


def _without_metadata(folder: Path) -> RecordingFiles:
    files = _storage_files(folder)
    if not files:
        raise MayhemError(f"The folder {folder} holds no recording: it has no {METADATA}, no .mcap and no .db3 file.")
    if len(_series(files)) > 1:
        names = ", ".join(path.name for path in files)
        raise MayhemError(f"The folder {folder} has no {METADATA} and several recordings: name one of {names}.")
    problem = f"{folder} has no {METADATA}: its files were opened as they are ({', '.join(p.name for p in files)})."
    return RecordingFiles(tuple(files), (problem,))


def _from_metadata(folder: Path) -> RecordingFiles:
    path = folder / METADATA
    try:
        information: dict[str, Any] = yaml.safe_load(path.read_text())["rosbag2_bagfile_information"]
        # Only the names: old versions wrote them with the folder, and no recording reaches outside of its own.
        files = tuple(folder / Path(name).name for name in information["relative_file_paths"])
        message_count = int(information["message_count"])
        compression = str(information.get("compression_mode") or "none").lower()
    except OSError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror}): check its permissions.") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise MayhemError(
            f"{path} is no rosbag2 metadata ({type(error).__name__}: {' '.join(str(error).split())}): "
            "remove it, and the files beside it are opened without it."
        ) from error
    if compression in ("file", "message"):
        raise MayhemError(f"{folder} is compressed by {compression}: unpack it with `ros2 bag convert` first.")
    if not files:
        raise MayhemError(f"{path} names no files: remove it, and the files beside it are opened without it.")
    for file in files:
        if not file.is_file():
            raise MayhemError(f"{folder} lacks its file {file.name}: copy it there.")
    return RecordingFiles(files, (), message_count)
