"""What an index on the disk must say to be trusted: people and programs edit the file, and disks damage it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.quoting import quoted
from mayhem_train.datasets.run_lengths import first_damaged
from mayhem_train.datasets.splits.split_file import SPLITS
from mayhem_train.recordings.frame import frame_name, parse_frame_name

DESCRIPTION = "Mayhem dataset index"
_MOST_PIXELS = 2**28


class LaterVersionError(Exception):
    """An index that a later Mayhem wrote."""


def check_version(coco: Any, known: int) -> None:
    """Raises LaterVersionError where an index says that it is of a later version than the one that is known.

    Other programs' COCO files have versions of their own.
    """
    info = coco.get("info") if isinstance(coco, dict) else None
    if not isinstance(info, dict) or info.get("description") != DESCRIPTION:
        return
    said = info.get("version", known)
    if float(said) > known:
        raise LaterVersionError(f"is a dataset index of version {quoted(said)}, where this Mayhem knows {known}")


def check_categories(categories: Sequence[dict[str, Any]]) -> None:
    """Raises ValueError where ids are shared or no class number, or a name is none; 0 is the background's number."""
    for category in categories:
        if not _is_whole(category["id"], 1) or not isinstance(category["name"], str):
            raise ValueError(f"its category {quoted(category['id'])} called {quoted(category['name'])} cannot be one")
    if len({category["id"] for category in categories}) != len(categories):
        raise ValueError("two categories share one id")


def check_images(images: Sequence[dict[str, Any]]) -> None:
    """Raises ValueError where ids are shared, or an image's place, size or split cannot be."""
    for image in images:
        what = f"its image {quoted(image['id'])}"
        if not isinstance(image["recording"], str) or not isinstance(image["topic"], str):
            raise ValueError(f"{what} is of no recording and topic")
        if not _is_whole(image["index"], 0):
            raise ValueError(f"{what} has the index {quoted(image['index'])}, where frames count from 0")
        name = frame_name(image["recording"], image["index"])
        try:
            parse_frame_name(name)
        except MayhemError as error:
            raise ValueError(f"{what} is of the recording {quoted(image['recording'])}, which none can be") from error
        if not _is_whole(image["width"], 1) or not _is_whole(image["height"], 1):
            raise ValueError(f"image {name} has {quoted(image['width'])}x{quoted(image['height'])} pixels")
        if image["width"] * image["height"] > _MOST_PIXELS:
            raise ValueError(f"image {name} has {image['width']}x{image['height']} pixels, which no camera has")
        if image["split"] not in SPLITS:
            raise ValueError(f"image {name} is in the split {quoted(image['split'])}, not in {', '.join(SPLITS)}")
        stamp = image["stamp_ns"]
        if type(image["log_time_ns"]) is not int or (stamp is not None and type(stamp) is not int):
            raise ValueError(f"image {name} has a log time or a stamp that is no whole number of nanoseconds")
    if len({image["id"] for image in images}) != len(images):
        raise ValueError("two images share one id")


def check_boxes(
    annotations: Sequence[dict[str, Any]], boxes: Sequence[tuple[float, ...]], names: dict[Any, str]
) -> None:
    """Raises ValueError where a corner of a box, (x1, y1, x2, y2), is no finite number or the second comes first.

    Args:
        annotations: to which the boxes belong.
        boxes: as many.
        names: the frames' names by the images' ids.
    """
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    possible = np.isfinite(corners).all(1) & (corners[:, :2] <= corners[:, 2:]).all(1)
    if not possible.all():
        place = int(np.argmin(possible))
        x1, y1, x2, y2 = corners[place].tolist()
        raise ValueError(
            f"the box of {_named(annotations[place], names)} goes from ({x1:g}, {y1:g}) to ({x2:g}, {y2:g})"
        )


def check_masks(annotations: Sequence[dict[str, Any]], sizes: dict[Any, list[int]], names: dict[Any, str]) -> None:
    """Raises ValueError where a mask is no run-length encoding of its image's size.

    Args:
        annotations: those with masks.
        sizes: (height, width) in pixels by the images' ids.
        names: the frames' names by the images' ids.
    """
    for annotation in annotations:
        rle = annotation["segmentation"]
        if not isinstance(rle, dict) or not isinstance(rle["counts"], str):
            raise ValueError(f"the segmentation of {_named(annotation, names)} is no compressed run-length mask")
        if list(rle["size"]) != sizes[annotation["image_id"]]:
            raise ValueError(f"the mask of {_named(annotation, names)} is not of its image's size")
    pixels = {image_id: height * width for image_id, (height, width) in sizes.items()}
    damaged = first_damaged([(a["segmentation"]["counts"], pixels[a["image_id"]]) for a in annotations])
    if damaged is not None:
        wrong = annotations[damaged]
        raise ValueError(
            f"the run lengths of the mask of {_named(wrong, names)} are damaged: they do not add up to its "
            f"{pixels[wrong['image_id']]} pixels"
        )


def _named(annotation: dict[str, Any], names: dict[Any, str]) -> str:
    return f"annotation {quoted(annotation['id'])} of image {names[annotation['image_id']]}"


def _is_whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least
