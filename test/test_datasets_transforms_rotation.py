"""A rotation turns image, boxes and mask together, as torchvision's does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional
from torchvision.transforms.v2.functional import InterpolationMode

from mayhem_ros.errors import UsageError
from mayhem_train.datasets.samples import Sample
from mayhem_train.datasets.transforms.rotation import BORDER_COLOUR, rotate
from mayhem_train.datasets.transforms.transforms import EvaluationTransform, TrainTransform

HEIGHT, WIDTH = 60, 81


def sample(*boxes: tuple[float, float, float, float]) -> Sample:
    """A smooth image; box k is label k, and its whole pixels hold k in the mask."""
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    for number, (x1, y1, x2, y2) in enumerate(boxes, start=1):
        mask[int(y1) : int(y2), int(x1) : int(x2)] = number
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    image = torch.stack([rows * 4, columns * 3, 128 + 100 * torch.sin(rows / 5) * torch.cos(columns / 7)])
    return Sample(
        image=image.to(torch.uint8),
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.arange(1, len(boxes) + 1),
        crowd=torch.zeros(len(boxes), dtype=torch.bool),
        mask=mask,
        name="drive-000003.png",
        image_id=7,
        source_size=(HEIGHT, WIDTH),
    )


@pytest.mark.parametrize("degrees", [-170.0, -33.0, -4.5, 0.0, 7.0, 45.0, 93.0, 180.0])
def test_a_rotation_is_torchvisions(degrees: float) -> None:
    source = sample((30, 20, 50, 40), (36, 10, 44, 30), (20, 25, 40, 33))
    turned = rotate(source, degrees)
    image = functional.rotate(
        source.image.float(), degrees, interpolation=InterpolationMode.BILINEAR, fill=[float(c) for c in BORDER_COLOUR]
    )
    inner = torch.zeros(1, HEIGHT, WIDTH)
    inner[:, 2:-2, 2:-2] = 1
    inside = functional.rotate(inner, degrees)[0] > 0  # along the border the two blend differently
    difference = (turned.image.float() - image).abs()[:, inside]
    assert inside.float().mean() > 0.6
    assert difference.mean() < 0.5
    assert difference.max() < 2, "OpenCV places pixels to a 32nd of a pixel and rounds to whole levels"
    mask = functional.rotate(tv_tensors.Mask(source.mask), degrees, fill=255)
    assert (turned.mask != mask.as_subclass(torch.Tensor)).float().mean() < 0.01
    boxes = tv_tensors.BoundingBoxes(source.boxes, format="XYXY", canvas_size=(HEIGHT, WIDTH))
    torch.testing.assert_close(
        turned.boxes, functional.rotate(boxes, degrees).as_subclass(torch.Tensor), atol=1e-3, rtol=1e-5
    )
    assert turned.labels.tolist() == [1, 2, 3]


def test_no_turn_changes_nothing_and_a_half_turn_twice_comes_back() -> None:
    source = sample((30, 20, 50, 40))
    for turned in (rotate(source, 0.0), rotate(rotate(source, 180.0), 180.0)):
        assert torch.equal(turned.image, source.image)
        assert torch.equal(turned.mask, source.mask)
        torch.testing.assert_close(turned.boxes, source.boxes)
    half = rotate(source, 180.0)
    assert torch.equal(half.image, source.image.flip(1, 2))
    assert torch.equal(half.mask, source.mask.flip(0, 1))


def test_corners_that_come_into_view_have_the_mean_colour_and_are_unlabelled() -> None:
    turned = rotate(sample(), 45.0)
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert turned.image[:, row, column].tolist() == list(BORDER_COLOUR)
        assert turned.mask[row, column] == 255
    assert turned.mask[HEIGHT // 2, WIDTH // 2] == 0


def test_every_box_encloses_what_it_enclosed() -> None:
    source = sample((30, 20, 50, 40))
    for degrees in range(-80, 81, 10):
        turned = rotate(source, float(degrees))
        rows, columns = torch.where(turned.mask == 1)
        x1, y1, x2, y2 = turned.boxes[0].tolist()
        assert x1 - 0.51 <= columns.min() <= columns.max() + 1 <= x2 + 0.51
        assert y1 - 0.51 <= rows.min() <= rows.max() + 1 <= y2 + 0.51


def test_a_box_is_cut_at_the_image_and_left_out_where_too_little_remains() -> None:
    # By a quarter turn, 81x60 shows what lay in the middle 60 columns; 10.5 of them are lost on either side.
    source = sample((0, 20, 12, 40), (5, 20, 40, 40), (30, 20, 50, 40))
    turned = rotate(source, 90.0)
    assert turned.labels.tolist() == [2, 3]  # 1.5 of the first one's 12 columns remain
    assert turned.boxes[0].tolist() == pytest.approx([30.5, 30.5, 50.5, 60.0])


def test_a_crowd_stays_however_little_of_it_remains() -> None:
    source = sample((0, 20, 12, 40), (30, 20, 50, 40))
    turned = rotate(replace(source, crowd=torch.tensor([True, False])), 90.0)
    assert turned.labels.tolist() == [1, 2]
    assert turned.crowd.tolist() == [True, False]


def test_training_turns_by_up_to_so_many_degrees_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def noted(source: Sample, degrees: float) -> Sample:
        drawn.append(degrees)
        return rotate(source, degrees)

    monkeypatch.setattr("mayhem_train.datasets.transforms.transforms.rotate", noted)
    transform = TrainTransform((64, 96), rotation=10)
    torch.manual_seed(0)
    for _ in range(100):
        transform(sample((30, 20, 50, 40)))
    assert -10 <= min(drawn) < -8
    assert 8 < max(drawn) <= 10


def test_a_turned_training_sample_is_what_rotation_and_stretching_make_of_it() -> None:
    transform = TrainTransform((64, 96), flip=0, min_scale=1, max_scale=1, aspect=0, photometric=None, rotation=25)
    source = sample((30, 20, 50, 40))
    torch.manual_seed(3)
    result = transform(source)
    torch.manual_seed(3)
    degrees = 50 * float(torch.rand(())) - 25
    expected = EvaluationTransform((64, 96))(rotate(source, degrees))
    assert abs(degrees) > 1
    assert torch.equal(result.image, expected.image)
    assert torch.equal(result.mask, expected.mask)
    torch.testing.assert_close(result.boxes, expected.boxes)


def test_no_rotation_is_the_default_and_draws_nothing() -> None:
    source = sample((30, 20, 50, 40))
    torch.manual_seed(3)
    plain = TrainTransform((64, 96))(source)
    after = torch.rand(())
    torch.manual_seed(3)
    unturned = TrainTransform((64, 96), rotation=0.0)(source)
    assert torch.equal(plain.image, unturned.image)
    assert torch.equal(after, torch.rand(()))


@pytest.mark.parametrize("rotation", [-1.0, 181.0, float("nan")])
def test_an_impossible_rotation_is_wrong_usage(rotation: float) -> None:
    with pytest.raises(UsageError, match="rotation"):
        TrainTransform((64, 96), rotation=rotation)
