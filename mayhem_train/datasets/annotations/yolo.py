"""Reads YOLO label folders: one text file a frame, one line a box or polygon, in shares of the image's size."""

from __future__ import annotations

import math
from itertools import groupby
from pathlib import Path

import numpy as np

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.annotations.classes import ClassMap
from mayhem_train.datasets.annotations.counts import ImportCounts
from mayhem_train.datasets.annotations.faults import Faults, LabelError, in_file
from mayhem_train.datasets.annotations.other_formats import named_folder
from mayhem_train.datasets.annotations.outlines import covers_area
from mayhem_train.datasets.annotations.plain_numbers import plain
from mayhem_train.datasets.annotations.recorded_frames import RecordedFrames
from mayhem_train.datasets.annotations.shapes import AnnotatedImage, AnnotationFile, BoxShape, PolygonShape, Shape
from mayhem_train.datasets.annotations.yolo_description import YoloDescription
from mayhem_train.datasets.annotations.yolo_splits import is_list_of_images, splits_of
from mayhem_train.datasets.quoting import quoted
from mayhem_train.recordings.frame import frame_name

# What lies beside the labels in datasets of Ultralytics, Darknet and CVAT.
_OTHER_FILES = {"classes.txt", "requirements.txt"}
_OTHER_BEGINNING = "readme"
# Six decimals, as YOLO files are written, put an edge of the image at most this share of its size beyond it.
_ROUNDING = 2e-6
# People draw a little beyond the image, and tools let them; what is farther out is in pixels, or damaged.
_OVERHANG = 0.05
_FOUR_CORNERS = 9
_POSES = ", or a data.yaml with kpt_shape as --names where they are keypoints"


def read_yolo(
    folder: Path,
    description: YoloDescription,
    frames: RecordedFrames,
    *,
    classes: ClassMap | None = None,
    least_confidence: float | None = None,
    faults: Faults | None = None,
) -> AnnotationFile:
    """Reads every label file in a folder and below it.

    `class cx cy w h` is a box, `class x1 y1 x2 y2 x3 y3 …` a polygon. Keypoints behind a box are left out. A file is
    named like its frame, with `.txt`; an empty one says that the frame shows nothing. classes.txt, train.txt and the
    like are passed over.

    Args:
        folder: the labels.
        description: class names by number; see `read_description`.
        frames: the recordings, which know how large the images are.
        classes: what is a thing and what a surface, for sets of which every line has four corners.
        least_confidence: predictions, lines with one more field, are taken from this confidence on.
        faults: notes what cannot be, which is then left out; without it the first is raised.

    Raises:
        MayhemError: something in a file cannot be, the sentence names file and line; or a recording is missing.
        UsageError: a recording has no such image topic.
    """
    faults = Faults() if faults is None else faults
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "is not there"
        raise MayhemError(f"{folder} {what}: name the folder that holds the label files.")
    files, counts = _found_files(folder, description, frames, faults)
    if not files and not faults.found:
        other = named_folder(folder)
        raise MayhemError(f"{folder} holds no label files{other}: name the folder of <recording>-<index>.txt files.")
    splits = splits_of(files, folder, description, frames)
    lines = _Lines(description, least_confidence, faults)
    images = []
    for stem, group in groupby(sorted(files), key=lambda frame: frame[0]):
        members = list(group)
        with faults.noting(), in_file(files[members[0]]):
            frames.recording(stem, labelled=len(members))
            for _, index in members:
                path = files[stem, index]
                with faults.noting():
                    with in_file(path):
                        width, height = frames.likely_size(stem, index)
                    name, split, before = frame_name(stem, index), splits.get((stem, index), ""), len(faults.found)
                    shapes = lines.read(path, width, height)
                    incomplete = len(faults.found) > before
                    images.append(AnnotatedImage(name, width, height, shapes, is_incomplete=incomplete, split=split))
    if classes is None and lines.fields == {_FOUR_CORNERS}:
        raise MayhemError(
            f"{folder}: every line has four corners, so these may be rotated boxes or surfaces: list the classes under "
            "`things` (each gets the upright box around its corners) or `surfaces` in a class map and pass that with "
            "--classes."
        )
    return AnnotationFile(folder, tuple(description.names.values()), tuple(images), counts=counts + lines.counts)


def label_files(folder: Path) -> list[Path]:
    """Every text file in a folder and below it."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".txt")


def _found_files(
    folder: Path, description: YoloDescription, frames: RecordedFrames, faults: Faults
) -> tuple[dict[tuple[str, int], Path], ImportCounts]:
    """Label files by recording and index."""
    files: dict[tuple[str, int], Path] = {}
    renamed = 0
    for path in label_files(folder):
        name = path.name.lower()
        if name in _OTHER_FILES or name.startswith(_OTHER_BEGINNING) or is_list_of_images(path, description):
            continue
        with faults.noting():
            try:
                found = frames.find(path.stem)
            except LabelError as error:
                raise LabelError(
                    f"{path} is not named <recording>-<index>.txt: name it as its frame (--video-recording STEM says "
                    "which recording CVAT's frame_000000.txt are of).",
                    error.kind,
                ) from error
            frame = found.recording, found.index
            if frame in files:
                raise LabelError(
                    f"{files[frame]} and {path} label the same frame: keep one of them.", "second file of a frame"
                )
            files[frame] = path
            renamed += found.renamed
    return files, ImportCounts(renamed=renamed)


class _Lines:
    """Reads the lines of label files.

    Attributes:
        counts: what was left out.
        fields: how many fields lines have.
    """

    def __init__(self, description: YoloDescription, least_confidence: float | None, faults: Faults) -> None:
        self.counts = ImportCounts()
        self.fields: set[int] = set()
        self._description = description
        self._least_confidence = least_confidence
        self._faults = faults

    def read(self, path: Path, width: int, height: int) -> tuple[Shape, ...]:
        """The shapes of a file, of an image of this size."""
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise MayhemError(f"Cannot read {path} ({error.strerror or error}): check its permissions.") from error
        except UnicodeDecodeError as error:
            raise LabelError(
                f"{path} is no text file: name a folder of YOLO labels.", "label file that is no text"
            ) from error
        shapes = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            with self._faults.noting():
                fields = self._without_extras(line.split(), place)
                if fields is None:
                    continue
                self.fields.add(len(fields))
                shape = _shape(fields, self._description.names, width, height, place)
                if isinstance(shape, PolygonShape) and not covers_area(shape.points):
                    self.counts += ImportCounts(degenerate=1)
                else:
                    shapes.append(shape)
        return tuple(shapes)

    def _without_extras(self, fields: list[str], place: str) -> list[str] | None:
        """The class and the outline; None for a prediction that is too unsure."""
        box = 5 + self._description.keypoint_fields
        if len(fields) == box + 1 or (box == 5 and len(fields) >= 8 and len(fields) % 2 == 0):
            *fields, confidence = fields
            if self._least_confidence is None:
                raise LabelError(
                    f"{place} has {len(fields) + 1} fields, of which the last, {quoted(confidence)}, is one more than "
                    "a label has, as the confidence of a prediction: pass --min-confidence 0 to take them all without "
                    f"it, 0.5 to take the surer ones{_POSES if len(fields) > 5 else ''}, or export the labels again.",
                    "line with a confidence",
                )
            if _share(confidence, place) < self._least_confidence:
                self.counts += ImportCounts(unsure=1)
                return None
            self.counts += ImportCounts(confidences=1)
        if len(fields) == box > 5:
            self.counts += ImportCounts(keypoints=1)
            return fields[:5]
        if len(fields) != 5 and (box > 5 or len(fields) < 7):
            pose = f" and {box - 5} of keypoints where kpt_shape says so" if box > 5 else ""
            raise LabelError(
                f"{place} has {len(fields)} field{'s' * (len(fields) > 1)}: a box has 5 (class cx cy w h){pose}, "
                "a polygon 7, 9, 11, … (class x1 y1 x2 y2 x3 y3 …).",
                "line of a wrong number of fields",
            )
        return fields


def _shape(fields: list[str], names: dict[int, str], width: int, height: int, place: str) -> Shape:
    label = _label(fields[0], names, place)
    if len(fields) > 5:
        points = np.array([_share(field, place, beyond=_OVERHANG) for field in fields[1:]])
        return PolygonShape(label, points.reshape(-1, 2) * (width, height))
    size = np.array([_share(field, place, beyond=_OVERHANG, least=0) for field in fields[3:]])
    # A box may overhang as far as it still touches the image.
    sides = zip(fields[1:3], np.maximum(size / 2, _OVERHANG).tolist(), strict=True)
    centre = np.array([_share(field, place, beyond=beyond) for field, beyond in sides])
    corners = np.concatenate([centre - size / 2, centre + size / 2])
    # An edge that only rounding put beyond the image's is the image's edge.
    corners = np.where((corners < 0) & (corners >= -_ROUNDING), 0.0, corners)
    corners = np.where((corners > 1) & (corners <= 1 + _ROUNDING), 1.0, corners)
    x1, y1, x2, y2 = (corners * (width, height, width, height)).tolist()
    return BoxShape(label, (x1, y1, x2, y2))


def _label(field: str, names: dict[int, str], place: str) -> str:
    try:
        number = float(plain(field))
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number != int(number) or int(number) not in names:
        known = f"{min(names)} to {max(names)}"
        raise LabelError(
            f"{place} has the class {quoted(field)}, but the names go from {known}: pass the right --names.",
            "line of a class without a name",
        )
    return names[int(number)]


def _share(field: str, place: str, *, beyond: float = _ROUNDING, least: float | None = None) -> float:
    """A share of the image's size, `beyond` 0 (or `least`) and 1 by at most so much."""
    try:
        share = float(plain(field))
    except ValueError:
        share = math.nan
    if not (-beyond if least is None else least) <= share <= 1 + beyond:  # NaN neither
        raise LabelError(
            f"{place} has {quoted(field)}, which is no share of the image from 0 to 1: export the labels again.",
            "line with a number that is no share of the image",
        )
    return share
