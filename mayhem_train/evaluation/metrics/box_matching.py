"""Which predicted boxes are right: the greedy matching of one class in one image, as COCO does it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MATCH_IOU = 0.5
"""A box counts as right when it covers an object of its class by at least this IoU."""


@dataclass(frozen=True)
class BoxMatches:
    """What became of the boxes of one class in one image.

    Attributes:
        right: bool [K], boxes that found an object.
        wrong: bool [K], boxes that found none; a box that only lies on a crowd is neither right nor wrong.
        objects: int64 [K], the place in the truth of the object that the box found, -1 where it found none.
        missed: objects that no box found.
    """

    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    objects: NDArray[np.int64]
    missed: int


def match_boxes(
    boxes: NDArray[np.floating], truth: NDArray[np.floating], crowd: NDArray[np.bool_], iou: float = MATCH_IOU
) -> BoxMatches:
    """The best-scored box chooses first, among the objects still free, the one it overlaps most.

    Args:
        boxes: [K, 4], xyxy, best score first.
        truth: [M, 4], xyxy.
        crowd: [M], True where a truth box stands for a crowd.
        iou: the least overlap that counts.
    """
    overlaps = _overlaps(boxes, truth)
    on_crowd = _covered(boxes, truth[crowd]) >= iou
    overlaps[:, crowd] = -1
    objects = np.full(len(boxes), -1, np.int64)
    for row in range(len(boxes)):
        best = int(overlaps[row].argmax()) if len(truth) else -1
        if best >= 0 and overlaps[row, best] >= iou:
            overlaps[:, best] = -1
            objects[row] = best
    right = objects >= 0
    return BoxMatches(right, ~right & ~on_crowd.any(axis=1), objects, int((~crowd).sum() - right.sum()))


def _overlaps(boxes: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.floating]:
    """Intersection over union [K, M]."""
    intersection = _intersections(boxes, truth)
    union = _areas(boxes)[:, None] + _areas(truth)[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def _covered(boxes: NDArray[np.floating], crowds: NDArray[np.floating]) -> NDArray[np.floating]:
    """Share of each box that lies on each crowd [K, M]: COCO's overlap with a crowd."""
    intersection = _intersections(boxes, crowds)
    areas = np.broadcast_to(_areas(boxes)[:, None], intersection.shape)
    return np.divide(intersection, areas, out=np.zeros_like(intersection), where=areas > 0)


def _intersections(boxes: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.floating]:
    corners = np.minimum(boxes[:, None, 2:], truth[None, :, 2:]) - np.maximum(boxes[:, None, :2], truth[None, :, :2])
    return np.prod(np.clip(corners, 0, None), axis=2, dtype=np.float64)


def _areas(boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1, dtype=np.float64)
