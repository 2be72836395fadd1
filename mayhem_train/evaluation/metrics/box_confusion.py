"""What boxes are taken for: one confusion matrix of objects over the whole dataset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mayhem_train.evaluation.metrics.box_matching import match_boxes
from mayhem_train.evaluation.metrics.image_boxes import ImageBoxes

NOTHING = 0


class BoxConfusion:
    """Counts the boxes of one evaluation, image by image.

    Each object is found by at most one box, at IoU 0.5: first by the boxes of its own class, best score first, which
    are COCO's true positives; then what is left over, whatever its class, is taken for a mix-up where it overlaps.

    Args:
        classes: K; labels count from 1.

    Attributes:
        counts: int64 [1 + K, 1 + K], rows the truth, columns the prediction. Row 0: boxes where no object is.
            Column 0: objects that no box found.
    """

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes + 1, classes + 1), np.int64)

    def add(self, image: ImageBoxes) -> NDArray[np.int64]:
        """Adds one image, its predictions being those that are published, and returns its own matrix."""
        counts = np.zeros_like(self.counts)
        order = np.argsort(-image.scores, kind="stable")
        boxes, labels = image.boxes[order], image.labels[order]
        wrong, missed = np.zeros(len(boxes), bool), ~image.crowd
        for label in range(1, len(counts)):
            ours, theirs = np.flatnonzero(labels == label), np.flatnonzero(image.truth_labels == label)
            matches = match_boxes(boxes[ours], image.truth[theirs], image.crowd[theirs])
            counts[label, label] = matches.right.sum()
            missed[theirs[matches.objects[matches.right]]] = False
            wrong[ours] = matches.wrong
        left, objects = np.flatnonzero(wrong), np.flatnonzero(missed)
        mixed = match_boxes(boxes[left], image.truth[objects], np.zeros(len(objects), bool)).objects
        found = mixed >= 0
        np.add.at(counts, (image.truth_labels[objects[mixed[found]]], labels[left[found]]), 1)
        np.add.at(counts[NOTHING], labels[left[~found]], 1)
        unfound = np.delete(objects, mixed[found])
        np.add.at(counts[:, NOTHING], image.truth_labels[unfound], 1)
        self.counts += counts
        return counts
