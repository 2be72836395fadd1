"""What stands beside YOLO's label files: the classes' names, the shape of keypoints, the splits."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.annotations.labelled_splits import split_of_word
from mayhem_train.datasets.quoting import quoted


@dataclass(frozen=True)
class YoloDescription:
    """A data.yaml, or a list of names alone.

    Attributes:
        names: class names by number.
        keypoint_fields: how many numbers of keypoints follow the box in a line of a pose set, else 0.
        places: (split, path as it is written) of the folders and lists of images that it names.
    """

    names: dict[int, str]
    keypoint_fields: int = 0
    places: tuple[tuple[str, str], ...] = field(default=())


def read_description(path: Path) -> YoloDescription:
    """Reads a data.yaml, whose `names` are a list or a mapping, or the lines of a classes.txt or obj.names.

    Raises:
        MayhemError: the file is missing or does not name classes, each once; the sentence says what it has.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = yaml.safe_load(text) if path.suffix.lower() in (".yaml", ".yml") else _lines(text)
    except OSError as error:
        raise MayhemError(f"Cannot read the class names {path} ({error.strerror or error}): name a file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise MayhemError(f"The class names {path} cannot be read ({reason}): correct the file.") from error
    if not isinstance(content, dict):
        return YoloDescription(_names(content, path))
    return YoloDescription(_names(content.get("names"), path), _keypoint_fields(content, path), _places(content))


def _names(content: object, path: Path) -> dict[int, str]:
    names = dict(enumerate(content)) if isinstance(content, list) else content
    if not isinstance(names, dict) or not names:
        raise MayhemError(f"{path} names no classes: it needs `names`, a list or a mapping from numbers to names.")
    for number, name in names.items():
        if type(number) is not int or number < 0 or not isinstance(name, str) or not name.strip():
            raise MayhemError(
                f"{path} has the class {quoted(number)}: {quoted(name)}, which is no number with a name: correct it."
            )
    if len(set(names.values())) != len(names):
        raise MayhemError(f"{path} names a class twice: give each number a name of its own.")
    return dict(sorted(names.items()))


def _keypoint_fields(content: dict[str, Any], path: Path) -> int:
    shape = content.get("kpt_shape")
    if shape is None:
        return 0
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and 0 < n < 10**4 for n in shape):
        raise MayhemError(
            f"{path} has the kpt_shape {quoted(shape)}, which is not [number of keypoints, 2 or 3]: correct it."
        )
    return math.prod(shape)


def _places(content: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    places = []
    for key, value in content.items():
        if split := split_of_word(key):
            places += [(split, place) for place in (value if isinstance(value, list) else [value])]
    return tuple((split, place) for split, place in places if isinstance(place, str))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.rstrip().splitlines()]
