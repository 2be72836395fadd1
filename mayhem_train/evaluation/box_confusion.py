"""What boxes are taken for: one confusion matrix of objects over the whole dataset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mayhem_train.evaluation.box_matching import match_boxes

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

    def add(
        self,
        truth_boxes: NDArray[np.floating],
        truth_labels: NDArray[np.int64],
        truth_crowd: NDArray[np.bool_],
        boxes: NDArray[np.floating],
        scores: NDArray[np.floating],
        labels: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Adds one image and returns its own matrix.

        Args:
            truth_boxes: [M, 4], xyxy, source pixels.
            truth_labels: [M], 1 to K.
            truth_crowd: [M], True where a box stands for a crowd: boxes of its class on it are left out.
            boxes: the published ones [N, 4], xyxy, source pixels.
            scores: [N].
            labels: [N], 1 to K.
        """
        counts = np.zeros_like(self.counts)
        order = np.argsort(-scores, kind="stable")
        boxes, labels = boxes[order], labels[order]
        wrong, missed = np.zeros(len(boxes), bool), ~truth_crowd
        for label in range(1, len(counts)):
            ours, theirs = np.flatnonzero(labels == label), np.flatnonzero(truth_labels == label)
            matches = match_boxes(boxes[ours], truth_boxes[theirs], truth_crowd[theirs])
            counts[label, label] = matches.right.sum()
            missed[theirs[matches.objects[matches.right]]] = False
            wrong[ours] = matches.wrong
        left, objects = np.flatnonzero(wrong), np.flatnonzero(missed)
        mixed = match_boxes(boxes[left], truth_boxes[objects], np.zeros(len(objects), bool)).objects
        found = mixed >= 0
        np.add.at(counts, (truth_labels[objects[mixed[found]]], labels[left[found]]), 1)
        np.add.at(counts[NOTHING], labels[left[~found]], 1)
        unfound = np.delete(objects, mixed[found])
        np.add.at(counts[:, NOTHING], truth_labels[unfound], 1)
        self.counts += counts
        return counts
