"""COCO JSON in and out: boxes, polygons, run-length masks and crowds of any tool, by the names of their frames."""

from __future__ import annotations

import codecs
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
from mayhem_train.datasets.annotations.counts import ImportCounts
from mayhem_train.datasets.annotations.faults import Faults, LabelError, in_file
from mayhem_train.datasets.annotations.frame_names import last_part
from mayhem_train.datasets.annotations.labelled_splits import said_split, split_of_file
from mayhem_train.datasets.annotations.other_formats import named_json, named_xml
from mayhem_train.datasets.annotations.outlines import covers_area, rotated_hull
from mayhem_train.datasets.annotations.recorded_frames import RecordedFrames
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

# A vertex may lie outside its image, but rasterising walks along every edge: this far out it is a mistake, not a shape.
_FARTHEST_VERTEX_IN_IMAGE_SIZES = 10
_MOST_PIXELS = 2**28
_WHOLE = re.compile(r"(0|-?[1-9][0-9]{0,17})(?:\.0+)?")


def read_coco(
    path: Path, *, classes: ClassMap | None = None, frames: RecordedFrames | None = None, faults: Faults | None = None
) -> AnnotationFile:
    """Parses and checks a COCO file of annotations for detection or segmentation.

    A category is what `classes` says. Without it, it is a surface where `isthing` is 0 or it is called "background",
    and a thing otherwise, whatever its annotations hold: COCO gives things a segmentation too.
    A thing becomes a box: its `bbox`, or what its segmentation spans; a rotated one (`attributes.rotation`) its upright
    hull. A surface becomes its segmentation, one shape a polygon, or where it has none the rectangle `bbox`.

    Images are named by the last part of `file_name` (`name` where there is no `file_name`, as in a dataset index), or
    by `extra.name`. Labels come in the order of the category ids. Ids may be numbers or text; "7" and 7.0 are 7.

    Args:
        path: the file.
        classes: what is a thing and what a surface.
        frames: the recordings, by which images are found that tools renamed, and which know the sizes of those that
            come without.
        faults: notes what cannot be, which is then left out; without it the first is raised.

    Raises:
        MayhemError: the file is missing, no JSON, no COCO annotations, or something in it cannot be; the sentence names
            the file and the image or annotation.
    """
    faults = Faults() if faults is None else faults
    content = _parse(path)
    categories = _categories(content, path, classes)
    images = _images(content, path, RecordedFrames(None) if frames is None else frames, faults)
    shapes: dict[Any, list[Shape]] = {image_id: [] for image_id in images}
    known: set[Any] = set()
    incomplete: set[Any] = set()
    counts = ImportCounts(renamed=sum(image is not None and image.renamed for image in images.values()))
    for number, annotation in enumerate(_entries(content, "annotations", path)):
        annotation_id = annotation.get("id")
        place = f"{path}, annotation {f'number {number}' if annotation_id is None else quoted(annotation_id)}"
        image_id, before = None, len(faults.found)
        with faults.noting():
            image_id, category_id = (_key(annotation, field, place) for field in ("image_id", "category_id"))
            if annotation_id is not None and _key(annotation, "id", place) in known:
                raise LabelError(
                    f"{place} is there twice: give each annotation an id of its own.", "annotation whose id is taken"
                )
            known.add(None if annotation_id is None else _key(annotation, "id", place))
            if image_id not in images:
                raise LabelError(
                    f"{place} is of the image {quoted(image_id)}, which the file does not list: export it again.",
                    "annotation of an image that is not listed",
                )
            if category_id not in categories:
                raise LabelError(
                    f"{place} is of the category {quoted(category_id)}, which the file does not list: export it again.",
                    "annotation of a category that is not listed",
                )
            category, image = categories[category_id], images[image_id]
            if image is None:
                continue  # it was noted with its image
            drawn, degenerate = _shapes(annotation, category, image, place)
            shapes[image_id].extend(drawn)
            counts += ImportCounts(degenerate=degenerate, keypoints=int(_has_keypoints(annotation)))
        if len(faults.found) > before:
            incomplete.add(image_id)
    labels = tuple(dict.fromkeys(categories[key].name for key in sorted(categories, key=_sort_key)))
    listed = tuple(
        AnnotatedImage(
            image.name,
            image.width,
            image.height,
            tuple(shapes[image_id]),
            is_incomplete=image_id in incomplete,
            split=image.split,
        )
        for image_id, image in images.items()
        if image is not None
    )
    return AnnotationFile(path, labels, listed, counts=counts)


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
    split: str
    renamed: bool


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror or error}): name a COCO annotation file.") from error
    if not content.strip():
        raise MayhemError(f"{path} is empty: export it again.")
    if content.startswith(b"PK"):
        raise MayhemError(f"{path} is a zip archive: unpack it and name the JSON file in it.")
    if content.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<"):
        root = re.search(rb"<([A-Za-z_]\w*)", content)
        other = named_xml(root[1].decode()) if root else None
        raise MayhemError(f"{path} is {other or 'XML: import it with `mayhem import-cvat`'}.")
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MayhemError(f"{path} is no JSON or is cut short ({error}): export it as COCO again.") from error
    other = named_json(parsed)
    if other is not None:
        raise MayhemError(f"{path} is {other}.")
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


def _images(content: dict[str, Any], path: Path, frames: RecordedFrames, faults: Faults) -> dict[Any, _Image | None]:
    """The images by their ids; None for one that was noted as faulty."""
    images: dict[Any, _Image | None] = {}
    names: dict[Any, str] = {}
    split = split_of_file(path)
    for entry in _entries(content, "images", path):
        with faults.noting():
            key = _key(entry, "id", f"{path}, an image")
            file_name = entry.get("file_name", entry.get("name"))
            if not isinstance(file_name, str):
                images.setdefault(key)
                raise LabelError(
                    f"{path}: the image {quoted(key)} has no file_name: export it as COCO again.",
                    "image without a name",
                )
            if key in names:
                if names[key] != last_part(file_name):
                    images[key] = None  # nobody knows which of the two its annotations are of
                raise LabelError(
                    f"{path}: the images {quoted(names[key])} and {quoted(file_name)} share the id {quoted(key)}: "
                    "give each an id of its own.",
                    "image whose id is taken",
                )
            names[key] = last_part(file_name)
            images[key] = None
            images[key] = _image(entry, file_name, frames, path, said_split(entry, file_name) or split)
    if not images:
        raise MayhemError(f"{path} lists no images: export it as COCO from a task with images.")
    return images


def _image(entry: dict[str, Any], file_name: str, frames: RecordedFrames, path: Path, split: str) -> _Image:
    extra = entry.get("extra")
    original = extra.get("name") if isinstance(extra, dict) else None
    with in_file(path):
        found = frames.find(file_name, *([original] if isinstance(original, str) else []))
    place = f"{path}, image {found.name}"
    width, height = (_side(entry, side, place) for side in ("width", "height"))
    if width is None or height is None:
        if frames.folder is None:
            raise LabelError(f"{place} has no width and height: export it as COCO again.", "image without a size")
        with in_file(path):
            actual = frames.likely_size(found.recording, found.index)
        width, height = width or actual[0], height or actual[1]
    if width * height > _MOST_PIXELS:
        raise LabelError(
            f"{place}: its size is {width}x{height} pixels, which no camera has: export it again.",
            "image of an impossible size",
        )
    return _Image(found.name, width, height, split, found.renamed)


def _shapes(annotation: dict[str, Any], category: _Category, image: _Image, place: str) -> tuple[list[Shape], int]:
    """What was drawn, and how many polygons of it were left out since they cover nothing."""
    box = _box(annotation, place)
    if box is not None and not category.is_surface:
        if max(map(abs, box)) > _FARTHEST_VERTEX_IN_IMAGE_SIZES * max(image.width, image.height):
            raise LabelError(
                f"{place}: its bbox reaches far outside the image: draw it again.", "bbox far outside its image"
            )
        return [_thing(annotation, category, box)], 0
    parts, degenerate = _segmentation(annotation, image, place)
    if not parts and degenerate:
        return [], degenerate
    if category.is_surface:
        if not parts and box is not None:
            (x1, x2), (y1, y2) = np.clip(box[::2], 0, image.width), np.clip(box[1::2], 0, image.height)
            parts = [np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float64)]
    elif parts:
        lefts, tops, rights, bottoms = zip(*(_span(part) for part in parts), strict=True)
        return [_thing(annotation, category, (min(lefts), min(tops), max(rights), max(bottoms)))], degenerate
    if not parts:
        wanted = "segmentation nor bbox" if category.is_surface else "bbox nor segmentation"
        only = ", only keypoints" if _has_keypoints(annotation) else ""
        raise LabelError(
            f"{place} of {quoted(category.name)} has neither {wanted}{only}: draw it again or delete it.",
            f"annotation with neither bbox nor segmentation{only}",
        )
    window = 0, 0, image.width, image.height
    shapes: list[Shape] = [
        PolygonShape(category.name, part)
        if part.dtype == np.float64
        else MaskShape(category.name, row_runs(part), window)
        for part in parts
    ]
    return shapes, degenerate


def _thing(annotation: dict[str, Any], category: _Category, box: tuple[float, float, float, float]) -> BoxShape:
    return BoxShape(category.name, box, is_crowd=annotation.get("iscrowd") in (1, "1"))


def _has_keypoints(annotation: dict[str, Any]) -> bool:
    return bool(annotation.get("keypoints"))


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
    x, y, width, height = _numbers(bbox, lambda count: count == 4, place, "bbox", "[x, y, width, height]")
    if width < 0 or height < 0:
        raise LabelError(
            f"{place}: its bbox has a negative size ({width:g}x{height:g}): draw it again.", "bbox of negative size"
        )
    box = x, y, x + width, y + height
    corners = annotation.get("corners")
    if isinstance(corners, list) and len(corners) == 4 and all(isinstance(value, float | int) for value in corners):
        left, top, right, bottom = map(float, corners)
        if np.allclose(box, (left, top, right, bottom), rtol=1e-12, atol=1e-9):
            return left, top, right, bottom
    angle = _rotation(annotation, place)
    return rotated_hull(box, math.radians(angle)) if angle else box


def _rotation(annotation: dict[str, Any], place: str) -> float:
    """Degrees, clockwise, by which CVAT's and Datumaro's COCO say that the bbox is turned about its centre."""
    attributes = annotation.get("attributes")
    said = attributes.get("rotation") if isinstance(attributes, dict) else None
    try:
        angle = 0.0 if said in (None, "") else float(said)
    except (TypeError, ValueError, OverflowError):
        angle = math.nan
    if not math.isfinite(angle):
        raise LabelError(f"{place}: its rotation is {quoted(said)}, no number: draw it again.", "rotation that is none")
    return angle


def _segmentation(annotation: dict[str, Any], image: _Image, place: str) -> tuple[list[NDArray[Any]], int]:
    """Polygons as float64 [P, 2] and masks as bool [H, W]; and how many polygons cover nothing and are not among them.

    None where the annotation has no segmentation. A list of numbers, or of points, is one polygon.
    """
    segmentation = annotation.get("segmentation")
    if segmentation is None or segmentation == []:
        return [], 0
    if isinstance(segmentation, dict):
        return [_mask(segmentation, image, place)], 0
    if not isinstance(segmentation, list):
        raise LabelError(
            f"{place}: its segmentation is neither polygons nor run lengths: export it again.",
            "segmentation of an unknown kind",
        )
    if all(isinstance(number, int | float) for number in segmentation) or _are_points(segmentation):
        segmentation = [segmentation]
    parts: list[NDArray[Any]] = []
    for part in segmentation:
        polygon = None if isinstance(part, dict) else _polygon(part, image, place)
        if polygon is None:
            parts.append(_mask(part, image, place))
        elif covers_area(polygon):
            parts.append(polygon)
    return parts, len(segmentation) - len(parts)


def _are_points(value: list[Any]) -> bool:
    return len(value) > 2 and all(isinstance(point, list) and len(point) == 2 for point in value)


def _polygon(polygon: object, image: _Image, place: str) -> NDArray[np.float64]:
    if isinstance(polygon, list) and _are_points(polygon):
        polygon = [number for point in polygon for number in point]
    numbers = _numbers(polygon, lambda count: count % 2 == 0, place, "polygon", "[x1, y1, x2, y2, x3, y3, …]")
    points = np.array(numbers, np.float64).reshape(-1, 2)
    if len(points) and np.abs(points).max() > _FARTHEST_VERTEX_IN_IMAGE_SIZES * max(image.width, image.height):
        raise LabelError(
            f"{place}: a polygon has a point far outside the image: draw it again.", "polygon far outside its image"
        )
    return points


def _mask(rle: dict[str, Any], image: _Image, place: str) -> NDArray[np.bool_]:
    """bool [H, W] of a run-length encoding, either list or text; checked here, as the library trusts what it gets."""
    size = rle.get("size")
    if size != [image.height, image.width]:
        raise LabelError(
            f"{place}: its mask is of size {quoted(size)}, but the image of [{image.height}, {image.width}]: "
            "export it again.",
            "mask of another size than its image",
        )
    counts = rle.get("counts")
    try:
        runs = _text_counts(counts) if isinstance(counts, str) else _list_counts(counts)
    except (ValueError, OverflowError, TypeError) as error:
        raise LabelError(
            f"{place}: the run lengths of its mask are damaged ({error}): export it again.", "mask that is damaged"
        ) from error
    pixels = image.width * image.height
    # Each run is compared too, since huge ones could overflow to a sum that fits.
    if not len(runs) or runs.min() < 0 or runs.max() > pixels or runs.sum() != pixels:
        raise LabelError(
            f"{place}: the run lengths of its mask do not add up to its {pixels} pixels: export it again.",
            "mask that is damaged",
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


def _numbers(value: object, fits: Callable[[int], bool], place: str, what: str, form: str) -> list[float]:
    kind = f"{what} whose numbers cannot be"
    if not isinstance(value, list) or not fits(len(value)):
        raise LabelError(f"{place}: a {what} is not {form}: draw it again.", kind)
    try:
        numbers = [float(number) for number in value if isinstance(number, int | float)]
    except OverflowError:
        numbers = []
    if len(numbers) != len(value) or not all(math.isfinite(number) for number in numbers):
        raise LabelError(f"{place}: a {what} has something that is no finite number: draw it again.", kind)
    return numbers


def _side(entry: dict[str, Any], side: str, place: str) -> int | None:
    """Pixels; None where the file does not say them."""
    value = entry.get(side)
    if value is None:
        return None
    number = _as_number(value)
    if number == 0:  # what tools write that did not open the image
        return None
    if not isinstance(number, int) or number < 1:
        raise LabelError(
            f"{place}: its {side} is {quoted(value)}, no number of pixels: export it again.",
            "image of an impossible size",
        )
    return number


def _key(entry: dict[str, Any], field: str, place: str) -> int | str:
    value = entry.get(field)
    key = _as_number(value)
    if not isinstance(key, int | str) or isinstance(key, bool):
        raise LabelError(
            f"{place}: its {field} is {quoted(value)}, neither number nor text: export it as COCO again.",
            f"{field} that is none",
        )
    return key


def _as_number(value: object) -> object:
    """A whole number, however it is written: tables write 7.0, and web pages "7"."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and (whole := _WHOLE.fullmatch(value)):
        return int(whole[1])
    return value


def _sort_key(key: int | str) -> tuple[bool, int, str]:
    return (True, 0, key) if isinstance(key, str) else (False, key, "")
