"""The dataset index: one COCO JSON that names frames in recordings, their boxes and their surface masks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle_codec

from mayhem_ros.errors import MayhemError
from mayhem_train.outputs import whole_file
from mayhem_train.recordings.frame import frame_name

BACKGROUND = 0
UNLABELLED = 255


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


@dataclass(frozen=True)
class SurfaceLabel:
    """A labelled surface: `rle` is COCO's compressed run-length encoding of a mask of the image's size."""

    category_id: int
    rle: dict[str, Any]


@dataclass(frozen=True)
class LabelledImage:
    """One labelled frame and everything labelled on it; sizes in pixels, times in ns."""

    id: int
    width: int
    height: int
    recording: str
    topic: str
    index: int
    log_time_ns: int
    stamp_ns: int
    split: str
    boxes: tuple[BoxLabel, ...] = ()
    surfaces: tuple[SurfaceLabel, ...] = ()
    file_name: str | None = None

    @property
    def name(self) -> str:
        """The frame's name."""
        return frame_name(self.recording, self.index)


@dataclass(frozen=True)
class DatasetIndex:
    """Every labelled frame of a dataset, with its classes and splits."""

    categories: tuple[Category, ...]
    images: tuple[LabelledImage, ...]

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
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
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
            "info": {"description": "Mayhem dataset index", "version": "1"},
            "categories": [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in self.categories],
            "images": [_image_to_coco(image) for image in self.images],
            "annotations": annotations,
        }

    @classmethod
    def from_coco(cls, coco: dict[str, Any]) -> DatasetIndex:
        """The inverse of `to_coco`. Raises KeyError, TypeError or ValueError where a field is missing or wrong."""
        categories = tuple(Category(c["id"], c["name"], bool(c["isthing"])) for c in coco["categories"])
        sizes = {image["id"]: [image["height"], image["width"]] for image in coco["images"]}
        if len(sizes) != len(coco["images"]):
            raise ValueError("two images share one id")
        is_thing = {category.id: category.is_thing for category in categories}
        boxes: dict[int, list[BoxLabel]] = {image["id"]: [] for image in coco["images"]}
        surfaces: dict[int, list[SurfaceLabel]] = {image["id"]: [] for image in coco["images"]}
        for annotation in coco["annotations"]:
            if is_thing[annotation["category_id"]]:
                x, y, width, height = (float(v) for v in annotation["bbox"])
                box = (x, y, x + width, y + height)
                label = BoxLabel(annotation["category_id"], box, bool(annotation.get("iscrowd", 0)))
                boxes[annotation["image_id"]].append(label)
            else:
                rle = annotation["segmentation"]
                if not isinstance(rle, dict) or not isinstance(rle["counts"], str):
                    raise ValueError(f"annotation {annotation['id']} is no compressed run-length mask")
                if list(rle["size"]) != sizes[annotation["image_id"]]:
                    raise ValueError(f"the mask of annotation {annotation['id']} is not of its image's size")
                surfaces[annotation["image_id"]].append(SurfaceLabel(annotation["category_id"], rle))
        images = tuple(
            LabelledImage(
                id=image["id"],
                width=image["width"],
                height=image["height"],
                recording=image["recording"],
                topic=image["topic"],
                index=image["index"],
                log_time_ns=image["log_time_ns"],
                stamp_ns=image["stamp_ns"],
                split=image["split"],
                boxes=tuple(boxes[image["id"]]),
                surfaces=tuple(surfaces[image["id"]]),
                file_name=image.get("file_name"),
            )
            for image in coco["images"]
        )
        return cls(categories, images)

    def save(self, path: Path, *, force: bool = False) -> None:
        """Writes the index as one JSON file, whole or not at all."""
        with whole_file(path, force=force) as partial:
            partial.write_text(json.dumps(self.to_coco(), separators=(",", ":")) + "\n")

    @classmethod
    def load(cls, path: Path) -> DatasetIndex:
        """Reads an index.

        Raises:
            MayhemError: the file is missing, is no JSON or is no dataset index.
        """
        try:
            return cls.from_coco(json.loads(path.read_text()))
        except OSError as error:
            reason = error.strerror or str(error)
            raise MayhemError(
                f"Cannot read the dataset index {path} ({reason}): make one with `mayhem import-cvat`."
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise MayhemError(
                f"{path} is no dataset index ({type(error).__name__}: {error}): make one with `mayhem import-cvat`."
            ) from error


def dataset_hash(path: Path) -> str:
    """SHA-256 of the index file: what a model card says it was trained on."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
    return fields
