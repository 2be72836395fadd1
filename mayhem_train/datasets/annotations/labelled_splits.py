"""Splits that labels carry themselves: in the names of files and folders, in lists of images, in CVAT's subsets."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    "unused": "unused",
}
_ROBOFLOWS_NAME = "_annotations.coco.json"


def split_of_word(word: object) -> str:
    """The split that tools use the word for, with a year or a number behind it; else empty."""
    return _WORDS.get(re.sub(r"[-_ ]?[0-9]+$", "", word.strip().lower()), "") if isinstance(word, str) else ""


def split_of_folders(path: str) -> str:
    """What the folders of a path say, the innermost first: images/train/a.png, or CVAT's obj_train_data."""
    for folder in reversed(re.split(r"[/\\]", path)[:-1]):
        split = split_of_word(re.sub(r"^obj_(.+)_data$", r"\1", folder, flags=re.IGNORECASE))
        if split:
            return split
    return ""


def split_of_file(path: Path) -> str:
    """What an annotation file's name says, where it says one (instances_val2017.json), or the folder of Roboflow's."""
    if path.name == _ROBOFLOWS_NAME:
        return split_of_word(path.parent.name)
    said = {split_of_word(word) for word in re.split(r"[^a-zA-Z0-9]+", PurePosixPath(path.name).stem)} - {""}
    return said.pop() if len(said) == 1 else ""


def said_split(entry: dict[str, Any], file_name: str) -> str:
    """What a COCO image says: by a field of its own, as a dataset index does, or by the folder it lies in."""
    return split_of_word(entry.get("split", entry.get("subset"))) or split_of_folders(file_name)
