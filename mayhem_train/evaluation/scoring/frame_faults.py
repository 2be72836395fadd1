"""What is wrong with the prediction of one frame, in words, the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mayhem_train.evaluation.metrics.box_confusion import NOTHING
from mayhem_train.evaluation.metrics.segmentation import BACKGROUND

_TOLD = 3


def frame_faults(
    things: Sequence[str], boxes: NDArray[np.int64], surfaces: Sequence[str], pixels: NDArray[np.int64]
) -> tuple[str, ...]:
    """The three faults that cost the frame's score most; none where all is right.

    Args:
        things: the detection classes, label k is `things[k - 1]`.
        boxes: the frame's matrix of `BoxConfusion`.
        surfaces: the segmentation classes, mask value k is `surfaces[k - 1]`.
        pixels: the frame's `confusion_matrix`, or one of zeros where no mask was scored.
    """
    faults = sorted([*_of_boxes(things, boxes), *_of_surfaces(surfaces, pixels)], key=lambda fault: -fault[0])
    return tuple(sentence for _, sentence in faults[:_TOLD])


def _of_boxes(names: Sequence[str], counts: NDArray[np.int64]) -> Iterator[tuple[float, str]]:
    """(cost, sentence): the costs are shares of 2 TP + FP + FN and add up to what is missing to a score of 1."""
    whole = int(counts[1:].sum() + counts[:, 1:].sum())  # each right box is in both
    for row, column in zip(*np.nonzero(counts), strict=True):
        count = int(counts[row, column])
        if row == column:
            continue
        cost = count / whole
        if column == NOTHING:
            yield cost, f"{count} of {int(counts[row].sum())} {names[row - 1]} missed"
        elif row == NOTHING:
            yield cost, f"{count} {names[column - 1]} where there is none"
        else:
            yield 2 * cost, f"{count} {names[row - 1]} taken for {names[column - 1]}"


def _of_surfaces(names: Sequence[str], confusion: NDArray[np.int64]) -> Iterator[tuple[float, str]]:
    """(cost, sentence): the costs are shares of the surface's union, over the number of classes in the frame."""
    counted = int(((confusion.sum(axis=0) + confusion.sum(axis=1)) > 0).sum())
    total = int(confusion.sum())
    for value, name in enumerate(names, start=BACKGROUND + 1):
        labelled, predicted = int(confusion[value].sum()), int(confusion[:, value].sum())
        right = int(confusion[value, value])
        union = labelled + predicted - right
        if predicted > right:
            share = (predicted - right) / (total - labelled)
            yield (predicted - right) / union / counted, f"{share:.1%} of what is no {name} called {name}"
        if labelled > right:
            yield (labelled - right) / union / counted, f"{(labelled - right) / labelled:.1%} of the {name} missed"
