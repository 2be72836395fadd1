"""Non-maximum suppression as one batched operator, which torch runs here and ONNX as its NonMaxSuppression."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import batched_nms


@torch.library.custom_op("mayhem::suppress_overlaps", mutates_args=())
def suppress_overlaps(boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float, most: int) -> Tensor:
    """Scores, with zero where a better box of the same class overlaps, the score is too low or enough are better.

    Args:
        boxes: float32 [N, K, 4], xyxy, shared by all classes.
        scores: float32 [N, C, K].
        iou_threshold: boxes of one class overlapping more than this are one object.
        score_threshold: scores not above this become zero.
        most: so many of each class are kept at most, the best. ONNX Runtime's time grows with their square.

    Returns:
        float32 [N, C, K]. The shape is the input's, so that no size depends on what the network sees.
    """
    kept = torch.zeros_like(scores)
    for image in range(len(boxes)):
        classes, candidates = torch.where(scores[image] > score_threshold)
        values = scores[image, classes, candidates]
        keep = batched_nms(boxes[image, candidates], values, classes, iou_threshold).sort().values
        keep = keep[values[keep].argsort(descending=True, stable=True)]  # of equal ones the first, as ONNX has it
        of_class = functional.one_hot(classes[keep], scores.shape[1])
        keep = keep[(of_class.cumsum(0) * of_class).sum(1) <= most]
        kept[image, classes[keep], candidates[keep]] = values[keep]
    return kept


@suppress_overlaps.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float, most: int) -> Tensor:
    return torch.empty_like(scores)
