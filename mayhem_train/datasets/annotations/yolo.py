"""Reads YOLO label folders: one text file a frame, one line a box or polygon, in shares of the image's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import yaml

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.annotations.plain_numbers import plain
from mayhem_train.datasets.annotations.shapes import AnnotatedImage, AnnotationFile, BoxShape, PolygonShape, Shape
from mayhem_train.datasets.quoting import quoted
from mayhem_train.recordings.frame import frame_name, parse_frame_name
from mayhem_train.recordings.recording import Recording, Topic, find_recordings

# What lies beside the labels in datasets of Ultralytics, Darknet and CVAT.
_OTHER_FILES = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "requirements.txt"}
_OTHER_BEGINNING = "readme"
# Six decimals, as YOLO files are written, put an edge of the image at most this share of its size beyond it.
_ROUNDING = 2e-6


def read_class_names(path: Path) -> dict[int, str]:
    """Class names by number: `names` of a data.yaml, a list or a mapping, or the lines of a classes.txt or obj.names.

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
    if isinstance(content, dict):
        content = content.get("names")
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


def read_yolo(
    folder: Path, names: dict[int, str], recordings: Path, *, topic: str | None = None, distro: str | None = None
) -> AnnotationFile:
    """Reads every label file in a folder and below it.

    `class cx cy w h` is a box, `class x1 y1 x2 y2 x3 y3 …` a polygon. A file is named like its frame, with `.txt`; an
    empty one says that the frame shows nothing. classes.txt, train.txt and the like are passed over.

    Args:
        folder: the labels.
        names: class names by number; see `read_class_names`.
        recordings: the folder of the recordings, which know how large the images are.
        topic: the image topic, where a recording has several.
        distro: for recordings without message definitions.

    Raises:
        MayhemError: something in a file cannot be, the sentence names file and line; or a recording is missing.
        UsageError: a recording has no such image topic.
    """
    if not folder.is_dir():
        raise MayhemError(f"There is no folder {folder}: name the one that holds the label files.")
    files = _label_files(folder)
    if not files:
        raise MayhemError(f"{folder} holds no label files: name the folder of <recording>-<index>.txt files.")
    paths = find_recordings(recordings, wanted={stem for stem, _ in files})
    images = []
    for stem, members in groupby(sorted(files), key=lambda frame: frame[0]):
        indices = [index for _, index in members]
        first = files[stem, indices[0]]
        if stem not in paths:
            raise MayhemError(
                f"{first} labels a frame of the recording {quoted(stem)}, which is not in {recordings}: "
                "put it there or name its folder with --recordings."
            )
        with Recording(paths[stem], distro=distro) as recording:
            width, height = _image_size(recording, recording.image_topic(topic), indices)
        for index in indices:
            shapes = _shapes(files[stem, index], names, width, height)
            images.append(AnnotatedImage(frame_name(stem, index), width, height, shapes))
    return AnnotationFile(folder, tuple(names.values()), tuple(images))


def _label_files(folder: Path) -> dict[tuple[str, int], Path]:
    """Label files by recording and index."""
    files: dict[tuple[str, int], Path] = {}
    for path in sorted(folder.rglob("*.txt")):
        if path.name.lower() in _OTHER_FILES or path.name.lower().startswith(_OTHER_BEGINNING):
            continue
        try:
            frame = parse_frame_name(f"{path.stem}.png")
        except MayhemError as error:
            raise MayhemError(f"{path} is not named <recording>-<index>.txt: name it as its frame.") from error
        if frame in files:
            raise MayhemError(f"{files[frame]} and {path} label the same frame: keep one of them.")
        files[frame] = path
    return files


def _image_size(recording: Recording, topic: Topic, indices: Sequence[int]) -> tuple[int, int]:
    """(width, height) of the first of these images that can be decoded; indices beyond the end are named later."""
    candidates = [index for index in indices if index < topic.count] or [0]
    for index in candidates:
        try:
            height, width = recording.read_image(topic.name, index).shape[:2]
        except MayhemError:
            if index == candidates[-1]:
                raise
        else:
            break
    return width, height


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.rstrip().splitlines()]


def _shapes(path: Path, names: dict[int, str], width: int, height: int) -> tuple[Shape, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror or error}): check its permissions.") from error
    except UnicodeDecodeError as error:
        raise MayhemError(f"{path} is no text file: name a folder of YOLO labels.") from error
    return tuple(
        _shape(line.split(), names, width, height, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def _shape(fields: list[str], names: dict[int, str], width: int, height: int, place: str) -> Shape:
    if len(fields) != 5 and (len(fields) < 7 or len(fields) % 2 == 0):
        raise MayhemError(
            f"{place} has {len(fields)} field{'s' * (len(fields) > 1)}: a box has 5 (class cx cy w h), "
            "a polygon 7, 9, 11, … (class x1 y1 x2 y2 x3 y3 …)."
        )
    label = _label(fields[0], names, place)
    shares = np.array([_share(field, place) for field in fields[1:]])
    if len(shares) == 4:
        centre, size = shares[:2], shares[2:]
        corners = np.concatenate([centre - size / 2, centre + size / 2])
        # An edge that only rounding put beyond the image's is the image's edge.
        corners = np.where((corners < 0) & (corners >= -_ROUNDING), 0.0, corners)
        corners = np.where((corners > 1) & (corners <= 1 + _ROUNDING), 1.0, corners)
        x1, y1, x2, y2 = (corners * (width, height, width, height)).tolist()
        return BoxShape(label, (x1, y1, x2, y2))
    return PolygonShape(label, shares.reshape(-1, 2) * (width, height))


def _label(field: str, names: dict[int, str], place: str) -> str:
    try:
        number = float(plain(field))
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number != int(number) or int(number) not in names:
        known = f"{min(names)} to {max(names)}"
        raise MayhemError(
            f"{place} has the class {quoted(field)}, but the names go from {known}: pass the right --names."
        )
    return names[int(number)]


def _share(field: str, place: str) -> float:
    try:
        share = float(plain(field))
    except ValueError:
        share = math.nan
    if not -_ROUNDING <= share <= 1 + _ROUNDING:  # NaN neither
        raise MayhemError(
            f"{place} has {quoted(field)}, which is no share of the image from 0 to 1: export the labels again."
        )
    return share
