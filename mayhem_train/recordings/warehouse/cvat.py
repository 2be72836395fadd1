"""Writes labels as "CVAT for images 1.1": boxes for things, run-length masks for the floor."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from mayhem_train.recordings.warehouse.labels import FrameLabels


class CvatDocument:
    """One annotation file; add the pictures in order, then write it."""

    def __init__(self, task: str, size: int, labels: tuple[str, ...]) -> None:
        self._root = ElementTree.Element("annotations")
        ElementTree.SubElement(self._root, "version").text = "1.1"
        description = ElementTree.SubElement(ElementTree.SubElement(self._root, "meta"), "task")
        ElementTree.SubElement(description, "name").text = task
        ElementTree.SubElement(description, "size").text = str(size)
        listed = ElementTree.SubElement(description, "labels")
        for name in labels:
            label = ElementTree.SubElement(listed, "label")
            ElementTree.SubElement(label, "name").text = name
            ElementTree.SubElement(label, "type").text = "any"
        self._count = 0

    def add(self, name: str, labels: FrameLabels, surface: str) -> None:
        """Adds one picture; its floor is labelled `surface`."""
        height, width = labels.floor.shape
        image = ElementTree.SubElement(
            self._root, "image", id=str(self._count), name=name, width=str(width), height=str(height)
        )
        self._count += 1
        if labels.floor.any():
            left, top, window = _window(labels.floor)
            attributes = {
                "label": surface,
                "source": "manual",
                "occluded": "0",
                "rle": ", ".join(str(run) for run in mask_runs(window)),
                "left": str(left),
                "top": str(top),
                "width": str(window.shape[1]),
                "height": str(window.shape[0]),
                "z_order": "0",
            }
            ElementTree.SubElement(image, "mask", attributes)
        for thing in labels.things:
            corners = {key: f"{value:.2f}" for key, value in zip(("xtl", "ytl", "xbr", "ybr"), thing.box, strict=True)}
            attributes = {"label": thing.label, "source": "manual", "occluded": str(int(thing.occluded))}
            ElementTree.SubElement(image, "box", attributes | corners | {"z_order": "0"})

    def write(self, path: Path) -> None:
        """Writes the file."""
        ElementTree.indent(self._root)
        ElementTree.ElementTree(self._root).write(path, encoding="utf-8", xml_declaration=True)


def mask_runs(window: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of a mask, row by row, unset and set in turn; the first counts unset pixels, perhaps 0."""
    flat = window.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *runs] if flat[0] else list(runs)


def _window(mask: NDArray[np.bool_]) -> tuple[int, int, NDArray[np.bool_]]:
    """Left and top of the smallest window that holds the whole mask, and the window."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
