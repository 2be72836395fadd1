"""The dataset index: one COCO JSON that names frames in recordings, their boxes and their surface masks."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle_codec

from mayhem_ros.errors import MayhemError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.console import error_console
from mayhem_train.datasets.index_checks import (
    DESCRIPTION,
    LaterVersionError,
    check_boxes,
    check_categories,
    check_images,
    check_masks,
    check_version,
)
from mayhem_train.datasets.quoting import quoted
from mayhem_train.outputs import whole_file
from mayhem_train.recordings.frame import frame_name, one_spelling

VERSION = 1
BACKGROUND = 0
UNLABELLED = 255
_LEAST_SIDE = 1e-6


@dataclass(frozen=True)
class Category:
    """A class of things (boxes) or of surfaces (mask pixels). Ids are unique over both, from 1."""

    id: int
    name: str
    is_thing: bool


@dataclass(frozen=True)
class BoxLabel:
    """A labelled object: `box` is (x1, y1, x2, y2) in source pixels."""

    category_id: int
    box: tuple[float, float, float, float]
    is_crowd: bool = False

    @property
    def has_area(self) -> bool:
        """Whether both sides are more than rounding in training's numbers (float32), which take their logarithms."""
        x1, y1, x2, y2 = self.box
        return x2 - x1 > _LEAST_SIDE * max(1.0, abs(x2)) and y2 - y1 > _LEAST_SIDE * max(1.0, abs(y2))


@dataclass(frozen=True)
class SurfaceLabel:
    """A labelled surface: `rle` is COCO's compressed run-length encoding of a mask of the image's size."""

    category_id: int
    rle: dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """What an annotation file says about an image in its own words, so that an export says it again.

    Attributes:
        document: the file's number in `DatasetIndex.documents`.
        place: the image's place among all images of that file, from 0.
        xml: the image's element; empty where tracks say it, which stay in the document.
    """

    document: int
    place: int
    xml: str = ""


@dataclass(frozen=True)
class SourceDocument:
    """An annotation file that images of the index come from, without these.

    Attributes:
        name: the file's name.
        xml: the file with an empty element in the place of each of its images.
        left_out: (place, element) of its images that did not go into the index, being unlabelled.
    """

    name: str
    xml: str
    left_out: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class LabelledImage:
    """One labelled frame and everything labelled on it; sizes in pixels, times in ns.

    Attributes:
        stamp_ns: None where its message has no header that can be read.
        boxes: what training reads of things.
        surfaces: what training reads of surfaces.
        file_name: the extracted image, relative to the folder of extracted images; None where it was not extracted.
        origin: what was drawn, where an exporter can write it again as it was.
    """

    id: int
    width: int
    height: int
    recording: str
    topic: str
    index: int
    log_time_ns: int
    stamp_ns: int | None
    split: str
    boxes: tuple[BoxLabel, ...] = ()
    surfaces: tuple[SurfaceLabel, ...] = ()
    file_name: str | None = None
    origin: Origin | None = None

    @property
    def name(self) -> str:
        """The frame's name."""
        return frame_name(self.recording, self.index)


@dataclass(frozen=True)
class DatasetIndex:
    """Every labelled frame of a dataset, with its classes and splits, and the annotation files behind it.

    `intensity_range` is what its 16-bit cameras show, None the full range (see `decode_image`).
    """

    categories: tuple[Category, ...]
    images: tuple[LabelledImage, ...]
    documents: tuple[SourceDocument, ...] = ()
    intensity_range: IntensityRange | None = None

    @property
    def things(self) -> tuple[Category, ...]:
        """The detection classes, in id order. A network's label k (1-based) is `things[k - 1]`; 0 is background."""
        return tuple(sorted((c for c in self.categories if c.is_thing), key=lambda c: c.id))

    @property
    def surfaces(self) -> tuple[Category, ...]:
        """The segmentation classes, in id order. Mask value k (1-based) is `surfaces[k - 1]`; 0 is background."""
        return tuple(sorted((c for c in self.categories if not c.is_thing), key=lambda c: c.id))

    def split(self, name: str) -> DatasetIndex:
        """The same index with only the images of one split ("train", "val", …)."""
        return replace(self, images=tuple(image for image in self.images if image.split == name))

    def mask(self, image: LabelledImage) -> np.ndarray:
        """uint8 [H, W] of segmentation class numbers (0 background, k = `surfaces[k - 1]`), source pixels.

        All 255 (unlabelled) where the index has no surface classes at all.
        """
        numbers = {category.id: number for number, category in enumerate(self.surfaces, start=1)}
        mask = np.full((image.height, image.width), BACKGROUND if numbers else UNLABELLED, np.uint8)
        for surface in image.surfaces:
            mask[rle_codec.decode(surface.rle).astype(bool)] = numbers[surface.category_id]
        return mask

    def to_coco(self) -> dict[str, Any]:
        """The index as a COCO dictionary, ready for JSON."""
        annotations: list[dict[str, Any]] = []
        for image in self.images:
            for label in image.boxes:
                x1, y1, x2, y2 = label.box
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image.id,
                        "category_id": label.category_id,
                        **_bbox(label.box),
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": int(label.is_crowd),
                    }
                )
            for surface in image.surfaces:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image.id,
                        "category_id": surface.category_id,
                        "segmentation": surface.rle,
                        "bbox": [float(v) for v in rle_codec.toBbox(surface.rle)],
                        "area": float(rle_codec.area(surface.rle)),
                        "iscrowd": 0,
                    }
                )
        return {
            "info": {
                "description": DESCRIPTION,
                "version": str(VERSION),
                **({} if self.intensity_range is None else {"intensity_range": list(self.intensity_range)}),
                **(
                    {"documents": [_document_to_coco(document) for document in self.documents]}
                    if self.documents
                    else {}
                ),
            },
            "categories": [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in self.categories],
            "images": [_image_to_coco(image) for image in self.images],
            "annotations": annotations,
        }

    @classmethod
    def from_coco(cls, coco: dict[str, Any]) -> DatasetIndex:
        """The inverse of `to_coco`.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: a field is missing or wrong.
        """
        check_categories(coco["categories"])
        check_images(coco["images"])
        categories = tuple(Category(c["id"], c["name"], bool(c["isthing"])) for c in coco["categories"])
        info = dict(coco.get("info", {}))
        documents = tuple(_document(document) for document in info.get("documents", ()))
        numbers = info.get("intensity_range")
        is_thing = {category.id: category.is_thing for category in categories}
        sizes = {image["id"]: [image["height"], image["width"]] for image in coco["images"]}
        names = {image["id"]: frame_name(image["recording"], image["index"]) for image in coco["images"]}
        boxes: dict[int, list[BoxLabel]] = {image_id: [] for image_id in sizes}
        surfaces: dict[int, list[SurfaceLabel]] = {image_id: [] for image_id in sizes}
        things: list[dict[str, Any]] = []
        masks: list[dict[str, Any]] = []
        corners: list[tuple[float, float, float, float]] = []
        for annotation in coco["annotations"]:
            image_id, category_id = annotation["image_id"], annotation["category_id"]
            if category_id not in is_thing or image_id not in sizes:
                key, what = (category_id, "category") if category_id not in is_thing else (image_id, "image")
                raise ValueError(
                    f"annotation {quoted(annotation['id'])} is of the {what} {quoted(key)}, which it does not list"
                )
            if is_thing[category_id]:
                box = _corners(annotation)
                things.append(annotation)
                corners.append(box)
                boxes[image_id].append(BoxLabel(category_id, box, bool(annotation.get("iscrowd", 0))))
            else:
                masks.append(annotation)
                surfaces[image_id].append(SurfaceLabel(category_id, annotation["segmentation"]))
        check_boxes(things, corners, names)
        check_masks(masks, sizes, names)
        images = tuple(
            LabelledImage(
                id=image["id"],
                width=image["width"],
                height=image["height"],
                recording=one_spelling(image["recording"]),
                topic=image["topic"],
                index=image["index"],
                log_time_ns=image["log_time_ns"],
                stamp_ns=image["stamp_ns"],
                split=image["split"],
                boxes=tuple(boxes[image["id"]]),
                surfaces=tuple(surfaces[image["id"]]),
                file_name=image.get("file_name"),
                origin=_origin(image.get("origin"), len(documents)),
            )
            for image in coco["images"]
        )
        return cls(categories, images, documents, None if numbers is None else IntensityRange.of(numbers))

    def without_flat_boxes(self, place: Path) -> DatasetIndex:
        """The index without boxes that have no area, from which training would learn infinities.

        How many there were is said on stderr, with the file's place.
        """
        flat = [(image, box) for image in self.images for box in image.boxes if not box.has_area]
        if not flat:
            return self
        what = "1 box" if len(flat) == 1 else f"{len(flat)} boxes"
        error_console.print(
            f"Warning: {place}: {what} without any area left out, first in {flat[0][0].name}.",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )
        images = (replace(image, boxes=tuple(box for box in image.boxes if box.has_area)) for image in self.images)
        return replace(self, images=tuple(images))

    def save(self, path: Path, *, force: bool = False) -> None:
        """Writes the index as one JSON file, whole or not at all; boxes without area are left out and counted."""
        with whole_file(path, force=force) as partial:
            coco = self.without_flat_boxes(path).to_coco()
            partial.write_text(json.dumps(coco, separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: Path) -> DatasetIndex:
        """Reads an index; boxes without area are left out and counted.

        Raises:
            MayhemError: the file is missing, is no JSON or is no dataset index, or one of a later version.
        """
        try:
            coco = json.loads(path.read_bytes())
            check_version(coco, VERSION)
            return cls.from_coco(coco).without_flat_boxes(path)
        except PermissionError as error:
            raise MayhemError(
                f"Cannot read the dataset index {path} ({error.strerror}): check its permissions."
            ) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise MayhemError(
                f"Cannot read the dataset index {path} ({reason}): make one with `mayhem import-cvat`."
            ) from error
        except LaterVersionError as error:
            raise MayhemError(f"{path} {error}: update this one, or make the index again here.") from error
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise MayhemError(f"{path} is no dataset index ({reason}): make one with `mayhem import-cvat`.") from error


def dataset_hash(path: Path) -> str:
    """SHA-256 of the index file: what a model card says it was trained on."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _bbox(box: tuple[float, float, float, float]) -> dict[str, list[float]]:
    """COCO's `bbox`, and the `corners` where sides that are added to the first one cannot give the other."""
    x1, y1, x2, y2 = box
    width, height = _shortest_length(x1, x2), _shortest_length(y1, y2)
    fields = {"bbox": [x1, y1, width, height]}
    return fields if (x1 + width, y1 + height) == (x2, y2) else fields | {"corners": [x1, y1, x2, y2]}


def _corners(annotation: dict[str, Any]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = map(float, annotation.get("corners", annotation["bbox"]))
    return (x1, y1, x2, y2) if "corners" in annotation else (x1, y1, x1 + x2, y1 + y2)


def _shortest_length(start: float, end: float) -> float:
    """The decimal with the fewest digits that, added to `start`, gives `end`: the plain difference has fifteen."""
    length = end - start
    candidates = (*(round(length, digits) for digits in range(1, 16)), length, math.nextafter(length, math.inf))
    return next((candidate for candidate in candidates if start + candidate == end), length)


def _image_to_coco(image: LabelledImage) -> dict[str, Any]:
    """`file_name` is there only where images were extracted, though COCO tools show the frame's name then too."""
    fields: dict[str, Any] = {
        "id": image.id,
        "width": image.width,
        "height": image.height,
        "name": image.name,
        "recording": image.recording,
        "topic": image.topic,
        "index": image.index,
        "log_time_ns": image.log_time_ns,
        "stamp_ns": image.stamp_ns,
        "split": image.split,
    }
    if image.file_name is not None:
        fields["file_name"] = image.file_name
    if image.origin is not None:
        fields["origin"] = {"document": image.origin.document, "place": image.origin.place, "xml": image.origin.xml}
    return fields


def _origin(fields: dict[str, Any] | None, documents: int) -> Origin | None:
    if fields is None:
        return None
    origin = Origin(int(fields["document"]), int(fields["place"]), str(fields["xml"]))
    if not 0 <= origin.document < documents:
        raise ValueError(f"an image comes from document {origin.document}, which is not there")
    return origin


def _document_to_coco(document: SourceDocument) -> dict[str, Any]:
    return {"name": document.name, "xml": document.xml, "left_out": [list(image) for image in document.left_out]}


def _document(fields: dict[str, Any]) -> SourceDocument:
    left_out = tuple((int(place), str(xml)) for place, xml in fields["left_out"])
    return SourceDocument(str(fields["name"]), str(fields["xml"]), left_out)
