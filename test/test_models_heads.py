"""The heads: SSDLite against torchvision's SSD, LR-ASPP against hand-made values, suppression against torchvision."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.ops import batched_nms

from mayhem_train.models.features import FeatureChannels, Features
from mayhem_train.models.lraspp import LRASPP
from mayhem_train.models.overlaps import suppress_overlaps
from mayhem_train.models.segmentation import most_likely, resize_logits
from mayhem_train.models.ssdlite import BoxPredictions, SSDLite

CHANNELS = FeatureChannels(8, 8, 8)
HEIGHT, WIDTH, CLASSES = 128, 160, 3


@dataclass(frozen=True)
class Truth:
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    masks: Tensor
    crowds: tuple[Tensor, ...] = ()

    @property
    def crowd_boxes(self) -> tuple[Tensor, ...]:
        return self.crowds or tuple(torch.zeros(0, 4) for _ in self.boxes)


@pytest.fixture
def head() -> SSDLite:
    return SSDLite(CHANNELS, HEIGHT, WIDTH, CLASSES).eval()


@pytest.fixture
def truth() -> Truth:
    boxes = (
        torch.tensor([[10.0, 20, 60, 90], [80, 30, 140, 70], [100, 100, 108, 120]]),
        torch.tensor([[5.0, 5, 30, 40]]),
    )
    return Truth(boxes, (torch.tensor([1, 2, 3]), torch.tensor([2])), torch.zeros(2, HEIGHT, WIDTH, dtype=torch.uint8))


def test_ssdlite_loss_equals_torchvisions(head, truth):
    torch.manual_seed(0)
    anchors = len(head.default_boxes)
    predictions = BoxPredictions(torch.randn(2, anchors, CLASSES + 1), torch.randn(2, anchors, 4))
    oracle = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES + 1)
    matched = [oracle.proposal_matcher(oracle_iou(boxes, head.default_boxes)) for boxes in truth.boxes]
    targets = [{"boxes": b, "labels": k} for b, k in zip(truth.boxes, truth.labels, strict=True)]
    expected = oracle.compute_loss(
        targets,
        {"bbox_regression": predictions.offsets, "cls_logits": predictions.logits},
        [head.default_boxes] * 2,
        matched,
    )
    losses = head.losses(predictions, truth)
    torch.testing.assert_close(losses["localisation"], expected["bbox_regression"])
    torch.testing.assert_close(losses["classification"], expected["classification"])


def oracle_iou(boxes: Tensor, anchors: Tensor) -> Tensor:
    from torchvision.ops import box_iou

    return box_iou(boxes, anchors)


def test_perfect_predictions_are_decoded_to_the_truth(head, truth):
    logits, offsets = [], []
    for boxes, labels in zip(truth.boxes, truth.labels, strict=True):
        anchor_labels, anchor_offsets = head._match(boxes, labels)
        logits.append(20.0 * torch.nn.functional.one_hot(anchor_labels, CLASSES + 1))
        offsets.append(anchor_offsets)
    found = head.detect(BoxPredictions(torch.stack(logits), torch.stack(offsets)))
    sides = torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    assert found.counts.tolist() == [3, 1]
    for place, (boxes, labels) in enumerate(zip(truth.boxes, truth.labels, strict=True)):
        count = int(found.counts[place])
        order = found.labels[place, :count].argsort()
        assert found.labels[place, :count][order].tolist() == labels.tolist()
        torch.testing.assert_close(found.boxes[place, :count][order] * sides, boxes, rtol=0, atol=1e-3)


def test_an_image_without_objects_teaches_background_only(head):
    anchors = len(head.default_boxes)
    logits = torch.zeros(1, anchors, CLASSES + 1, requires_grad=True)
    offsets = torch.zeros(1, anchors, 4, requires_grad=True)
    empty = Truth(
        (torch.zeros(0, 4),), (torch.zeros(0, dtype=torch.int64),), torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8)
    )
    losses = head.losses(BoxPredictions(logits, offsets), empty)
    assert losses["localisation"] == 0
    torch.testing.assert_close(losses["classification"], 3 * torch.log(torch.tensor(4.0)))
    losses["classification"].backward()
    assert (logits.grad[..., 0] <= 0).all()
    assert int((logits.grad[..., 0] < 0).sum()) == 3


def test_images_without_objects_push_no_harder_than_those_with(head, truth):
    """Of four images, all with or all without objects, the loss is a mean over as many hard negatives a positive."""
    anchors = len(head.default_boxes)
    nothing = Truth((torch.zeros(0, 4),) * 4, (torch.zeros(0, dtype=torch.int64),) * 4, torch.zeros(0))
    labelled = Truth(truth.boxes * 2, truth.labels * 2, torch.zeros(0))
    mixed = Truth(truth.boxes + nothing.boxes[:2], truth.labels + nothing.labels[:2], torch.zeros(0))
    entropy = torch.log(torch.tensor(4.0))
    positives = sum(
        int((head._match(*objects)[0] > 0).sum()) for objects in zip(truth.boxes, truth.labels, strict=True)
    )
    for images, expected in (
        (nothing, 3 * entropy),
        (labelled, 4 * entropy),
        (mixed, (4 * positives + 3 * 2) / (positives + 2) * entropy),
    ):
        logits, offsets = torch.zeros(4, anchors, CLASSES + 1), torch.zeros(4, anchors, 4)
        torch.testing.assert_close(head.losses(BoxPredictions(logits, offsets), images)["classification"], expected)


def test_what_lies_on_a_crowd_is_no_background(head):
    anchors = len(head.default_boxes)
    logits = torch.zeros(1, anchors, CLASSES + 1, requires_grad=True)
    nothing, no_labels = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    masks = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8)
    left_half = torch.tensor([[0.0, 0.0, WIDTH / 2, HEIGHT]])
    truth = Truth((nothing,), (no_labels,), masks, crowds=(left_half,))
    # Every default box is equally hard, so the negatives are the first ones; on the crowd there must be none.
    losses = head.losses(BoxPredictions(logits, torch.zeros(1, anchors, 4)), truth)
    losses["classification"].backward()
    taught = head.default_boxes[logits.grad[0, :, 0] < 0]
    assert len(taught) == 3
    on_crowd = (taught[:, 2].clamp(max=WIDTH / 2) - taught[:, 0]).clamp(min=0) / (taught[:, 2] - taught[:, 0])
    assert (on_crowd < 0.5).all()
    whole = Truth(
        (nothing,), (no_labels,), masks, crowds=(torch.tensor([[-WIDTH, -HEIGHT, 2.0 * WIDTH, 2.0 * HEIGHT]]),)
    )
    assert head.losses(BoxPredictions(logits, torch.zeros(1, anchors, 4)), whole)["classification"] == 0


def test_suppression_keeps_what_torchvision_keeps():
    torch.manual_seed(1)
    corners = torch.rand(2, 60, 2)
    boxes = torch.cat([corners, corners + 0.05 + 0.3 * torch.rand(2, 60, 2)], dim=2)
    scores = torch.rand(2, 3, 60)
    kept = suppress_overlaps(boxes, scores, 0.5, 0.2, most=60)
    best = suppress_overlaps(boxes, scores, 0.5, 0.2, most=4)
    for image in range(2):
        classes, places = torch.where(scores[image] > 0.2)
        keep = batched_nms(boxes[image, places], scores[image, classes, places], classes, 0.5)
        expected = torch.zeros(3, 60)
        expected[classes[keep], places[keep]] = scores[image, classes[keep], places[keep]]
        torch.testing.assert_close(kept[image], expected, rtol=0, atol=0)
        fourth = expected.topk(5, dim=1).values[:, 3:4]
        assert (expected > 0).sum(1).min() > 4, "nothing is left out"
        torch.testing.assert_close(best[image], torch.where(expected >= fourth, expected, 0.0), rtol=0, atol=0)


def test_suppression_of_nothing_is_nothing():
    assert not suppress_overlaps(torch.rand(1, 5, 4), torch.zeros(1, 2, 5), 0.5, 0.2, most=3).any()


def test_unlabelled_pixels_teach_nothing():
    head = LRASPP(CHANNELS, outputs=2)
    logits = torch.zeros(1, 2, 2, 2, requires_grad=True)
    masks = torch.full((1, 16, 16), 255, dtype=torch.uint8)
    masks[0, :4] = 1
    loss = head.losses(logits, Truth((), (), masks))["cross_entropy"]
    torch.testing.assert_close(loss, torch.log(torch.tensor(2.0)))
    loss.backward()
    assert (logits.grad[0, 1, 0] < 0).all()
    assert (logits.grad[0, :, 1] == 0).all()


def test_a_batch_without_any_labelled_pixel_has_zero_loss():
    head = LRASPP(CHANNELS, outputs=2)
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    loss = head.losses(logits, Truth((), (), torch.full((1, 16, 16), 255, dtype=torch.uint8)))["cross_entropy"]
    assert loss == 0
    loss.backward()
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("probabilities", [[0.2, 0.7, 0.1], [0.3, 0.7], [0.7, 0.3], [0.1, 0.2, 0.3, 0.4]])
def test_the_winning_class_comes_with_its_probability(probabilities):
    mask, confidence = most_likely(torch.log(torch.tensor(probabilities)).view(1, -1, 1, 1), 2, 3)
    assert mask.tolist() == [[[probabilities.index(max(probabilities))] * 3] * 2]
    assert confidence.tolist() == [[[round(max(probabilities) * 255)] * 3] * 2]


@pytest.mark.parametrize("classes", [2, 4])
def test_the_mask_is_what_resized_logits_say(classes):
    torch.manual_seed(0)
    logits = 3 * torch.randn(2, classes, 6, 8)
    probability, winner = resize_logits(logits, 48, 64).softmax(dim=1).max(dim=1)
    mask, confidence = most_likely(logits, 48, 64)
    assert torch.equal(mask, winner.byte())
    assert (confidence.float() - 255 * probability).abs().max() <= 0.501


def test_lraspp_computes_what_torchvisions_head_computes():
    torch.manual_seed(0)
    head = LRASPP(CHANNELS, outputs=3).eval()
    features = Features(*(torch.randn(2, c, 64 // s, 96 // s) for c, s in zip(CHANNELS, (8, 16, 32), strict=True)))
    expected = head.classifier({"low": features.c3, "high": features.c5})
    torch.testing.assert_close(head(features), expected, rtol=1e-4, atol=1e-5)


def test_a_batch_is_labelled_for_boxes_unless_crowds_cover_all_of_it(head: SSDLite, truth: Truth) -> None:
    height, width = truth.masks.shape[-2:]
    nothing = (torch.zeros(0, 4),) * len(truth.boxes)
    whole = torch.tensor([[0.0, 0.0, width, height]])
    assert head.is_labelled(truth)
    assert head.is_labelled(replace(truth, boxes=nothing, crowds=nothing)), "an empty image says what is no object"
    assert head.is_labelled(replace(truth, boxes=nothing, crowds=(whole, *nothing[1:])))
    assert head.is_labelled(replace(truth, boxes=nothing, crowds=(whole / 2,) * len(nothing)))
    assert not head.is_labelled(replace(truth, boxes=nothing, crowds=(whole,) * len(nothing)))


def test_a_batch_is_labelled_for_surfaces_where_a_pixel_is(truth: Truth) -> None:
    surfaces = LRASPP(FeatureChannels(8, 8, 8), 2)
    masks = torch.full_like(truth.masks, 255)
    assert not surfaces.is_labelled(replace(truth, masks=masks))
    masks[0, 0, 0] = 0
    assert surfaces.is_labelled(replace(truth, masks=masks))
