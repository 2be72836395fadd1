"""Masks become what people edit and other tools read: outlines along the pixels' edges, or painted masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_train.datasets.annotations.shapes import MaskShape


@dataclass(frozen=True)
class Outline:
    """The outer edge of one connected part of a class mask.

    Attributes:
        value: the part's value in the mask.
        points: float64 [P, 2], (x, y) in image pixels, (0, 0) the top left pixel's outer edge; not closed.
        depth: in how many other outlines it lies, which it must therefore be painted over.
    """

    value: int
    points: NDArray[np.float64]
    depth: int


def outline_parts(mask: NDArray[np.uint8], *, tolerance: float = 0.0, least_area: int = 1) -> list[Outline]:
    """The outlines that, filled in the order of their depths, paint the mask: 0 fills holes and whatever lies in them.

    Without a tolerance and a least area every pixel's centre gets its value back.

    Args:
        mask: uint8 [H, W] of class values.
        tolerance: how far, in pixels, an outline may depart from the pixels' edges to save points (Douglas-Peucker).
        least_area: parts that, holes included, cover fewer pixels are left to what surrounds them.
    """
    parts = [part for part in _parts(mask, least_area) if part.filled_area >= least_area]
    depths = np.zeros(mask.shape, np.int32)
    outlines = []
    for part in sorted(parts, key=lambda part: -part.filled_area):
        window = depths[part.window]
        depth = int(window[part.pixels][0])
        if part.value == 0 and depth == 0:  # not within anything: what is not painted is 0 anyway
            continue
        cv2.drawContours(window, _traced(part.pixels, cv2.RETR_EXTERNAL), -1, depth + 1, cv2.FILLED)
        (ring,) = _rings(part.pixels, cv2.RETR_EXTERNAL)[0]
        if tolerance > 0:
            ring = cv2.approxPolyDP(ring, 2 * tolerance, closed=True).reshape(-1, 2)
        if len(ring) >= 3:
            corner = part.window[1].start, part.window[0].start
            outlines.append(Outline(part.value, ring / 2 + corner, depth))
    return sorted(outlines, key=lambda outline: outline.depth)


def keyhole_polygons(mask: NDArray[Any]) -> list[NDArray[np.float64]]:
    """One polygon, float64 [P, 2], for each connected part of a binary mask; together they cover exactly its pixels.

    A hole is joined to the outline around it by a seam that leads there and back, as formats without holes need it.
    Points lie on the edges of pixels, (0, 0) the top left pixel's outer edge.
    """
    rings, parents = _rings(mask, cv2.RETR_CCOMP)
    holes: dict[int, list[NDArray[Any]]] = {}
    for ring, parent in zip(rings, parents, strict=True):
        if parent >= 0:
            holes.setdefault(parent, []).append(ring)
    polygons = []
    for number, (ring, parent) in enumerate(zip(rings, parents, strict=True)):
        if parent < 0:
            for hole in holes.get(number, []):
                ring = _joined(ring, hole)
            polygons.append(ring / 2)
    return polygons


def mask_shape(mask: NDArray[np.bool_], label: str, *, source: str = "") -> MaskShape:
    """The painted mask, bool [H, W] with at least one pixel set, in the smallest window that holds it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left, bottom, right = int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    runs = row_runs(mask[top:bottom, left:right])
    return MaskShape(label, runs, (left, top, right - left, bottom - top), source=source)


def row_runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """int64 [R]: alternating lengths of 0s and 1s along the rows of a mask, the first counts 0s and may be 0."""
    flat = mask.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]]))
    return np.concatenate([[0], runs]) if flat[0] else runs


@dataclass(frozen=True)
class _Part:
    """Pixels of one value that share sides: `pixels` is bool [h, w] within `window` of the mask."""

    value: int
    pixels: NDArray[np.bool_]
    window: tuple[slice, slice]
    filled_area: int


def _parts(mask: NDArray[np.uint8], least_window: int) -> list[_Part]:
    """The parts whose windows hold at least `least_window` pixels."""
    # Sides only: of two diagonals that cross, one alone would have to hold, or parts would contain each other.
    parts = []
    for value in np.unique(mask).tolist():
        _, numbers, boxes, _ = cv2.connectedComponentsWithStats((mask == value).view(np.uint8), connectivity=4)
        for number in range(1, len(boxes)):
            left, top, width, height, _ = boxes[number].tolist()
            if width * height < least_window:
                continue
            window = slice(top, top + height), slice(left, left + width)
            pixels = numbers[window] == number
            filled = np.zeros(pixels.shape, np.uint8)
            cv2.drawContours(filled, _traced(pixels, cv2.RETR_EXTERNAL), -1, 1, cv2.FILLED)
            parts.append(_Part(value, pixels, window, int(filled.sum())))
    return parts


def _traced(pixels: NDArray[np.bool_], mode: int) -> Any:
    """Contours from pixel to pixel, as OpenCV fills them again."""
    return cv2.findContours(pixels.view(np.uint8), mode, cv2.CHAIN_APPROX_NONE)[0]


def _rings(mask: NDArray[Any], mode: int) -> tuple[list[NDArray[Any]], list[int]]:
    """Rings along the pixels' edges in half pixels, int32 [P, 2], and each one's parent in their list or -1.

    OpenCV traces from pixel centre to pixel centre. Drawn twice as large, each pixel with its border line, the centres
    of the outermost pixels are the edges that are wanted.
    """
    height, width = mask.shape
    lattice = np.zeros((2 * height + 1, 2 * width + 1), np.uint8)
    set_pixels = np.asarray(mask, bool)
    for row in range(3):
        for column in range(3):
            lattice[row : row + 2 * height : 2, column : column + 2 * width : 2] |= set_pixels
    rings, hierarchy = cv2.findContours(lattice, mode, cv2.CHAIN_APPROX_SIMPLE)
    return [ring.reshape(-1, 2) for ring in rings], ([] if hierarchy is None else hierarchy[0, :, 3].tolist())


def _joined(outline: NDArray[Any], hole: NDArray[Any]) -> NDArray[Any]:
    """The ring that runs along the outline, over the shortest seam around the hole, and back."""
    distances = np.square(outline[:, None] - hole[None]).sum(2)
    start, entry = np.unravel_index(np.argmin(distances), distances.shape)
    return np.concatenate([outline[: start + 1], hole[entry:], hole[: entry + 1], outline[start:]])
