"""The splits of a YOLO data set: by lists of images, by the folders that data.yaml names, or by their own names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mayhem_train.datasets.annotations.faults import LabelError
from mayhem_train.datasets.annotations.labelled_splits import split_of_folders, split_of_word
from mayhem_train.datasets.annotations.recorded_frames import RecordedFrames
from mayhem_train.datasets.annotations.yolo_description import YoloDescription

_SAME_FOR_ALL = {"", ".", "..", "images", "labels"}


def is_list_of_images(path: Path, description: YoloDescription) -> bool:
    """Whether a text file is named in data.yaml, or like the lists of Darknet, Ultralytics and CVAT: val2017.txt."""
    named = any([path.name] == _parts(place)[-1:] for _, place in description.places)
    return named or bool(split_of_word(path.stem))


def splits_of(
    files: dict[tuple[str, int], Path], folder: Path, description: YoloDescription, frames: RecordedFrames
) -> dict[tuple[str, int], str]:
    """The split of each frame of which the data set says one; `files` are its label files by recording and index."""
    listed = _listed(folder, description, frames)
    named = [(split, _parts(place)) for split, place in description.places if not place.lower().endswith(".txt")]
    root = folder.resolve()
    splits = {}
    for frame, path in files.items():
        below = "/".join((root.name, *path.relative_to(folder).parts))
        parts = _parts(below)[:-1]
        said = {split for split, place in named if place and parts[-len(place) :] == place}
        split = listed.get(frame) or (said.pop() if len(said) == 1 else "") or split_of_folders(below)
        if split:
            splits[frame] = split
    return splits


def _listed(folder: Path, description: YoloDescription, frames: RecordedFrames) -> dict[tuple[str, int], str]:
    """The splits of images that lists name, the lists lying in the data set's folder or in the one above."""
    beside = [path for place in (folder.parent, folder) for path in sorted(place.glob("*.txt"))]
    lists = [(split_of_word(path.stem), path) for path in beside if split_of_word(path.stem)]
    for split, place in description.places:
        lists += [(split, path) for path in beside if [path.name] == _parts(place)[-1:]]
    splits = {}
    for split, path in lists:
        for name in _lines(path):
            try:
                found = frames.find(name)
            except LabelError:
                continue  # another image than those of recordings
            splits[found.recording, found.index] = split
    return splits


def _lines(path: Path) -> Iterable[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return []


def _parts(path: str) -> list[str]:
    return [part for part in re.split(r"[/\\]", path) if part not in _SAME_FOR_ALL]
