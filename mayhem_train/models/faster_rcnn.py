"""Faster R-CNN on a feature pyramid: regions are proposed, then classified and refined.

Ren et al. 2015, "Faster R-CNN"; Lin et al. 2017, "Feature Pyramid Networks for Object Detection".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FeaturePyramidNetwork, box_iou, clip_boxes_to_image
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

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
from mayhem_train.models.features import STRIDES, FeatureChannels, Features, Strides, undilated
from mayhem_train.models.normaliser import joined_count
from mayhem_train.models.overlaps import suppress_overlaps
from mayhem_train.models.regions import REGION_SIZE, pool_boxes, pool_regions
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.models.targets import Targets

LEVELS = ("c3", "c4", "c5")
# Anchors' sides in pixels for each level and the one beyond, each 1.6 times the last; the smallest are those of the
# field's small boxes, a twentieth of an image.
ANCHOR_SIZES = ((16, 26), (42, 68), (110, 178), (288, 466))
ASPECT_RATIOS = (0.5, 1.0, 2.0)
PYRAMID_CHANNELS = 256
BOX_CHANNELS = 1024
CANDIDATES = 400  # of each level
PROPOSALS = 300
TRAINING_CANDIDATES = 1000
TRAINING_PROPOSALS = 1000
PROPOSAL_OVERLAP_IOU = 0.7
LEAST_SIDE = 1e-3  # pixels
ANCHORS_SAMPLED = 256
PROPOSALS_SAMPLED = 128
SMOOTH_L1_BETA = 1 / 9


class RegionPredictions(NamedTuple):
    """Raw predictions for A anchors.

    Attributes:
        objectness: logits float32 [N, A].
        offsets: float32 [N, A, 4] from anchors to proposals.
        pyramid: level name to float32 [N, 256, h, w], from which regions are classified.
    """

    objectness: Tensor
    offsets: Tensor
    pyramid: dict[str, Tensor]


class FasterRCNN(DetectionHead):
    """A detection head with a feature pyramid of its own.

    Args:
        channels: the body's channels.
        height: of the network's input, pixels.
        width: of the network's input, pixels.
        classes: K, background not counted.
        dilated: whether the body is.
        levels: of the body, by name.
        strides: of the body's levels.
        anchor_sizes: anchors' sides in pixels for each of `levels` and one beyond, equally many for each.
    """

    anchors: Tensor

    def __init__(
        self,
        channels: FeatureChannels,
        height: int,
        width: int,
        classes: int,
        *,
        dilated: bool = False,
        levels: Sequence[str] = LEVELS,
        strides: Strides = STRIDES,
        anchor_sizes: Sequence[Sequence[int]] = ANCHOR_SIZES,
    ):
        super().__init__()
        self.height, self.width = height, width
        self._dilated, self._levels = dilated, tuple(levels)
        self._strides = [getattr(strides, level) for level in levels]
        self.fpn = FeaturePyramidNetwork(
            [getattr(channels, level) for level in levels], PYRAMID_CHANNELS, LastLevelMaxPool()
        )
        self.rpn = RPNHead(PYRAMID_CHANNELS, len(anchor_sizes[0]) * len(ASPECT_RATIOS))
        self.box_head = TwoMLPHead(PYRAMID_CHANNELS * REGION_SIZE**2, BOX_CHANNELS)
        self.box_predictor = FastRCNNPredictor(BOX_CHANNELS, classes + 1)
        by_level = self._anchors(anchor_sizes)
        self.anchors_per_level = [len(anchors) for anchors in by_level]
        self.register_buffer("anchors", torch.cat(by_level), persistent=False)
        self._anchor_coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
        self._anchor_matcher = Matcher(0.7, 0.3, allow_low_quality_matches=True)
        self._anchor_sampler = BalancedPositiveNegativeSampler(ANCHORS_SAMPLED, 0.5)
        self._box_coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
        self._box_matcher = Matcher(0.5, 0.5, allow_low_quality_matches=False)
        self._box_sampler = BalancedPositiveNegativeSampler(PROPOSALS_SAMPLED, 0.25)

    def forward(self, features: Features) -> RegionPredictions:
        """Raw predictions for every anchor, and the pyramid."""
        if self._dilated:
            features = undilated(features)
        pyramid = self.fpn({level: getattr(features, level) for level in self._levels})
        objectness, offsets = self.rpn(list(pyramid.values()))
        return RegionPredictions(
            torch.cat([logits.permute(0, 2, 3, 1).flatten(1) for logits in objectness], dim=1),
            torch.cat([of_level.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4)) for of_level in offsets], dim=1),
            {level: pyramid[level] for level in self._levels},
        )

    @property
    def class_layers(self) -> dict[str, int]:
        """Scores, and four offsets of each class; proposals know no classes."""
        return {"box_predictor.cls_score": 1, "box_predictor.bbox_pred": 4}

    def losses(self, predictions: RegionPredictions, targets: Targets) -> dict[str, Tensor]:
        """The paper's two losses of the proposals and two of the boxes, over anchors and proposals drawn at random.

        What lies on a crowd is neither object nor background.
        """
        proposals, objectness = self.propose(predictions, TRAINING_CANDIDATES, TRAINING_PROPOSALS)
        found = [boxes[scores > 0] for boxes, scores in zip(proposals, objectness, strict=True)]
        return self._proposal_losses(predictions, targets) | self._box_losses(predictions, found, targets)

    def detect(self, predictions: RegionPredictions) -> Detections:
        """The best boxes of each image, overlaps suppressed. Exports to ONNX: no shape depends on the values."""
        proposals, objectness = self.propose(predictions, CANDIDATES, PROPOSALS)
        regions = pool_boxes([predictions.pyramid[level] for level in self._levels], proposals, self._strides)
        logits, offsets = self.box_predictor(self.box_head(regions))
        count = proposals.shape[1]
        scores = logits.softmax(dim=-1).unflatten(0, (-1, count))[..., 1:] * (objectness > 0).unsqueeze(-1)
        boxes = self._box_coder.decode_single(offsets, proposals.flatten(0, 1)).unflatten(0, (-1, count))
        boxes = clip_boxes_to_image(boxes.unflatten(-1, (-1, 4))[:, :, 1:].transpose(1, 2), (self.height, self.width))
        boxes = boxes / boxes.new_tensor([self.width, self.height, self.width, self.height])
        scores = scores.transpose(1, 2)
        # Every class has boxes of its own, so to suppression each is an image.
        kept = suppress_overlaps(
            boxes.flatten(0, 1).contiguous(), scores.flatten(0, 1).unsqueeze(1), OVERLAP_IOU, LEAST_SCORE, DETECTIONS
        )
        return best_detections(boxes, kept.squeeze(1).unflatten(0, (-1, scores.shape[1])))

    @torch.no_grad()
    def propose(self, predictions: RegionPredictions, candidates: int, count: int) -> tuple[Tensor, Tensor]:
        """The best regions, overlaps suppressed on each level.

        Args:
            predictions: for N images.
            candidates: how many of each level are looked at.
            count: how many are wanted, P or fewer where there are not as many anchors.

        Returns:
            Boxes float32 [N, P, 4] in pixels of the network's input, and objectness [N, P], falling, 0 where padded.
        """
        boxes, scores = [], []
        for objectness, offsets, anchors in zip(
            predictions.objectness.split(self.anchors_per_level, dim=1),
            predictions.offsets.split(self.anchors_per_level, dim=1),
            self.anchors.split(self.anchors_per_level),
            strict=True,
        ):
            best, places = objectness.topk(min(candidates, len(anchors)), dim=1)
            chosen = offsets.gather(1, places.unsqueeze(-1).expand(-1, -1, 4))
            decoded = self._anchor_coder.decode_single(chosen.flatten(0, 1), anchors[places].flatten(0, 1))
            decoded = clip_boxes_to_image(decoded.view(chosen.shape), (self.height, self.width))
            large = ((decoded[..., 2:] - decoded[..., :2]) >= LEAST_SIDE).all(-1)
            likely = torch.where(large, best.sigmoid(), 0.0).unsqueeze(1)
            boxes.append(decoded)
            scores.append(suppress_overlaps(decoded, likely, PROPOSAL_OVERLAP_IOU, 0.0, count).squeeze(1))
        together, all_boxes = torch.cat(scores, dim=1), torch.cat(boxes, dim=1)
        kept, rows = together.topk(min(count, together.shape[1]), dim=1)
        return all_boxes.gather(1, rows.unsqueeze(-1).expand(-1, -1, 4)), kept

    def _proposal_losses(self, predictions: RegionPredictions, targets: Targets) -> dict[str, Tensor]:
        assigned = [
            _assign(self._anchor_matcher, self.anchors, *truth)
            for truth in zip(targets.boxes, targets.labels, targets.crowd_boxes, strict=True)
        ]
        labels = torch.stack([labels for labels, _ in assigned])
        matched = torch.stack([boxes for _, boxes in assigned])
        positive, negative = map(torch.stack, self._anchor_sampler([row.clamp(max=1) for row in labels]))
        positive, negative = positive.bool(), negative.bool()
        sampled = positive | negative
        count = joined_count(sampled.sum())
        entropy = functional.binary_cross_entropy_with_logits(
            predictions.objectness[sampled], positive[sampled].to(predictions.objectness.dtype), reduction="sum"
        )
        anchors = self.anchors.expand_as(matched)[positive]
        wanted = self._anchor_coder.encode_single(matched[positive], anchors)
        distance = functional.smooth_l1_loss(
            predictions.offsets[positive], wanted, beta=SMOOTH_L1_BETA, reduction="sum"
        )
        return {"objectness": entropy / count, "proposal": distance / count}

    def _box_losses(
        self, predictions: RegionPredictions, proposals: list[Tensor], targets: Targets
    ) -> dict[str, Tensor]:
        """As the paper trains its second stage; the true boxes are proposals too."""
        regions, labels, matched = [], [], []
        for image, found in enumerate(proposals):
            boxes = torch.cat([found, targets.boxes[image]])
            of_image, true_boxes = _assign(
                self._box_matcher, boxes, targets.boxes[image], targets.labels[image], targets.crowd_boxes[image]
            )
            (positive,), (negative,) = self._box_sampler([of_image])
            sampled = positive.bool() | negative.bool()
            regions.append(functional.pad(boxes[sampled], (1, 0), value=image))
            labels.append(of_image[sampled])
            matched.append(true_boxes[sampled])
        rois, wanted_labels = torch.cat(regions), torch.cat(labels)
        features = pool_regions([predictions.pyramid[level] for level in self._levels], rois, self._strides)
        logits, offsets = (values.float() for values in self.box_predictor(self.box_head(features)))
        count = joined_count(wanted_labels.new_tensor(len(rois)))
        entropy = functional.cross_entropy(logits, wanted_labels, reduction="sum")
        positive = wanted_labels > 0
        wanted = self._box_coder.encode_single(torch.cat(matched)[positive], rois[positive, 1:])
        of_class = offsets.unflatten(1, (-1, 4))[positive, wanted_labels[positive]]
        distance = functional.smooth_l1_loss(of_class, wanted, beta=SMOOTH_L1_BETA, reduction="sum")
        return {"classification": entropy / count, "localisation": distance / count}

    def _anchors(self, sizes: Sequence[Sequence[int]]) -> list[Tensor]:
        """Each level's anchors [A, 4], by torchvision's generator at the levels' true strides."""
        generator = AnchorGenerator(tuple(map(tuple, sizes)), (ASPECT_RATIOS,) * len(sizes))
        maps = [(-(-self.height // stride), -(-self.width // stride)) for stride in self._strides]
        # The level beyond is every second value of the last.
        maps.append((-(-maps[-1][0] // 2), -(-maps[-1][1] // 2)))
        strides = [*self._strides, 2 * self._strides[-1]]
        steps = [[torch.tensor(stride), torch.tensor(stride)] for stride in strides]
        return generator.grid_anchors([list(sides) for sides in maps], steps)


def faster_rcnn(body: Body, specification: NetworkSpecification) -> FasterRCNN:
    """Faster R-CNN's head for the specification's objects and input size."""
    return FasterRCNN(
        body.channels,
        specification.height,
        specification.width,
        object_classes(specification),
        dilated=body.dilated,
    )


def _assign(
    matcher: Matcher, candidates: Tensor, boxes: Tensor, labels: Tensor, crowds: Tensor
) -> tuple[Tensor, Tensor]:
    """Per candidate its label int64 [A] (0 background, -1 neither) and the box of its object float32 [A, 4]."""
    if len(boxes):
        objects = matcher(box_iou(boxes, candidates))
        found = torch.where(objects >= 0, labels[objects.clamp(min=0)], 0)
        found[objects == Matcher.BETWEEN_THRESHOLDS] = -1
        matched = boxes[objects.clamp(min=0)]
    else:
        found = labels.new_zeros(len(candidates))
        matched = torch.zeros_like(candidates)
    found[(found == 0) & on_crowd(candidates, crowds)] = -1
    return found, matched
