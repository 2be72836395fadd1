"""Transforms of torchvision work on image, boxes and mask together, and lose no label on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from mayhem_ros.errors import UsageError
from mayhem_train.datasets.dataset import seeded
from mayhem_train.datasets.samples import Sample
from mayhem_train.datasets.transforms.torchvision_transforms import apply_transforms
from mayhem_train.datasets.transforms.transforms import TrainTransform

HEIGHT, WIDTH = 48, 64


def sample(*boxes: tuple[float, float, float, float]) -> Sample:
    """A random image; box k is label k, and its whole pixels hold k in the mask; the last row is unlabelled."""
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    for number, (x1, y1, x2, y2) in enumerate(boxes, start=1):
        mask[int(y1) : int(y2), int(x1) : int(x2)] = number
    mask[-1] = 255
    generator = torch.Generator().manual_seed(5)
    return Sample(
        image=torch.randint(0, 256, (3, HEIGHT, WIDTH), dtype=torch.uint8, generator=generator),
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.arange(1, len(boxes) + 1),
        crowd=torch.zeros(len(boxes), dtype=torch.bool),
        mask=mask,
        name="drive-000003.png",
        image_id=7,
        source_size=(HEIGHT, WIDTH),
    )


def test_a_flip_turns_image_boxes_and_mask_over() -> None:
    source = sample((10, 20, 30, 40))
    result = apply_transforms(source, [v2.RandomVerticalFlip(p=1.0)])
    assert torch.equal(result.image, source.image.flip(1))
    assert torch.equal(result.mask, source.mask.flip(0))
    assert result.boxes.tolist() == [[10, 8, 30, 28]]
    assert type(result.image) is type(result.boxes) is type(result.mask) is torch.Tensor


def test_transforms_are_applied_in_their_order() -> None:
    source = sample((0, 0, 10, 10))
    moved = apply_transforms(source, [v2.RandomHorizontalFlip(1.0), v2.RandomVerticalFlip(1.0)])
    assert moved.boxes.tolist() == [[54, 38, 64, 48]]
    assert torch.equal(apply_transforms(source, []).image, source.image)


def test_what_comes_into_view_is_unlabelled_and_classes_keep_their_numbers() -> None:
    source = sample((10, 20, 30, 40))
    shifted = v2.RandomAffine(degrees=0, translate=(0.5, 0.0))
    torch.manual_seed(0)
    result = apply_transforms(source, [shifted])
    torch.manual_seed(0)
    moved = shifted(tv_tensors.Image(source.image))
    revealed = (moved == 0).all(0)
    assert revealed.sum() > HEIGHT
    assert (result.mask[revealed] == 255).all()
    assert set(result.mask[~revealed].unique().tolist()) == {0, 1, 255}


COLOUR = [124, 116, 104]


@pytest.mark.parametrize("fill", [0, 1, 2, 3, 114, 255, COLOUR])
@pytest.mark.parametrize(
    "reveal",
    [
        lambda fill: v2.RandomRotation((45, 45), fill=fill),
        lambda fill: v2.Compose([v2.Pad(16, fill=fill), v2.Resize((HEIGHT, WIDTH), v2.InterpolationMode.NEAREST)]),
        lambda fill: v2.RandomApply([v2.RandomPerspective(p=1.0, fill=fill)], p=1.0),
        lambda fill: v2.RandomChoice([nn.Sequential(v2.RandomAffine((45, 45), fill=fill))]),
    ],
    ids=["rotation", "padding", "perspective", "affine"],
)
def test_a_colour_to_fill_with_never_becomes_a_class(
    reveal: Callable[[int | list[int]], nn.Module], fill: int | list[int]
) -> None:
    source = sample((4, 4, 30, 40), (34, 4, 60, 40))
    source.image[:] = 200
    with seeded(1):
        result = apply_transforms(source, [reveal(fill)])
    colour = torch.tensor(fill if isinstance(fill, list) else [fill] * 3, dtype=torch.uint8)
    assert result.image[:, 0, 0].tolist() == colour.tolist()
    revealed = (result.image == colour[:, None, None]).all(0)
    assert revealed.sum() > HEIGHT
    assert (result.mask[revealed] == 255).all()
    assert set(result.mask.unique().tolist()) == {0, 1, 2, 255}


class FillsAnything(nn.Module):
    """A home-made transform that writes a number of its own over a corner of the mask."""

    def forward(self, fields: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        mask = fields["mask"].clone()
        mask[:8, :8] = 200
        return {**fields, "mask": tv_tensors.Mask(mask)}


def test_what_a_home_made_transform_makes_up_is_no_class() -> None:
    result = apply_transforms(sample((10, 20, 30, 40)), [FillsAnything()])
    assert (result.mask[:8, :8] == 255).all()


def test_boxes_that_leave_the_image_or_shrink_to_nothing_go_with_their_labels() -> None:
    source = sample((0, 20, 8, 40), (20, 10, 21, 30), (30, 10, 50, 30), (50, 10, 60, 30))
    source = replace(source, crowd=torch.tensor([False, False, False, True]))
    cut = v2.Compose([v2.CenterCrop((48, 40)), v2.Pad((12, 0))])  # the outer 12 columns on either side are lost
    result = apply_transforms(source, [cut])
    assert result.labels.tolist() == [3, 4]
    assert result.boxes.tolist() == [[30, 10, 50, 30], [50, 10, 52, 30]]
    assert result.crowd.tolist() == [False, True]


def test_torchvisions_own_sanitising_and_cropping_keep_labels_and_crowds_in_step() -> None:
    boxes = [(float(x), float(y), x + 9.0, y + 9.0) for x in range(2, 50, 12) for y in range(2, 36, 11)]
    source = sample(*boxes)
    source = replace(source, crowd=source.labels % 3 == 0)
    transforms = [v2.RandomIoUCrop(), v2.SanitizeBoundingBoxes(), v2.Resize((HEIGHT, WIDTH))]
    fewer = 0
    for seed in range(20):
        with seeded(seed):
            result = apply_transforms(source, [v2.Compose(transforms)])
        assert len(result.boxes) == len(result.labels) == len(result.crowd)
        assert torch.equal(result.crowd, result.labels % 3 == 0)
        for box, label in zip(result.boxes, result.labels.tolist(), strict=True):
            x, y = ((box[:2] + box[2:]) / 2).int().tolist()
            assert result.mask[y, x] == label
        fewer += len(result.boxes) < len(boxes)
    assert fewer > 5


def test_an_image_without_boxes_stays_one() -> None:
    result = apply_transforms(sample(), [v2.RandomHorizontalFlip(1.0), v2.RandomRotation(20)])
    assert (result.boxes.shape, result.labels.shape, result.crowd.shape) == ((0, 4), (0,), (0,))
    assert result.labels.dtype == torch.int64
    assert result.crowd.dtype == torch.bool


def test_boxes_come_back_as_corners() -> None:
    result = apply_transforms(sample((10, 20, 30, 40)), [v2.ConvertBoundingBoxFormat("CXCYWH")])
    assert result.boxes.tolist() == [[10, 20, 30, 40]]


class Numpys(nn.Module):
    """Adds noise drawn from NumPy's global generator, as many a home-made transform does."""

    def forward(self, fields: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        noise = torch.from_numpy(np.random.randint(0, 99, fields["image"].shape, np.uint8))  # noqa: NPY002
        return {**fields, "image": fields["image"] // 2 + noise}


@pytest.mark.parametrize(
    "transform",
    [
        v2.ColorJitter(0.5, 0.5, 0.5, 0.2),
        v2.RandomPhotometricDistort(p=1.0),
        v2.RandomPerspective(p=1.0),
        v2.ElasticTransform(),
        v2.RandomZoomOut(p=0.0),
        v2.GaussianBlur(5),
        v2.RandomAffine(20, (0.2, 0.2), (0.7, 1.4), 5),
        v2.RandomApply([v2.RandomInvert(1.0)], p=0.5),
        v2.RandomChoice([v2.RandomInvert(1.0), v2.RandomSolarize(100, 1.0), v2.RandomHorizontalFlip(1.0)]),
        v2.RandomErasing(p=1.0),
        v2.JPEG((20, 90)),
        Numpys(),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_whatever_they_draw_follows_from_the_samples_seed(transform: nn.Module) -> None:
    training = TrainTransform((HEIGHT, WIDTH), transforms=[transform])
    results = []
    for seed in (3, 3, 4):
        torch.rand(seed)  # whatever was drawn before
        np.random.rand(seed)  # noqa: NPY002
        with seeded(seed):
            results.append(training(sample((10, 20, 30, 40))))
    first, again, other = results
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.mask, again.mask)
    assert torch.equal(first.boxes, again.boxes)
    assert not torch.equal(first.image, other.image)


@pytest.mark.parametrize(
    ("transform", "sentence"),
    [
        (v2.Resize((20, 30)), "Resize makes a 30x20 image.* of a 64x48"),
        (v2.ToDtype(torch.float32), r"ToDtype makes a 64x48 image of 3 channels \(float32\)"),
        (v2.Grayscale(), "Grayscale makes a 64x48 image of 1 channels"),
        (nn.Conv2d(3, 3, 1), r"Conv2d fails on frame drive-000003\.png"),
        (
            v2.TrivialAugmentWide(),
            r"TrivialAugmentWide fails on frame .* \(Inputs of type BoundingBoxes",
        ),
        (v2.Lambda(lambda fields: None), "Lambda is no transform"),
        (v2.ToPureTensor(), "ToPureTensor is no transform"),
        (nn.Identity(), ""),
    ],
)
def test_a_transform_that_cannot_be_used_is_named(transform: nn.Module, sentence: str) -> None:
    if not sentence:
        assert apply_transforms(sample(), [transform]).boxes.shape == (0, 4)
        return
    with pytest.raises(UsageError, match=f"data.transforms: {sentence}"):
        apply_transforms(sample((10, 20, 30, 40)), [transform])
