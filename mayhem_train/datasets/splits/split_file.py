"""A small file that says which frames train and which judge, by name, by pattern or by recording."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.quoting import quoted
from mayhem_train.recordings.frame import frame_name, one_spelling

SPLITS = ("train", "val", "test", "unused")


@dataclass(frozen=True)
class SplitFile:
    """What a file assigns: (entry, split) in its order.

    An entry is a frame's name, a pattern of names with `*`, `?` or `[…]`, or a recording's stem.
    """

    path: Path
    entries: tuple[tuple[str, str], ...]

    def assign(self, frames: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """(recording, index) -> split. A name outweighs a pattern, and a pattern a recording.

        Raises:
            MayhemError: a frame is in no split or in two, or an entry matches no frame.
        """
        splits: dict[tuple[str, int], str] = {}
        used: set[str] = set()
        missing = []
        for recording, index in frames:
            name = frame_name(recording, index)
            ranks = (
                [(entry, split) for entry, split in self.entries if _as_png(entry) == name],
                [(entry, split) for entry, split in self.entries if _is_pattern(entry) and fnmatchcase(name, entry)],
                [(entry, split) for entry, split in self.entries if entry == recording],
            )
            used.update(entry for rank in ranks for entry, _ in rank)
            chosen = next((rank for rank in ranks if rank), [])
            if len({split for _, split in chosen}) > 1:
                (first, split), (second, other) = chosen[0], next(c for c in chosen if c[1] != chosen[0][1])
                raise MayhemError(
                    f"{self.path} puts {name} into {split} by {quoted(first)} and into {other} by {quoted(second)}: "
                    "keep one."
                )
            if chosen:
                splits[recording, index] = chosen[0][1]
            else:
                missing.append(name)
        if missing:
            raise MayhemError(
                f"{self.path} says nothing of {len(missing)} of the labelled frames, first {missing[0]}: "
                "add them to train, val or test, or to unused."
            )
        for entry, _ in self.entries:
            if entry not in used:
                raise MayhemError(
                    f"{self.path} names {quoted(entry)}, which is no labelled frame or recording: correct it."
                )
        return splits


def read_split_file(path: Path) -> SplitFile:
    """A YAML file with the lists train, val, test and unused, or a CSV file with the columns name and split.

    Raises:
        MayhemError: the file cannot be read or says something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        entries = _from_csv(text) if path.suffix.lower() == ".csv" else _from_yaml(text)
    except OSError as error:
        raise MayhemError(f"Cannot read the split file {path} ({error.strerror}): check the path.") from error
    except (ValueError, csv.Error, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise MayhemError(
            f"{path} is no split file ({reason}): give the lists train, val, test and unused in YAML, "
            "or rows of name,split in CSV."
        ) from error
    return SplitFile(path, tuple((one_spelling(entry), split) for entry, split in entries))


def _from_yaml(text: str) -> tuple[tuple[str, str], ...]:
    document = yaml.safe_load(text)
    if not isinstance(document, dict) or not document:
        raise ValueError("it is no mapping")
    entries = []
    for key, names in document.items():
        split = _checked(key)
        names = [] if names is None else names  # a key with nothing after it
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{quoted(split)} is no list of names")
        entries += [(name, split) for name in names]
    return tuple(entries)


def _from_csv(text: str) -> tuple[tuple[str, str], ...]:
    rows = csv.DictReader(io.StringIO(text))
    if not {"name", "split"} <= set(rows.fieldnames or ()):
        raise ValueError("its first line does not name the columns name and split")
    entries = tuple((row["name"] or "", _checked(row["split"])) for row in rows)
    if not entries or not all(name for name, _ in entries):
        raise ValueError("a row has no name" if entries else "it has no rows")
    return entries


def _checked(split: object) -> str:
    if split not in SPLITS:
        raise ValueError(f"there is no split {quoted(split)}")
    return str(split)


def _is_pattern(entry: str) -> bool:
    return any(character in entry for character in "*?[")


def _as_png(entry: str) -> str:
    """A frame extracted as JPEG is the same frame."""
    stem, dot, suffix = entry.rpartition(".")
    return f"{stem}.png" if dot and suffix.lower() in ("jpg", "jpeg", "png") else entry
