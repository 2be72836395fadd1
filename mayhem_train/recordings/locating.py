"""Which files make up a recording, and what it is called."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.frame import one_spelling
from mayhem_train.recordings.other_formats import LONGEST, other_format
from mayhem_train.recordings.storages import mcap, ros1, sqlite
from mayhem_train.recordings.storages.mcap import McapStorage
from mayhem_train.recordings.storages.ros1 import Ros1Storage
from mayhem_train.recordings.storages.sqlite import SqliteStorage
from mayhem_train.recordings.storages.storage import Storage
from mayhem_train.recordings.zstd import archive_head, is_archive

SUFFIXES = (".bag", ".db3", ".mcap")
ARCHIVES = (".zst", ".zstd")
METADATA = "metadata.yaml"

_NOT_CLOSED = ".active"  # what ROS 1 appends while it records


@dataclass(frozen=True)
class RecordingFiles:
    """The storage files of a recording in the order they were written.

    Attributes:
        missing: those that metadata.yaml names and that are not there.
        problems: what else is wrong with the folder, one sentence each.
        message_count: how many messages metadata.yaml promises, None where it says nothing.
    """

    paths: tuple[Path, ...]
    missing: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    message_count: int | None = None


def recording_stem(path: Path) -> str:
    """The file's or folder's name without `.bag`, `.db3` or `.mcap`, and without `.zst` or `.zstd` behind it.

    A metadata.yaml stands for its folder.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - `.` and `..` have names, but links keep theirs
    return one_spelling(_split_suffix(path.parent.name if path.name == METADATA else path.name)[0])


def recording_files(path: Path) -> RecordingFiles:
    """The files behind a recording's path.

    Raises:
        MayhemError: nothing is there, or no recording, or it may not be looked for.
    """
    try:
        if path.is_dir():
            return _from_metadata(path) if (path / METADATA).exists() else _without_metadata(path)
        if not path.exists():
            raise MayhemError(f"There is no recording at {path}: check the path.")
    except OSError as error:
        raise MayhemError(
            f"Cannot look for a recording at {path} ({error.strerror}): check the path and its permissions."
        ) from error
    if path.name == METADATA:
        return recording_files(path.parent)
    return RecordingFiles((path,))


def open_storage(path: Path) -> Storage:
    """The file's storage, chosen by the first bytes of it or of what it holds as an archive.

    Raises:
        MayhemError: the file is missing, empty or no recording.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(LONGEST)
        inside = ""
        if is_archive(head):
            head, inside = archive_head(path, LONGEST), "a zstd archive and "
    except OSError as error:
        raise MayhemError(f"Cannot open {path} ({error.strerror}): check the path and its permissions.") from error
    if not head:
        raise MayhemError(f"{path} is {inside}empty: copy it from its source or record it again.")
    if head.startswith(mcap.MAGIC):
        return McapStorage(path)
    if head.startswith(sqlite.MAGIC):
        return SqliteStorage(path)
    if head.startswith(ros1.MAGIC):
        return Ros1Storage(path)
    if head.startswith(b"#ROSBAG V1"):
        raise MayhemError(f"{path} is a bag of an old format: convert it with `rosbag fix` first.")
    if (other := other_format(head)) is not None:
        raise MayhemError(f"{path} is {inside}{other[0]}, no recording: {other[1]}.")
    raise MayhemError(f"{path} is {inside}no recording (it begins with {head[:8]!r}): name a .mcap, .db3 or .bag file.")


def refuse_missing_folder(folder: Path) -> None:
    """Raises MayhemError where there is no such folder of recordings."""
    if not folder.is_dir():
        raise MayhemError(f"There is no folder {folder}: name the one that holds the recordings.")


def find_recordings(folder: Path, wanted: Collection[str] | None = None) -> dict[str, Path]:
    """Every recording in `folder` and below, by its stem.

    A folder counts as one recording, and the files in it do not count, when it has a metadata.yaml, when its files are
    the numbered parts of a recording of the folder's own name, or when they are the parts of a ROS 1 bag that
    `rosbag record --split` named by time. Other bags and files are each a recording.

    Args:
        folder: where to look.
        wanted: stems; a folder that cannot be looked into is an error only where one of them is not found elsewhere.
            None: all are wanted.

    Raises:
        MayhemError: the folder is missing, two recordings have the same stem, or a folder cannot be looked into.
    """
    found: dict[str, Path] = {}
    unreadable: list[OSError] = []
    try:
        refuse_missing_folder(folder)
        paths = [folder] if _is_recording(folder) else _recordings_below(folder, unreadable)
    except OSError as error:
        raise _cannot_look(error) from error
    for path in paths:
        stem = recording_stem(path)
        if stem in found:
            raise MayhemError(f"{found[stem]} and {path} are both called {stem!r}: rename one of them.")
        found[stem] = path
    if unreadable and (wanted is None or not set(wanted) <= found.keys()):
        raise _cannot_look(*unreadable) from unreadable[0]
    return found


def _cannot_look(first: OSError, *others: OSError) -> MayhemError:
    more = f" and {len(others)} more" if others else ""
    return MayhemError(f"Cannot look into {first.filename}{more} ({first.strerror}): check its permissions.")


def _recordings_below(folder: Path, unreadable: list[OSError], seen: set[str] | None = None) -> list[Path]:
    """Every recording in a folder and below, but for folders that are `unreadable`, which that list then tells of.

    Folders that were `seen` are passed over, since links may go round.
    """
    seen = set() if seen is None else seen
    seen.add(os.path.realpath(folder))
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_file() and _split_suffix(path.name)[1]:
            found.append(path)
        elif path.is_dir() and os.path.realpath(path) not in seen:
            try:
                found.extend([path] if _is_recording(path) else _recordings_below(path, unreadable, seen))
            except OSError as error:
                unreadable.append(OSError(error.errno, error.strerror, str(path)))
    return found


def _is_recording(folder: Path) -> bool:
    """Whether a folder is one recording for itself, without anybody naming it."""
    if (folder / METADATA).exists():
        return True
    parts = _parts(folder)
    if not parts:
        return False
    if {part.series for part in parts} == {recording_stem(folder)}:
        return all(part.suffix != ".bag" for part in parts) or _is_complete(parts)
    return len(parts) > 1 and all(part.suffix == ".bag" for part in parts) and _is_complete(parts) and _is_split(parts)


@dataclass(frozen=True)
class _Part:
    """One file of a folder.

    Attributes:
        series: its name without suffixes, number and time: that of the recording it may be a part of.
        time: as `rosbag record` writes it into the name ("2022-10-19-10-44-31"), or empty.
        number: which part it is, -1 without a number.
        suffix: of the format.
    """

    path: Path
    series: str
    time: str
    number: int
    suffix: str


_NAME = re.compile(r"(?P<series>.*?)(?P<time>_?\d{4}(?:-\d\d){5})?(?:_(?P<number>\d+))?", re.DOTALL)


def _parts(folder: Path) -> list[_Part]:
    """The storage files in a folder, those of a series in the order of their numbers; of a file and its archive one."""
    parts: dict[tuple[str, str], _Part] = {}
    for path in sorted(folder.iterdir()):
        stem, suffix = _split_suffix(one_spelling(path.name))
        if not suffix or path.name.startswith(".") or not path.is_file():
            continue
        match = _NAME.fullmatch(stem)
        assert match is not None
        series, time, number = match["series"], (match["time"] or "").lstrip("_"), match["number"]
        if time and (number is None or suffix != ".bag"):  # the time is all the name there is
            series, time = f"{series}{match['time']}", ""
        if not series and not time:  # a name of digits
            series, number = stem, None
        parts[stem, suffix] = _Part(path, series, time, -1 if number is None else int(number), suffix)
    return sorted(parts.values(), key=lambda part: (part.series, part.number, part.time))


def _is_complete(parts: Sequence[_Part]) -> bool:
    """Whether the parts are numbered from 0 on, each once."""
    return [part.number for part in parts] == list(range(len(parts)))


def _is_split(parts: Sequence[_Part]) -> bool:
    """Whether `rosbag record --split` named the parts: of one series, each begun after the one before."""
    times = [part.time for part in parts]
    return len({part.series for part in parts}) == 1 and all(times) and times == sorted(times)


def _split_suffix(name: str) -> tuple[str, str]:
    """A name without the suffixes of a recording, and that of its format (empty where it has none)."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    if suffix.lower() in ARCHIVES:
        stem, suffix = os.path.splitext(stem)  # noqa: PTH122
    if suffix.lower() == _NOT_CLOSED:
        stem, suffix = os.path.splitext(stem)  # noqa: PTH122
    return (stem, suffix.lower()) if suffix.lower() in SUFFIXES else (name, "")


def _without_metadata(folder: Path) -> RecordingFiles:
    parts = _parts(folder)
    paths = tuple(part.path for part in parts)
    names = ", ".join(path.name for path in paths)
    unreadable: list[OSError] = []
    below = [path for path in _recordings_below(folder, unreadable) if path.parent != folder or path.is_dir()]
    if unreadable:
        raise unreadable[0]
    if below:
        names = ", ".join(str(path.relative_to(folder)) for path in sorted([*below, *paths]))
        raise MayhemError(f"The folder {folder} holds several recordings: name them ({names}).")
    bags = [part for part in parts if part.suffix == ".bag"]
    if not parts:
        raise MayhemError(f"The folder {folder} holds no recording: it has no {METADATA}, no .mcap, .db3 or .bag file.")
    if len({part.series for part in parts}) > 1 or 0 < len(bags) < len(parts):
        raise MayhemError(f"The folder {folder} has no {METADATA} and several recordings: name one of {names}.")
    if bags:
        if len(parts) > 1 and not _is_complete(parts):
            numbers = ", ".join(str(part.number) for part in parts)
            raise MayhemError(
                f"The bags in {folder} are not the parts of one recording, numbered from 0 on without a gap (their "
                f"numbers are {numbers}): name one of {names}."
            )
        return RecordingFiles(paths)
    problems = [f"{folder} has no {METADATA}: its files were opened as they are ({names})."]
    present = {part.number for part in parts}
    gap = next(number for number in count() if number not in present)
    if len(parts) > 1 and gap < max(present):
        problems.append(
            f"{folder} lacks part {gap} by its files' numbers: frames are numbered without what is missing."
        )
    return RecordingFiles(paths, problems=tuple(problems))


def _from_metadata(folder: Path) -> RecordingFiles:
    path = folder / METADATA
    try:
        information: dict[str, Any] = yaml.safe_load(path.read_text())["rosbag2_bagfile_information"]
        # Only the names: old versions wrote them with the folder, and no recording reaches outside of its own.
        names = [Path(name).name for name in information["relative_file_paths"]]
        message_count = int(information["message_count"])
        mode, compression = (str(information.get(f"compression_{name}") or "").lower() for name in ("mode", "format"))
    except OSError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror}): check its permissions.") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise MayhemError(
            f"{path} is no rosbag2 metadata ({type(error).__name__}: {' '.join(str(error).split())}): "
            "remove it, and the files beside it are opened without it."
        ) from error
    if not names or not all(names):
        raise MayhemError(f"{path} names no files: remove it, and the files beside it are opened without it.")
    if mode in ("file", "message") and compression not in ("", "zstd"):
        raise MayhemError(
            f"{folder} is compressed by {mode} with {compression}: unpack it with `ros2 bag convert` first."
        )
    found = {folder / name: _present(folder / name) for name in names}
    present = tuple(file for file in found.values() if file is not None)
    if not present:
        raise MayhemError(f"{folder} lacks its file {names[0]}: copy it there.")
    missing = tuple(file for file, place in found.items() if place is None)
    return RecordingFiles(present, missing, message_count=message_count)


def _present(file: Path) -> Path | None:
    """The file, or its archive, or what was unpacked of it: people pack and unpack without changing metadata.yaml."""
    plain = file.with_suffix("") if file.suffix in ARCHIVES else file
    for candidate in (file, *(plain.with_name(plain.name + suffix) for suffix in ARCHIVES), plain):
        if candidate.is_file():
            return candidate
    return None
