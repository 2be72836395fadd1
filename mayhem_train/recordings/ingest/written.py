"""Which files of a recording's folder an ingest has written: what it notes of its topics says so."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mayhem_train.recordings.ingest.options import FORMS, NONE
from mayhem_train.recordings.ingest.places import MANIFEST, merged_place, topic_place
from mayhem_train.recordings.ingest.topics import CAMERA_INFO, FILE_KINDS, IMU, POSES, TRANSFORM, ChosenTopic
from mayhem_train.recordings.recording import Topic

_SUFFIXES = {"auto": ("png", "tiff")}


def topic_notes(topics: Sequence[ChosenTopic]) -> list[dict[str, Any]]:
    """What has to be noted of the topics before their first file is written; manifests hold it too."""
    return [
        {"topic": chosen.topic.name, "kind": chosen.kind, "form": chosen.form, "messages": chosen.topic.count}
        for chosen in topics
    ]


def left_out_notes(topics: Sequence[Topic]) -> list[dict[str, Any]]:
    """What the manifest says of topics that are of no type that is extracted."""
    return [{"topic": topic.name, "type": topic.type, "messages": topic.count} for topic in topics]


def written_files(folder: Path, notes: Mapping[str, Any]) -> list[Path]:
    """The files in a recording's `folder` that an ingest with these "parameters" and "topics" has written, or would.

    Raises:
        KeyError, TypeError, ValueError: the notes are none.
    """
    return [
        folder / place / name
        for place, names in _patterns(folder.name, notes).items()
        for name in _files(folder / place)
        if any(_is_written(name, pattern, messages) for pattern, messages in names)
    ]


def remove_files(folder: Path, files: Sequence[Path]) -> None:
    """Removes files in a recording's folder, and the folders within it that hold nothing any more."""
    for file in files:
        file.unlink(missing_ok=True)
    places = {place for file in files for place in file.relative_to(folder).parents}
    for place in sorted(places, key=lambda place: len(place.parts), reverse=True):
        if place.parts and not any((folder / place).iterdir()):
            (folder / place).rmdir()


def count_lost(folder: Path, manifest: Mapping[str, Any]) -> int:
    """How many of the files that a finished ingest wrote into its `folder` are no longer there, or are empty.

    Raises:
        KeyError, TypeError, ValueError: the manifest is none.
    """
    there = [file for file in written_files(folder, manifest) if not _is_empty(file)]
    files = {str(file.relative_to(folder)) for file in there}
    expected = [entry["file"] for entry in (*manifest["topics"], *manifest["merged_imu"]) if "file" in entry]
    expected += [calibration["file"] for entry in manifest["topics"] for calibration in entry.get("calibrations", ())]
    expected += [manifest["table"]] if "table" in manifest else []
    lost = len(set(expected) - files)
    for entry in manifest["topics"]:
        if "folder" in entry:
            lost += max(0, entry["extracted"] - sum(file.parent == folder / entry["folder"] for file in there))
    return lost


def _patterns(stem: str, notes: Mapping[str, Any]) -> dict[str, list[tuple[str, int]]]:
    """For each place that files are written to the regular expressions of their names.

    Where such a name has an index, it is below the number that stands with the expression.
    """
    names: dict[str, list[tuple[str, int]]] = {"": [(re.escape(MANIFEST), 0)]}
    table = _form("table", notes["parameters"]["table"])
    if table != NONE:
        names[""].append((f"frames\\.{table}", 0))
    topics = [entry for entry in notes["topics"] if entry["form"] != NONE]
    for entry in topics:
        topic, kind, messages = entry["topic"], entry["kind"], int(entry["messages"])
        form = _form(POSES if kind == TRANSFORM else kind, entry["form"])
        place = re.escape(topic_place(topic))
        if kind in FILE_KINDS:
            suffixes = "|".join(_SUFFIXES.get(form, (form,)))
            pattern = f"{re.escape(stem)}-(?P<index>[0-9]{{6,}})\\.(?:{suffixes})"
            names[f"{kind}/{topic_place(topic)}"] = [(pattern, messages)]
        elif kind == CAMERA_INFO:
            names.setdefault(kind, []).append((f"{place}(?:\\.(?P<index>[0-9]{{6,}}))?\\.{form}", messages))
        else:
            names.setdefault(kind, []).append((f"{place}\\.{form}", 0))
        if kind == IMU:
            others = (other["topic"] for other in topics if other["kind"] == IMU and other["topic"] != topic)
            names[IMU] += [(f"{re.escape(merged_place(topic, other))}\\.{form}", 0) for other in others]
    return names


def _is_written(name: str, pattern: str, messages: int) -> bool:
    """Whether a file's name is of the pattern, and its index, if it has one, that of a message as it is written."""
    match = re.fullmatch(pattern, name)
    if match is None:
        return False
    index = match.groupdict().get("index")
    return index is None or (int(index) < messages and index == f"{int(index):06d}")


def _is_empty(file: Path) -> bool:
    """Whether there is nothing in a file, as in none that an ingest writes."""
    try:
        return file.stat().st_size == 0
    except FileNotFoundError:  # a link that leads nowhere
        return True


def _form(kind: str, form: str) -> str:
    if form not in FORMS[kind]:
        raise ValueError(f"{kind} is never written as {form!r}")
    return form


def _files(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return
