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

_SUFFIXES = {"auto": ("png", "tiff")}


def topic_notes(topics: Sequence[ChosenTopic]) -> list[dict[str, str]]:
    """What has to be noted of the topics before their first file is written; manifests hold it too."""
    return [{"topic": chosen.topic.name, "kind": chosen.kind, "form": chosen.form} for chosen in topics]


def written_files(folder: Path, notes: Mapping[str, Any]) -> list[Path]:
    """The files in a recording's `folder` that an ingest with these "parameters" and "topics" has written, or would.

    Raises:
        KeyError, TypeError, ValueError: the notes are none.
    """
    return [
        folder / place / name
        for place, names in _patterns(folder.name, notes).items()
        for name in _files(folder / place)
        if re.fullmatch(names, name)
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
    """How many of the files that a finished ingest wrote into its `folder` are no longer there.

    Raises:
        KeyError, TypeError, ValueError: the manifest is none.
    """
    there = written_files(folder, manifest)
    files = {str(file.relative_to(folder)) for file in there}
    expected = [entry["file"] for entry in (*manifest["topics"], *manifest["merged_imu"]) if "file" in entry]
    expected += [calibration["file"] for entry in manifest["topics"] for calibration in entry.get("calibrations", ())]
    expected += [manifest["table"]] if "table" in manifest else []
    lost = len(set(expected) - files)
    for entry in manifest["topics"]:
        if "folder" in entry:
            lost += max(0, entry["extracted"] - sum(file.parent == folder / entry["folder"] for file in there))
    return lost


def _patterns(stem: str, notes: Mapping[str, Any]) -> dict[str, str]:
    """For each place that files are written to the regular expression of their names."""
    names: dict[str, list[str]] = {"": [re.escape(MANIFEST)]}
    table = _form("table", notes["parameters"]["table"])
    if table != NONE:
        names[""].append(f"frames\\.{table}")
    topics = [entry for entry in notes["topics"] if entry["form"] != NONE]
    for entry in topics:
        topic, kind = entry["topic"], entry["kind"]
        form = _form(POSES if kind == TRANSFORM else kind, entry["form"])
        place = re.escape(topic_place(topic))
        if kind in FILE_KINDS:
            suffixes = "|".join(_SUFFIXES.get(form, (form,)))
            names[f"{kind}/{topic_place(topic)}"] = [f"{re.escape(stem)}-[0-9]{{6,}}\\.({suffixes})"]
        elif kind == CAMERA_INFO:
            names.setdefault(kind, []).append(f"{place}(\\.[0-9]{{6,}})?\\.{form}")
        else:
            names.setdefault(kind, []).append(f"{place}\\.{form}")
        if kind == IMU:
            others = (other["topic"] for other in topics if other["kind"] == IMU and other["topic"] != topic)
            names[IMU] += [f"{re.escape(merged_place(topic, other))}\\.{form}" for other in others]
    return {place: "|".join(choices) for place, choices in names.items()}


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
