"""What all detection heads have in common: the boxes they find, and what a robot gets of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mayhem_ros.errors import UsageError
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.models.targets import Targets

TASK = "detection"
DETECTIONS = 100
LEAST_SCORE = 0.01
OVERLAP_IOU = 0.55


class Detections(NamedTuple):
    """The best boxes of N images, padded to D each.

    Attributes:
        boxes: float32 [N, D, 4], xyxy as shares of the image's width and height.
        scores: float32 [N, D], falling, 0 where padded.
        labels: int64 [N, D], 1 to K.
        counts: int64 [N], how many are real.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    counts: Tensor


class DetectionHead(nn.Module):
    """A head whose `detect` finds boxes in its raw predictions."""

    outputs = ("boxes", "scores", "labels", "count")
    tells_background = True

    @property
    def class_layers(self) -> dict[str, int]:
        """See `class_rows`."""
        raise NotImplementedError

    def is_labelled(self, targets: Targets) -> bool:
        """Whether an image of the batch has an object, or a place that is known to have none: one outside of crowds."""
        height, width = targets.masks.shape[-2:]
        return any(
            len(boxes) > 0 or not bool(_covers(crowds, height, width).any())
            for boxes, crowds in zip(targets.boxes, targets.crowd_boxes, strict=True)
        )

    def detect(self, predictions: Any) -> Detections:
        """The best boxes of each image, overlaps suppressed; no shape may depend on what is seen."""
        raise NotImplementedError

    def publish(self, predictions: Any, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Boxes in pixels of an image of this height and width, scores, labels and count."""
        found = self.detect(predictions)
        ones = found.boxes.new_ones(1)
        # Made of ones times the sides, the scale follows the image's size in an exported graph.
        scale = torch.cat([ones * width, ones * height, ones * width, ones * height])
        return found.boxes * scale, found.scores, found.labels, found.counts


def object_classes(specification: NetworkSpecification) -> int:
    """K, background not counted.

    Raises:
        UsageError: there are none, and nothing to learn.
    """
    if not specification.detection_classes:
        raise UsageError(f"{specification.name} learns boxes, and the dataset has no box class: label some.")
    return len(specification.detection_classes)


def best_detections(boxes: Tensor, scores: Tensor) -> Detections:
    """The best of what suppression has left.

    Args:
        boxes: float32 [N, C, P, 4], shares of the image's sides; C may be 1 where classes share their boxes.
        scores: float32 [N, K, P], zero where a better box overlaps.
    """
    classes, places = scores.shape[1:]
    best, found = scores.flatten(1).topk(min(DETECTIONS, classes * places), dim=1)
    rows = found if boxes.shape[1] == classes else found % places
    return Detections(
        boxes=boxes.flatten(1, 2).gather(1, rows.unsqueeze(-1).expand(-1, -1, 4)),
        scores=best,
        labels=found // places + 1,
        counts=(best > 0).sum(dim=1),
    )


def on_crowd(boxes: Tensor, crowds: Tensor) -> Tensor:
    """bool [A]: boxes [A, 4] of which half or more lies on one of the crowds [C, 4], by COCO's overlap with crowds."""
    upper_left = torch.maximum(boxes[:, None, :2], crowds[None, :, :2])
    lower_right = torch.minimum(boxes[:, None, 2:], crowds[None, :, 2:])
    covered = (lower_right - upper_left).clamp(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return (covered >= 0.5 * area[:, None]).any(1)


def _covers(boxes: Tensor, height: int, width: int) -> Tensor:
    """bool [C]: boxes [C, 4] that cover an image of this height and width."""
    return (boxes[:, :2] <= 0).all(1) & (boxes[:, 2] >= width) & (boxes[:, 3] >= height)
