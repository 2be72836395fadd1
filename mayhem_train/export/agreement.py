"""How far two exported files say the same about the same frames, as the robot would publish it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

from mayhem_ros.onnx_model import OnnxModel
from mayhem_ros.prediction import Prediction
from mayhem_train.evaluation.metrics.box_matching import MATCH_IOU


@dataclass(frozen=True)
class Agreement:
    """What two files say of one set of frames; the boxes are those above the model card's score thresholds.

    Attributes:
        frames: compared.
        boxes: of the reference.
        other_boxes: of the other file.
        matched: boxes of one that are boxes of the other as well: same class, IoU of at least 0.5.
        score_difference: mean over the matched boxes of the difference of their scores; None where none matched.
        box_difference: mean over the matched boxes of the largest difference of a corner, source pixels; likewise.
        mask: share of equal mask pixels; None without a mask.
    """

    frames: int
    boxes: int
    other_boxes: int
    matched: int
    score_difference: float | None
    box_difference: float | None
    mask: float | None

    @property
    def detection(self) -> float | None:
        """2 matched / (boxes + other boxes): the F1 score of one against the other. None where neither found any."""
        both = self.boxes + self.other_boxes
        return 2 * self.matched / both if both else None

    def __str__(self) -> str:
        parts = []
        if self.detection is not None:
            parts.append(f"{self.detection:.2%} of the boxes agree ({self.boxes} against {self.other_boxes})")
        if self.score_difference is not None:
            parts.append(f"scores {self.score_difference:.1e} and corners {self.box_difference:.2f} pixels apart")
        if self.mask is not None:
            parts.append(f"{self.mask:.3%} of the mask is equal")
        return f"on {self.frames} frames " + (", ".join(parts) or "neither found a box")


def compare(reference: OnnxModel, other: OnnxModel, images: Iterable[NDArray[np.uint8]]) -> Agreement:
    """Runs both files on every image, uint8 [H, W, 3] RGB, and compares what they would publish."""
    thresholds = {kind.id: kind.score_threshold for kind in reference.card.detection_classes}
    frames = boxes = other_boxes = pixels = equal = 0
    scores: list[float] = []
    corners: list[float] = []
    for image in images:
        expected, found = (model.predict(image[None])[0].above(thresholds) for model in (reference, other))
        frames += 1
        if expected.scores is not None and found.scores is not None:
            boxes, other_boxes = boxes + len(expected.scores), other_boxes + len(found.scores)
            for score, corner in _matched(expected, found):
                scores.append(score)
                corners.append(corner)
        if expected.mask is not None and found.mask is not None:
            pixels += expected.mask.size
            equal += int((expected.mask == found.mask).sum())
    return Agreement(
        frames=frames,
        boxes=boxes,
        other_boxes=other_boxes,
        matched=len(scores),
        score_difference=float(np.mean(scores)) if scores else None,
        box_difference=float(np.mean(corners)) if corners else None,
        mask=equal / pixels if pixels else None,
    )


def _matched(expected: Prediction, found: Prediction) -> Iterator[tuple[float, float]]:
    """The differences of score and corners of each expected box and the free box of its class it overlaps most."""
    assert expected.boxes is not None and expected.scores is not None and expected.labels is not None
    assert found.boxes is not None and found.scores is not None and found.labels is not None
    overlaps = box_iou(torch.from_numpy(expected.boxes), torch.from_numpy(found.boxes)).numpy()
    overlaps[expected.labels[:, None] != found.labels[None, :]] = -1
    for place in range(len(overlaps) if len(found.boxes) else 0):
        match = int(overlaps[place].argmax())
        if overlaps[place, match] >= MATCH_IOU:
            overlaps[:, match] = -1
            yield (
                abs(float(expected.scores[place] - found.scores[match])),
                float(np.abs(expected.boxes[place] - found.boxes[match]).max()),
            )
