"""COCO JSON in and out: boxes, polygons, run-length masks and crowds of any tool, by the names of their frames."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.annotations.classes import BACKGROUND_LABEL, ClassMap
from mayhem_train.datasets.annotations.contours import keyhole_polygons, row_runs
from mayhem_train.datasets.annotations.shapes import (
    AnnotatedImage,
    AnnotationFile,
    BoxShape,
    MaskShape,
    PolygonShape,
    Shape,
)
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.datasets.quoting import quoted
from mayhem_train.outputs import whole_file
from mayhem_train.recordings.frame import parse_frame_name

# A vertex may lie outside its image, but rasterising walks along every edge: this far out it is a mistake, not a shape.
_FARTHEST_VERTEX_IN_IMAGE_SIZES = 10
_MOST_PIXELS = 2**28


def read_coco(path: Path, *, classes: ClassMap | None = None) -> AnnotationFile:
    """Parses and checks a COCO file of annotations for detection or segmentation.

    A category is what `classes` says. Without it, it is a surface where `isthing` is 0 or it is called "background",
    and a thing otherwise, whatever its annotations hold: COCO gives things a segmentation too.
    A thing becomes a box: its `bbox`, or what its segmentation spans. A surface becomes its segmentation, one shape a
    polygon, or where it has none the rectangle `bbox`.

    Images are named by the last part of `file_name` (`name` where there is no `file_name`, as in a dataset index).
    Labels come in the order of the category ids.

    Raises:
        MayhemError: the file is missing, no JSON, no COCO annotations, or something in it cannot be; the sentence names
            the file and the image or annotation.
    """
    content = _parse(path)
    categories = _categories(content, path, classes)
    images = _images(content, path)
    shapes: dict[Any, list[Shape]] = {image_id: [] for image_id in images}
    known: set[Any] = set()
    for number, annotation in enumerate(_entries(content, "annotations", path)):
        annotation_id = annotation.get("id")
        place = f"{path}, annotation {f'number {number}' if annotation_id is None else quoted(annotation_id)}"
        if annotation_id is not None and _key(annotation, "id", place) in known:
            raise MayhemError(f"{place} is there twice: give each annotation an id of its own.")
        known.add(annotation_id)
        image_id, category_id = (_key(annotation, field, place) for field in ("image_id", "category_id"))
        if image_id not in images:
            raise MayhemError(
                f"{place} is of the image {quoted(image_id)}, which the file does not list: export it again."
            )
        if category_id not in categories:
            raise MayhemError(
                f"{place} is of the category {quoted(category_id)}, which the file does not list: export it again."
            )
        category, image = categories[category_id], images[image_id]
        make = _surface_shapes if category.is_surface else _thing_shapes
        shapes[image_id].extend(make(annotation, category.name, image, place))
    labels = tuple(dict.fromkeys(categories[key].name for key in sorted(categories, key=_sort_key)))
    listed = tuple(
        AnnotatedImage(image.name, image.width, image.height, tuple(shapes[image_id]))
        for image_id, image in images.items()
    )
    return AnnotationFile(path, labels, listed)


def export_coco(index: DatasetIndex, out: Path, *, polygons: bool = False, force: bool = False) -> None:
    """Writes an index as COCO JSON for other tools, whole or not at all.

    Beside what the index holds, each image has `file_name` (the frame's name, unless it was extracted elsewhere) and
    each box an empty `segmentation`. The place in the recording, the stamps, the split and the boxes' `corners` stay as
    additional fields. Masks and boxes read again are equal to the last bit.

    Args:
        polygons: surfaces as polygons along the pixels' edges, which cover exactly the mask's pixels: one for each
            connected part, its holes joined to its outline by a seam; otherwise as compressed run lengths.

    Raises:
        UsageError: `out` exists and `force` is not set.
        MayhemError: it cannot be written.
    """
    coco = index.to_coco()
    coco["info"] = {"description": "Exported by Mayhem", "version": "1"}
    coco["licenses"] = []
    for category in coco["categories"]:
        category["supercategory"] = ""
    for image in coco["images"]:
        image.setdefault("file_name", image["name"])
        image.pop("origin", None)  # CVAT's own words
    for annotation in coco["annotations"]:
        if "segmentation" not in annotation:
            annotation["segmentation"] = []
        elif polygons:
            mask = rle_codec.decode(annotation["segmentation"])
            annotation["segmentation"] = [ring.ravel().tolist() for ring in keyhole_polygons(mask)]
    with whole_file(out, force=force) as partial:
        partial.write_text(json.dumps(coco, separators=(",", ":")) + "\n", encoding="utf-8")


class _Category(NamedTuple):
    name: str
    is_surface: bool


class _Image(NamedTuple):
    name: str
    width: int
    height: int


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror or error}): name a COCO annotation file.") from error
    if not content.strip():
        raise MayhemError(f"{path} is empty: export it again.")
    if content.startswith(b"PK"):
        raise MayhemError(f"{path} is a zip archive: unpack it and name the JSON file in it.")
    if content.lstrip().startswith(b"<"):
        raise MayhemError(f"{path} is XML: import it with `mayhem import-cvat`.")
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MayhemError(f"{path} is no JSON or is cut short ({error}): export it as COCO again.") from error
    if isinstance(parsed, list):
        raise MayhemError(f"{path} is a list, as COCO's detection results are: name a file of annotations.")
    if not isinstance(parsed, dict) or not {"images", "annotations", "categories"} <= set(parsed):
        raise MayhemError(
            f"{path} is JSON but not COCO's (it lacks images, annotations or categories): export it as COCO."
        )
    return parsed


def _entries(content: dict[str, Any], field: str, path: Path) -> list[dict[str, Any]]:
    entries = content[field]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise MayhemError(f"{path}: its {field} are no list of objects: export it as COCO again.")
    return entries


def _categories(content: dict[str, Any], path: Path, classes: ClassMap | None) -> dict[Any, _Category]:
    categories: dict[Any, _Category] = {}
    for entry in _entries(content, "categories", path):
        key, name = _key(entry, "id", f"{path}, a category"), entry.get("name")
        if not isinstance(name, str) or not name.strip():
            raise MayhemError(f"{path}: the category {quoted(key)} has no name: export it as COCO again.")
        if key in categories:
            raise MayhemError(
                f"{path}: the categories {quoted(categories[key].name)} and {quoted(name)} share the id {quoted(key)}: "
                "give each an id of its own."
            )
        if classes is None:
            is_surface = entry.get("isthing") == 0 or name == BACKGROUND_LABEL
        else:
            is_surface = classes.rename.get(name, name) in (*classes.surfaces, BACKGROUND_LABEL)
        categories[key] = _Category(name, is_surface)
    return categories


def _images(content: dict[str, Any], path: Path) -> dict[Any, _Image]:
    images: dict[Any, _Image] = {}
    for entry in _entries(content, "images", path):
        key = _key(entry, "id", f"{path}, an image")
        file_name = entry.get("file_name", entry.get("name"))
        if not isinstance(file_name, str):
            raise MayhemError(f"{path}: the image {quoted(key)} has no file_name: export it as COCO again.")
        if key in images:
            raise MayhemError(
                f"{path}: the images {quoted(images[key].name)} and {quoted(file_name)} share the id {quoted(key)}: "
                "give each an id of its own."
            )
        name = re.split(r"[/\\]", file_name)[-1]
        try:
            parse_frame_name(name)
        except MayhemError as error:
            raise MayhemError(
                f"{path}: Image name {quoted(name)} is not <recording>-<index>.png: name it as it was exported."
            ) from error
        place = f"{path}, image {name}"
        width, height = (_side(entry, side, place) for side in ("width", "height"))
        if width * height > _MOST_PIXELS:
            raise MayhemError(f"{place}: its size is {width}x{height} pixels, which no camera has: export it again.")
        images[key] = _Image(name, width, height)
    if not images:
        raise MayhemError(f"{path} lists no images: export it as COCO from a task with images.")
    return images


def _thing_shapes(annotation: dict[str, Any], label: str, image: _Image, place: str) -> list[Shape]:
    box = _box(annotation, place)
    if box is None:
        parts = _segmentation(annotation, image, place)
        if not parts:
            raise MayhemError(
                f"{place} of {quoted(label)} has neither bbox nor segmentation: draw it again or delete it."
            )
        lefts, tops, rights, bottoms = zip(*(_span(part) for part in parts), strict=True)
        box = min(lefts), min(tops), max(rights), max(bottoms)
    return [BoxShape(label, box, is_crowd=annotation.get("iscrowd") == 1)]


def _surface_shapes(annotation: dict[str, Any], label: str, image: _Image, place: str) -> list[Shape]:
    parts = _segmentation(annotation, image, place)
    if not parts:
        box = _box(annotation, place)
        if box is None:
            raise MayhemError(
                f"{place} of {quoted(label)} has neither segmentation nor bbox: draw it again or delete it."
            )
        (x1, x2), (y1, y2) = np.clip(box[::2], 0, image.width), np.clip(box[1::2], 0, image.height)
        parts = [np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float64)]
    window = 0, 0, image.width, image.height
    return [
        PolygonShape(label, part) if part.dtype == np.float64 else MaskShape(label, row_runs(part), window)
        for part in parts
    ]


def _span(part: NDArray[Any]) -> tuple[float, float, float, float]:
    """(x1, y1, x2, y2) around a polygon, float64 [P, 2], or a mask, bool [H, W]; no extent where that is empty."""
    if part.dtype == np.float64:
        (x1, y1), (x2, y2) = part.min(0).tolist(), part.max(0).tolist()
        return x1, y1, x2, y2
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _box(annotation: dict[str, Any], place: str) -> tuple[float, float, float, float] | None:
    """(x1, y1, x2, y2), or None where the annotation has no bbox.

    Sides that are added to the first corner may miss the second one by its last bit: an index says its `corners` then.
    They count as long as they say the same box, since another program may have changed one and not the other.
    """
    bbox = annotation.get("bbox")
    if bbox is None or bbox == []:
        return None
    x, y, width, height = _numbers(bbox, lambda count: count == 4, f"{place}: its bbox", "[x, y, width, height]")
    if width < 0 or height < 0:
        raise MayhemError(f"{place}: its bbox has a negative size ({width:g}x{height:g}): draw it again.")
    box = x, y, x + width, y + height
    corners = annotation.get("corners")
    if isinstance(corners, list) and len(corners) == 4 and all(isinstance(value, float | int) for value in corners):
        left, top, right, bottom = map(float, corners)
        if np.allclose(box, (left, top, right, bottom), rtol=1e-12, atol=1e-9):
            return left, top, right, bottom
    return box


def _segmentation(annotation: dict[str, Any], image: _Image, place: str) -> list[NDArray[Any]]:
    """Polygons as float64 [P, 2] and masks as bool [H, W]; none where the annotation has no segmentation."""
    segmentation = annotation.get("segmentation")
    if segmentation is None or segmentation == []:
        return []
    if isinstance(segmentation, dict):
        return [_mask(segmentation, image, place)]
    if not isinstance(segmentation, list):
        raise MayhemError(f"{place}: its segmentation is neither polygons nor run lengths: export it again.")
    return [_polygon(polygon, image, place) for polygon in segmentation]


def _polygon(polygon: object, image: _Image, place: str) -> NDArray[np.float64]:
    fits: Callable[[int], bool] = lambda count: count >= 6 and count % 2 == 0  # noqa: E731
    numbers = _numbers(polygon, fits, f"{place}: a polygon", "[x1, y1, x2, y2, x3, y3, …]")
    points = np.array(numbers, np.float64).reshape(-1, 2)
    if np.abs(points).max() > _FARTHEST_VERTEX_IN_IMAGE_SIZES * max(image.width, image.height):
        raise MayhemError(f"{place}: a polygon has a point far outside the image: draw it again.")
    return points


def _mask(rle: dict[str, Any], image: _Image, place: str) -> NDArray[np.bool_]:
    """bool [H, W] of a run-length encoding, either list or text; checked here, as the library trusts what it gets."""
    size = rle.get("size")
    if size != [image.height, image.width]:
        raise MayhemError(
            f"{place}: its mask is of size {quoted(size)}, but the image of [{image.height}, {image.width}]: "
            "export it again."
        )
    counts = rle.get("counts")
    try:
        runs = _text_counts(counts) if isinstance(counts, str) else _list_counts(counts)
    except (ValueError, OverflowError, TypeError) as error:
        raise MayhemError(f"{place}: the run lengths of its mask are damaged ({error}): export it again.") from error
    pixels = image.width * image.height
    # Each run is compared too, since huge ones could overflow to a sum that fits.
    if not len(runs) or runs.min() < 0 or runs.max() > pixels or runs.sum() != pixels:
        raise MayhemError(
            f"{place}: the run lengths of its mask do not add up to its {pixels} pixels: export it again."
        )
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(image.width, image.height).T


def _list_counts(counts: object) -> NDArray[np.int64]:
    if not isinstance(counts, list) or not all(type(count) is int for count in counts):
        raise ValueError("neither text nor a list of whole numbers")
    return np.array(counts, np.int64)


def _text_counts(text: str) -> NDArray[np.int64]:
    """COCO's compressed counts: six bits a character, five of them payload, the lowest first and the highest signed;
    from the fourth on, a count is the difference to the one two before."""
    codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("no compressed counts")
    last = np.flatnonzero(~codes & 32)
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > 10:
        raise ValueError("a count is too large")
    places = np.arange(len(codes)) - np.repeat(first, lengths)
    values = np.add.reduceat((codes & 31) << 5 * places, first)
    values -= np.where(codes[last] & 16, np.int64(1) << 5 * lengths, 0)
    # Undo the differences: counts 1, 3, 5, … and 2, 4, 6, … add up, each from its own first; count 0 stands alone.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _numbers(value: object, fits: Callable[[int], bool], what: str, form: str) -> list[float]:
    if not isinstance(value, list) or not fits(len(value)):
        raise MayhemError(f"{what} is not {form}: draw it again.")
    try:
        numbers = [float(number) for number in value if isinstance(number, int | float)]
    except OverflowError:
        numbers = []
    if len(numbers) != len(value) or not all(math.isfinite(number) for number in numbers):
        raise MayhemError(f"{what} has something that is no finite number: draw it again.")
    return numbers


def _side(entry: dict[str, Any], side: str, place: str) -> int:
    value = entry.get(side)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise MayhemError(f"{place}: its {side} is {quoted(value)}, no number of pixels: export it again.")
    if value != int(value) or value < 1:
        raise MayhemError(f"{place}: its {side} is {quoted(value)}, no number of pixels: export it again.")
    return int(value)


def _key(entry: dict[str, Any], field: str, place: str) -> int | str:
    value = entry.get(field)
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise MayhemError(f"{place}: its {field} is {quoted(value)}, neither number nor text: export it as COCO again.")
    return value


def _sort_key(key: int | str) -> tuple[bool, int, str]:
    return (True, 0, key) if isinstance(key, str) else (False, key, "")
