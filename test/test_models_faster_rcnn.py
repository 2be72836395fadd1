"""Faster R-CNN: proposals, losses and detections against torchvision's own, crowds, and regions as one operator."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from test_models_networks import Truth
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers
from torchvision.ops import MultiScaleRoIAlign, box_iou

from mayhem_train.models import faster_rcnn
from mayhem_train.models.faster_rcnn import FasterRCNN, RegionPredictions
from mayhem_train.models.features import FeatureChannels, Features
from mayhem_train.models.regions import pool_boxes, pool_regions, region_levels

HEIGHT, WIDTH, CLASSES = 256, 320, 3
SIZE = (HEIGHT, WIDTH)


@pytest.fixture
def head() -> FasterRCNN:
    torch.manual_seed(0)
    head = FasterRCNN(FeatureChannels(8, 8, 8), HEIGHT, WIDTH, CLASSES).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return head


@pytest.fixture
def features() -> Features:
    torch.manual_seed(1)
    return Features(*(torch.randn(2, 8, HEIGHT // stride, WIDTH // stride) for stride in (8, 16, 32)))


@pytest.fixture
def truth() -> Truth:
    return Truth(
        boxes=(
            torch.tensor([[10.0, 20, 60, 90], [80, 30, 240, 170], [100, 100, 118, 120]]),
            torch.tensor([[5.0, 5, 30, 40]]),
        ),
        labels=(torch.tensor([1, 2, 3]), torch.tensor([2])),
        crowd_boxes=(torch.zeros(0, 4),) * 2,
        masks=torch.zeros(2, HEIGHT, WIDTH, dtype=torch.uint8),
    )


def oracle_rpn(head: FasterRCNN, candidates: int, proposals: int) -> RegionProposalNetwork:
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    ratios = (faster_rcnn.ASPECT_RATIOS,) * 4
    return RegionProposalNetwork(
        AnchorGenerator(faster_rcnn.ANCHOR_SIZES, ratios),
        head.rpn,
        *(0.7, 0.3, 10**9, 0.5),
        pre_nms_top_n={"training": candidates, "testing": candidates},
        post_nms_top_n={"training": proposals, "testing": proposals},
        nms_thresh=0.7,
    ).eval()


def oracle_boxes(head: FasterRCNN, detections: int = 100) -> RoIHeads:
    return RoIHeads(
        MultiScaleRoIAlign(["c3", "c4", "c5"], 7, 2),
        *(head.box_head, head.box_predictor),
        *(0.5, 0.5, 10**9, 0.25, None),
        *(0.01, 0.55, detections),
    ).eval()


def torchvisions_pyramid(head: FasterRCNN, features: Features) -> OrderedDict[str, Tensor]:
    return head.fpn(OrderedDict(features._asdict()))


def images() -> ImageList:
    return ImageList(torch.zeros(2, 3, HEIGHT, WIDTH), [SIZE, SIZE])


@torch.no_grad()
def test_anchors_and_proposals_equal_torchvisions(head, features):
    oracle = oracle_rpn(head, faster_rcnn.CANDIDATES, faster_rcnn.PROPOSALS)
    pyramid = torchvisions_pyramid(head, features)
    anchors = oracle.anchor_generator(images(), list(pyramid.values()))
    torch.testing.assert_close(head.anchors, anchors[0])
    expected, _ = oracle(images(), pyramid)
    found, scores = head.propose(head(features), faster_rcnn.CANDIDATES, faster_rcnn.PROPOSALS)
    for of_image, of_scores, boxes in zip(found, scores, expected, strict=True):
        assert 100 < len(boxes) == int((of_scores > 0).sum())
        torch.testing.assert_close(of_image[: len(boxes)], boxes, rtol=0, atol=1e-3)


@torch.no_grad()
def test_detections_equal_torchvisions(head, features, monkeypatch):
    # torchvision aligns regions half a pixel off unless its own operator is told otherwise.
    monkeypatch.setattr("torchvision.ops.poolers.roi_align", _aligned)
    pyramid = torchvisions_pyramid(head, features)
    proposals, _ = oracle_rpn(head, faster_rcnn.CANDIDATES, faster_rcnn.PROPOSALS)(images(), pyramid)
    del pyramid["pool"]
    expected, _ = oracle_boxes(head)(pyramid, proposals, [SIZE, SIZE])
    found = head.detect(head(features))
    sides = torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    for place, of_image in enumerate(expected):
        count = int(found.counts[place])
        assert count == len(of_image["boxes"]) > 20
        torch.testing.assert_close(found.scores[place, :count], of_image["scores"], rtol=0, atol=1e-5)
        torch.testing.assert_close(found.boxes[place, :count] * sides, of_image["boxes"], rtol=0, atol=1e-2)
        assert found.labels[place, :count].tolist() == of_image["labels"].tolist()


def test_losses_equal_torchvisions_where_nothing_is_left_to_chance(head, features, truth, monkeypatch):
    monkeypatch.setattr("torchvision.ops.poolers.roi_align", _aligned)
    for sampler in (head._anchor_sampler, head._box_sampler):
        sampler.batch_size_per_image = 10**9
    targets = [{"boxes": b, "labels": k} for b, k in zip(truth.boxes, truth.labels, strict=True)]
    pyramid = torchvisions_pyramid(head, features)
    rpn = oracle_rpn(head, faster_rcnn.TRAINING_CANDIDATES, faster_rcnn.TRAINING_PROPOSALS).train()
    proposals, expected = rpn(images(), pyramid, targets)
    del pyramid["pool"]
    _, box_losses = oracle_boxes(head).train()(pyramid, proposals, [SIZE, SIZE], targets)
    found = head.losses(head(features), truth)
    torch.testing.assert_close(found["objectness"], expected["loss_objectness"])
    torch.testing.assert_close(found["proposal"], expected["loss_rpn_box_reg"])
    torch.testing.assert_close(found["classification"], box_losses["loss_classifier"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["localisation"], box_losses["loss_box_reg"], rtol=1e-4, atol=1e-5)
    assert found["localisation"] > 0


def test_the_raw_predictions_stand_in_the_anchors_order(head, features):
    pyramid = torchvisions_pyramid(head, features)
    objectness, offsets = concat_box_prediction_layers(*head.rpn(list(pyramid.values())))
    found = head(features)
    torch.testing.assert_close(found.objectness.flatten(), objectness.flatten(), rtol=0, atol=0)
    torch.testing.assert_close(found.offsets.flatten(0, 1), offsets, rtol=0, atol=0)


def test_what_is_drawn_follows_torchs_generator(head, features, truth):
    predictions = head(features)
    runs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        runs.append(float(sum(term.detach() for term in head.losses(predictions, truth).values())))
    assert runs[0] == runs[1] != runs[2]


def test_what_lies_on_a_crowd_is_neither_object_nor_background(head, features, truth):
    nothing = Truth(
        boxes=(torch.zeros(0, 4),) * 2,
        labels=(torch.zeros(0, dtype=torch.int64),) * 2,
        crowd_boxes=(torch.tensor([[0.0, 0, WIDTH / 2, HEIGHT]]), torch.zeros(0, 4)),
        masks=truth.masks,
    )
    head._anchor_sampler.batch_size_per_image = 10**9
    objectness = torch.zeros(2, len(head.anchors), requires_grad=True)
    predictions = RegionPredictions(objectness, torch.zeros(2, len(head.anchors), 4), head(features).pyramid)
    head.losses(predictions, nothing)["objectness"].backward()
    left = head.anchors.clone()
    left[:, 2] = left[:, 2].clamp(max=WIDTH / 2)
    # Half or more of the anchor's area within the crowd's box.
    widths = (left[:, 2].clamp(max=WIDTH / 2) - left[:, 0].clamp(min=0)).clamp(min=0)
    heights = (head.anchors[:, 3].clamp(max=HEIGHT) - head.anchors[:, 1].clamp(min=0)).clamp(min=0)
    area = (head.anchors[:, 2] - head.anchors[:, 0]) * (head.anchors[:, 3] - head.anchors[:, 1])
    crowded = widths * heights >= 0.5 * area
    assert 0 < int(crowded.sum()) < len(crowded)
    assert ((objectness.grad[0] == 0) == crowded).all()
    assert (objectness.grad[1] > 0).all()


def test_a_crowd_over_the_whole_image_teaches_nothing(head, features, truth):
    everywhere = torch.tensor([[-1000.0, -1000, 2000, 2000]])
    crowded = Truth(
        boxes=(torch.zeros(0, 4),) * 2,
        labels=(torch.zeros(0, dtype=torch.int64),) * 2,
        crowd_boxes=(everywhere, everywhere),
        masks=truth.masks,
    )
    assert [float(term.detach()) for term in head.losses(head(features), crowded).values()] == [0, 0, 0, 0]


def test_an_object_on_a_crowd_is_still_an_object(head, features, truth):
    crowded = Truth(truth.boxes, truth.labels, (torch.tensor([[-1000.0, -1000, 2000, 2000]]),) * 2, truth.masks)
    losses = head.losses(head(features), crowded)
    assert losses["localisation"] > 0 and losses["proposal"] > 0


def test_regions_are_pooled_from_the_level_of_their_size():
    boxes = torch.tensor([[0.0, 0, 20, 20], [0, 0, 223, 223], [0, 0, 224, 224], [0, 0, 448, 448], [0, 0, 900, 900]])
    assert region_levels(boxes, [8, 16, 32]).tolist() == [0, 0, 1, 2, 2]


def test_pooling_equals_torchvisions_and_the_operator_is_the_same(monkeypatch):
    monkeypatch.setattr("torchvision.ops.poolers.roi_align", _aligned)
    torch.manual_seed(0)
    pyramid = OrderedDict((name, torch.randn(2, 4, 512 // stride, 640 // stride)) for name, stride in STRIDES.items())
    corners = torch.rand(2, 40, 2) * 200
    boxes = torch.cat([corners, corners + torch.rand(2, 40, 2) * 500 + 1], dim=2)
    expected = MultiScaleRoIAlign(list(STRIDES), 7, 2)(pyramid, list(boxes), [(512, 640)] * 2)
    rois = torch.cat([torch.arange(2.0).repeat_interleave(40)[:, None], boxes.flatten(0, 1)], dim=1)
    assert set(region_levels(rois[:, 1:], list(STRIDES.values())).tolist()) == {0, 1, 2}
    torch.testing.assert_close(pool_regions(list(pyramid.values()), rois, list(STRIDES.values())), expected)
    torch.testing.assert_close(pool_boxes(list(pyramid.values()), boxes, list(STRIDES.values())), expected)


STRIDES = {"c3": 8, "c4": 16, "c5": 32}


def test_it_learns_two_images_by_heart(truth, monkeypatch):
    for constant, small in (("PYRAMID_CHANNELS", 32), ("BOX_CHANNELS", 64), ("TRAINING_CANDIDATES", 100)):
        monkeypatch.setattr(faster_rcnn, constant, small)
    torch.manual_seed(0)
    head = FasterRCNN(FeatureChannels(8, 8, 8), HEIGHT, WIDTH, CLASSES)
    features = Features(*(torch.randn(2, 8, HEIGHT // stride, WIDTH // stride) for stride in (8, 16, 32)))
    optimizer = torch.optim.AdamW(head.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        torch.stack(list(head.losses(head(features), truth).values())).sum().backward()
        optimizer.step()
    with torch.no_grad():
        found = head.eval().detect(head(features))
    sides = torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    for place, (boxes, labels) in enumerate(zip(truth.boxes, truth.labels, strict=True)):
        sure = found.scores[place] > 0.5
        overlap = box_iou(boxes, found.boxes[place, sure] * sides)
        assert (overlap.amax(1) > 0.5).all()
        assert found.labels[place, sure][overlap.argmax(1)].tolist() == labels.tolist()


def _aligned(level: Tensor, rois: Tensor, output_size, spatial_scale: float, sampling_ratio: int) -> Tensor:
    from torchvision.ops import roi_align

    return roi_align(level, rois, output_size, spatial_scale, sampling_ratio, aligned=True)
