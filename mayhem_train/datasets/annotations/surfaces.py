"""Surface shapes to masks: polygons and CVAT's row-wise runs become COCO run-length encodings that do not overlap."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_codec

from mayhem_train.datasets.annotations.shapes import AreaShape, BoxShape, MaskShape
from mayhem_train.datasets.index import BACKGROUND


def shape_rle(shape: AreaShape, width: int, height: int, *, traced: bool = False) -> dict[str, Any]:
    """COCO's run-length encoding of the pixels a shape covers; parts outside the image fall away.

    A polygon or box covers the pixels whose centres lie in it, where pixel (0, 0) is the square from (0, 0) to (1, 1).
    This is what CVAT's own exports to masks do, by the same code: pycocotools, which snaps vertices to a fifth of a
    pixel. With `traced`, a polygon's vertices are indices of pixels that belong to it, as `cv2.findContours` has it.
    """
    if isinstance(shape, MaskShape):
        return _mask_rle(shape.runs, shape.window, width, height)
    if isinstance(shape, BoxShape):
        # Cut to the image, since the encoder walks along the whole outline, however far it reaches.
        x1, y1, x2, y2 = np.clip(shape.box, 0, (width, height, width, height)).tolist()
        return _polygon_rle(np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]), width, height)
    if traced:
        return _traced_rle(shape.points, width, height)
    return _polygon_rle(shape.points, width, height)


def paint(layers: Iterable[tuple[int, dict[str, Any]]], width: int, height: int) -> dict[int, dict[str, Any]]:
    """Paints (category id, encoding) layers over each other, lowest first; the id 0, background, erases.

    Returns the encoding of what remains visible of each category, its counts as text, without the empty ones.
    """
    merged = [
        (category, rle_codec.merge([rle for _, rle in group]))
        for category, group in groupby(layers, key=lambda layer: layer[0])
    ]
    visible: dict[int, list[dict[str, Any]]] = {}
    cover: dict[str, Any] | None = None  # what lies above
    for category, rle in reversed(merged):
        if category != BACKGROUND:
            visible.setdefault(category, []).append(rle if cover is None else _uncovered(rle, cover))
        cover = rle if cover is None else rle_codec.merge([rle, cover])
    united = {category: rle_codec.merge(parts) for category, parts in sorted(visible.items())}
    return {category: _as_text(rle) for category, rle in united.items() if rle_codec.area(rle) > 0}


def _uncovered(rle: dict[str, Any], cover: dict[str, Any]) -> dict[str, Any]:
    """The pixels of `rle` that `cover` leaves; only where they meet do they become pixels, which is slow."""
    if not rle_codec.area(rle_codec.merge([rle, cover], intersect=True)):
        return rle
    return _encode(rle_codec.decode(rle) > rle_codec.decode(cover))


def _polygon_rle(points: NDArray[np.float64], width: int, height: int) -> dict[str, Any]:
    rle: dict[str, Any] = rle_codec.frPyObjects([points.ravel().tolist()], height, width)[0]
    return rle


def _traced_rle(points: NDArray[np.float64], width: int, height: int) -> dict[str, Any]:
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    return _encode(mask)


def _mask_rle(runs: NDArray[np.int64], window: tuple[int, int, int, int], width: int, height: int) -> dict[str, Any]:
    """CVAT's runs go along the rows of a window, 0s first; COCO's along the columns of the image."""
    left, top, columns, rows = window
    values = np.arange(len(runs)) % 2 == 1
    mask = np.zeros((height, width), np.uint8, order="F")
    mask[top : top + rows, left : left + columns] = np.repeat(values, runs).reshape(rows, columns)
    return _encode(mask)


def _encode(mask: NDArray[Any]) -> dict[str, Any]:
    rle: dict[str, Any] = rle_codec.encode(np.asfortranarray(mask, np.uint8))
    return rle


def _as_text(rle: dict[str, Any]) -> dict[str, Any]:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}
