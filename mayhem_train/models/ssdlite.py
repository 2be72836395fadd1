"""SSDLite: object boxes from depthwise-separable predictors over default boxes of several scales.

SSD: Liu et al. 2016, "SSD: Single Shot MultiBox Detector"; SSDLite: Sandler et al. 2018, "MobileNetV2".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import Conv2dNormActivation, box_iou, clip_boxes_to_image

from mayhem_train.models.bodies import Body
from mayhem_train.models.detection import (
    DETECTIONS,
    LEAST_SCORE,
    OVERLAP_IOU,
    DetectionHead,
    Detections,
    best_detections,
    object_classes,
    on_crowd,
)
from mayhem_train.models.features import STRIDES, FeatureChannels, Features, undilated
from mayhem_train.models.normaliser import joined_count
from mayhem_train.models.overlaps import suppress_overlaps
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.models.targets import Targets

LEVELS = ("c3", "c4", "c5")
EXTRA_CHANNELS = (512, 256)
# As a share of the image's side, one per level and one beyond. The field's boxes are small: half of the labelled
# cars and pedestrians of a street drive span less than 0.08, which 0.2 (the paper's smallest) never matches.
SCALES = (0.05, 0.1, 0.2, 0.4, 0.65, 0.95)
ASPECT_RATIOS = (2.0, 3.0)
MATCH_IOU = 0.5
NEGATIVES_PER_POSITIVE = 3
CANDIDATES = 400

# torchvision trains its SSDLite with these.
_norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)


class BoxPredictions(NamedTuple):
    """Raw predictions for A default boxes: logits float32 [N, A, 1 + K], offsets float32 [N, A, 4]."""

    logits: Tensor
    offsets: Tensor


class SSDLite(DetectionHead):
    """A detection head on levels of the body and further ones, each at twice the stride of the one before.

    Args:
        channels: the body's channels.
        height: of the network's input, pixels.
        width: of the network's input, pixels.
        classes: K, background not counted.
        dilated: whether the body is.
        levels: of the body, by name.
        extra_channels: of the further levels.
        scales: the default boxes' sides as shares of the image's, one a level and one beyond.
    """

    default_boxes: Tensor

    def __init__(
        self,
        channels: FeatureChannels,
        height: int,
        width: int,
        classes: int,
        *,
        dilated: bool = False,
        levels: Sequence[str] = LEVELS,
        extra_channels: Sequence[int] = EXTRA_CHANNELS,
        scales: Sequence[float] = SCALES,
    ):
        super().__init__()
        inputs = [channels.c5, *extra_channels]
        self.extra = nn.ModuleList(_extra_level(*pair) for pair in pairwise(inputs))
        generator = DefaultBoxGenerator([list(ASPECT_RATIOS)] * (len(scales) - 1), scales=list(scales))
        self.predictors = SSDLiteHead(
            [*(getattr(channels, level) for level in levels), *extra_channels],
            generator.num_anchors_per_location(),
            classes + 1,
            _norm,
        )
        strides = [getattr(STRIDES, level) for level in levels]
        strides += [2 * strides[-1] * 2**further for further in range(len(extra_channels))]
        maps = [torch.empty(1, 1, -(-height // stride), -(-width // stride)) for stride in strides]
        (default_boxes,) = generator(ImageList(torch.empty(1, 3, height, width), [(height, width)]), maps)
        self.register_buffer("default_boxes", default_boxes, persistent=False)
        self.height, self.width = height, width
        self._dilated, self._levels = dilated, tuple(levels)
        self._coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
        self._matcher = SSDMatcher(MATCH_IOU)

    def forward(self, features: Features) -> BoxPredictions:
        """Raw predictions for every default box."""
        if self._dilated:
            features = undilated(features)
        levels: list[Tensor] = [getattr(features, level) for level in self._levels]
        for extra in self.extra:
            levels.append(_further_level(extra, levels[-1]))
        predictions = self.predictors(levels)
        return BoxPredictions(predictions["cls_logits"], predictions["bbox_regression"])

    @property
    def class_layers(self) -> dict[str, int]:
        """The last convolution of each level, which has all classes of one default box after those of the other."""
        levels = len(self.predictors.classification_head.module_list)
        return {f"predictors.classification_head.module_list.{level}.1": 1 for level in range(levels)}

    def losses(self, predictions: BoxPredictions, targets: Targets) -> dict[str, Tensor]:
        """The two terms of SSD's loss, each a sum over matched default boxes divided by their number.

        Classification counts the hardest negatives only, three for each positive; what lies on a crowd is no negative.
        An image without objects has the negatives of one positive and counts as one, so that it does not push harder
        than images with objects do.
        """
        matched = [self._match(boxes, labels) for boxes, labels in zip(targets.boxes, targets.labels, strict=True)]
        labels = torch.stack([labels for labels, _ in matched])
        offsets = torch.stack([offsets for _, offsets in matched])
        positive = labels > 0
        counted = positive.sum(1, keepdim=True).clamp(min=1)
        positives = joined_count(counted.sum())
        localisation = functional.smooth_l1_loss(predictions.offsets[positive], offsets[positive], reduction="sum")
        entropy = functional.cross_entropy(predictions.logits.transpose(1, 2), labels, reduction="none")
        negatives = NEGATIVES_PER_POSITIVE * counted
        ignored = torch.stack([on_crowd(self.default_boxes, crowds) for crowds in targets.crowd_boxes])
        hardness = entropy.detach().masked_fill(positive | ignored, -1.0)
        hard = (hardness.argsort(dim=1, descending=True).argsort(dim=1) < negatives) & ~ignored
        classification = entropy[positive | hard].sum()
        return {"classification": classification / positives, "localisation": localisation / positives}

    def detect(self, predictions: BoxPredictions) -> Detections:
        """The best boxes of each image, overlaps suppressed. Exports to ONNX: no size depends on the values."""
        # How far an object's logit leads the background's ranks default boxes without the softmax of all of them.
        lead = predictions.logits[..., 1:].amax(dim=-1) - predictions.logits[..., 0]
        _, candidates = lead.topk(min(CANDIDATES, lead.shape[1]), dim=1)
        logits = predictions.logits.gather(1, candidates.unsqueeze(-1).expand(-1, -1, predictions.logits.shape[-1]))
        scores = logits.softmax(dim=-1)[..., 1:].transpose(1, 2)
        offsets = predictions.offsets.gather(1, candidates.unsqueeze(-1).expand(-1, -1, 4))
        boxes = self._decode(offsets, self.default_boxes[candidates])
        kept = suppress_overlaps(boxes, scores.contiguous(), OVERLAP_IOU, LEAST_SCORE, DETECTIONS)
        return best_detections(boxes[:, None], kept)

    def _match(self, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Per default box its label (0 background) int64 [A] and the offsets to its object float32 [A, 4]."""
        if len(boxes) == 0:
            default_boxes = self.default_boxes
            return labels.new_zeros(len(default_boxes)), default_boxes.new_zeros(default_boxes.shape)
        objects = self._matcher(box_iou(boxes, self.default_boxes))
        offsets = self._coder.encode_single(boxes[objects.clamp(min=0)], self.default_boxes)
        return torch.where(objects >= 0, labels[objects.clamp(min=0)], 0), offsets

    def _decode(self, offsets: Tensor, default_boxes: Tensor) -> Tensor:
        """Boxes [N, K, 4] as shares of the image's sides, clipped to it."""
        boxes = self._coder.decode_single(offsets.flatten(0, 1), default_boxes.flatten(0, 1)).view(offsets.shape)
        boxes = clip_boxes_to_image(boxes, (self.height, self.width))
        return boxes / boxes.new_tensor([self.width, self.height, self.width, self.height])


def ssdlite(body: Body, specification: NetworkSpecification) -> SSDLite:
    """SSDLite for the specification's objects and input size."""
    return SSDLite(
        body.channels,
        specification.height,
        specification.width,
        object_classes(specification),
        dilated=body.dilated,
    )


def _extra_level(channels_in: int, channels_out: int) -> nn.Sequential:
    middle = channels_out // 2
    layers: Sequence[nn.Module] = (
        Conv2dNormActivation(channels_in, middle, 1, norm_layer=_norm, activation_layer=nn.ReLU6),
        Conv2dNormActivation(middle, middle, 3, 2, groups=middle, norm_layer=_norm, activation_layer=nn.ReLU6),
        Conv2dNormActivation(middle, channels_out, 1, norm_layer=_norm, activation_layer=nn.ReLU6),
    )
    return nn.Sequential(*layers)


def _further_level(extra: nn.Module, level: Tensor) -> Tensor:
    # Over maps one value wide, oneDNN (torch 2.15) leaves parts of a strided bfloat16 convolution's weight gradient
    # unwritten: whatever the memory held is learned, and becomes NaN sooner or later.
    if level.shape[-1] == 1 and torch.is_autocast_enabled(level.device.type):
        with torch.autocast(level.device.type, enabled=False):
            return extra(level.float())
    return extra(level)
