"""Which labels are things (boxes) and which are surfaces (masks): from a class map file, or from how they are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.datasets.annotations.faults import Faults, LabelError, NothingLabelledError
from mayhem_train.datasets.annotations.shapes import AnnotationFile, BoxShape, MaskShape, OtherShape, PolygonShape
from mayhem_train.datasets.index import Category
from mayhem_train.datasets.quoting import quoted

# What is painted with this label erases the surfaces below it: mask value 0.
BACKGROUND_LABEL = "background"
_KEYS = ("things", "surfaces", "rename", "ignore")


@dataclass(frozen=True)
class ClassMap:
    """The dataset's classes and the way from a label in CVAT to one of them.

    Attributes:
        things: names of the detection classes, in id order.
        surfaces: names of the segmentation classes, in id order.
        rename: CVAT label -> class name; several labels may share one class; "background" erases surfaces.
        ignore: CVAT labels whose shapes are left out.
    """

    things: tuple[str, ...]
    surfaces: tuple[str, ...]
    rename: dict[str, str] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()

    @property
    def categories(self) -> tuple[Category, ...]:
        """Things first, then surfaces, ids from 1."""
        names = [(name, True) for name in self.things] + [(name, False) for name in self.surfaces]
        return tuple(Category(number, name, is_thing) for number, (name, is_thing) in enumerate(names, start=1))


def read_class_map(path: Path) -> ClassMap:
    """Reads `{things: [...], surfaces: [...], rename: {label: class}, ignore: [label]}` from YAML; all keys optional.

    Raises:
        MayhemError: the file is missing or no YAML.
        UsageError: it says something that cannot be: the sentence says what.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MayhemError(f"Cannot read the class map {path} ({error.strerror or error}): name a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise MayhemError(f"The class map {path} is no YAML ({reason}): correct it.") from error
    if not isinstance(content, dict) or not set(content) <= set(_KEYS):
        raise UsageError(f"The class map {path} must be a mapping with keys out of {', '.join(_KEYS)}: correct it.")
    things, surfaces, ignore = (_names(content.get(key), key, path) for key in ("things", "surfaces", "ignore"))
    rename = content.get("rename") or {}
    if not isinstance(rename, dict) or not all(isinstance(text, str) for pair in rename.items() for text in pair):
        raise UsageError(f"The class map {path} has a `rename` that does not map labels to class names: correct it.")
    classes = (*things, *surfaces)
    if not classes or len(set(classes)) != len(classes) or BACKGROUND_LABEL in classes:
        raise UsageError(
            f"The class map {path} must name at least one class, each once, and not {BACKGROUND_LABEL!r}, "
            "which is implied: correct `things` and `surfaces`."
        )
    for label, name in rename.items():
        if name not in (*classes, BACKGROUND_LABEL):
            raise UsageError(
                f"The class map {path} renames {quoted(label)} to {quoted(name)}, which is no class: add it or drop it."
            )
    return ClassMap(things, surfaces, rename, frozenset(ignore))


def infer_class_map(files: Sequence[AnnotationFile]) -> ClassMap:
    """Labels drawn as boxes are things, labels drawn as polygons or masks are surfaces, in the order of `files`.

    Within a file, labels come in the order in which its task declares them, or as they appear where it declares none.
    Labels never drawn are left out.

    Raises:
        MayhemError: a label is drawn both ways, or nothing is drawn at all.
    """
    order = list(dict.fromkeys(label for file in files for label in (*file.labels, *_drawn_labels(file))))
    drawn_as_box: dict[str, Path] = {}
    drawn_as_surface: dict[str, Path] = {}
    for file in files:
        for image in file.images:
            for shape in image.shapes:
                if isinstance(shape, BoxShape):
                    drawn_as_box.setdefault(shape.label, file.path)
                elif isinstance(shape, PolygonShape | MaskShape):
                    drawn_as_surface.setdefault(shape.label, file.path)
    for label in order:
        if label in drawn_as_box and label in drawn_as_surface:
            raise MayhemError(
                f"{quoted(label)} is drawn as box in {drawn_as_box[label]} and as polygon or mask in "
                f"{drawn_as_surface[label]}: say which it is in a class map and pass that with --classes."
            )
    things = tuple(label for label in order if label in drawn_as_box and label != BACKGROUND_LABEL)
    surfaces = tuple(label for label in order if label in drawn_as_surface and label != BACKGROUND_LABEL)
    if not things and not surfaces:
        raise NothingLabelledError(_nothing_to_learn(files))
    return ClassMap(things, surfaces)


def without_undeclared(file: AnnotationFile, faults: Faults) -> AnnotationFile:
    """The file without shapes of labels that it does not declare itself, which are faults.

    A misspelt label would otherwise become a class of its own.
    """
    if not file.labels or all(shape.label in file.labels for image in file.images for shape in image.shapes):
        return file
    images = []
    for image in file.images:
        shapes = []
        for shape in image.shapes:
            with faults.noting():
                if shape.label not in file.labels:
                    raise LabelError(
                        f"{file.path}, image {image.name} has the label {quoted(shape.label)}, which is none of those "
                        f"that the file declares ({', '.join(map(quoted, file.labels))}): correct it, or say in a "
                        "class map what it is and pass that with --classes.",
                        "label that its file does not declare",
                    )
                shapes.append(shape)
        images.append(replace(image, shapes=tuple(shapes)))
    return replace(file, images=tuple(images))


def _nothing_to_learn(files: Sequence[AnnotationFile]) -> str:
    """What the files hold instead of boxes, polygons and masks."""
    place = ", ".join(str(file.path) for file in files)
    shapes = [shape for file in files for image in file.images for shape in image.shapes]
    others = Counter(shape.kind for shape in shapes if isinstance(shape, OtherShape))
    if others:
        found = ", ".join(f"{count} <{kind}>" for kind, count in sorted(others.items()))
        return f"{place}: only {found} found, which cannot be trained on: draw boxes, polygons or masks."
    if shapes:
        return f"{place}: only {BACKGROUND_LABEL!r} is labelled, which is no class: label things or surfaces."
    return f"Nothing is labelled in {place}: label it first."


def _drawn_labels(file: AnnotationFile) -> list[str]:
    return [shape.label for image in file.images for shape in image.shapes]


def _names(value: object, key: str, path: Path) -> tuple[str, ...]:
    value = [] if value is None else value
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise UsageError(f"The class map {path} has a `{key}` that is no list of names: correct it.")
    return tuple(value)
