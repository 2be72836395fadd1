"""A mosaic shows four frames at once, each with its own labels in its own place."""

from __future__ import annotations

import pytest
import torch

from mayhem_ros.errors import UsageError
from mayhem_train.datasets.samples import Sample
from mayhem_train.datasets.transforms.mosaic import Mosaic
from mayhem_train.datasets.transforms.transforms import TrainTransform

SIZE = (96, 128)


def sample(number: int, crowd: bool = False) -> Sample:
    """One colour, one box, and in the mask the box's pixels; all say `number`."""
    mask = torch.zeros(48, 64, dtype=torch.uint8)
    mask[12:36, 16:48] = number
    return Sample(
        image=torch.full((3, 48, 64), 50 * number, dtype=torch.uint8),
        boxes=torch.tensor([[16.0, 12.0, 48.0, 36.0]]),
        labels=torch.tensor([number]),
        crowd=torch.tensor([crowd]),
        mask=mask,
        name=f"drive-{number:06d}.png",
        image_id=number,
        source_size=(48, 64),
    )


def still(share: float = 1.0) -> Mosaic:
    """A mosaic of frames that are stretched to their places and nothing else."""
    return Mosaic(TrainTransform(SIZE, flip=0, min_scale=1, max_scale=1, aspect=0, photometric=None), share)


def test_four_frames_meet_in_a_point_each_stretched_to_its_place() -> None:
    torch.manual_seed(1)
    result = still()([sample(number) for number in (1, 2, 3, 4)])
    row = int((result.image[0, :, 0] == 50).sum())
    column = int((result.image[0, 0] == 50).sum())
    assert 24 <= row <= 72
    assert 32 <= column <= 96
    places = {1: (0, 0, row, column), 2: (0, column, row, 128), 3: (row, 0, 96, column), 4: (row, column, 96, 128)}
    for (number, (top, left, bottom, right)), box in zip(places.items(), result.boxes, strict=True):
        assert (result.image[:, top:bottom, left:right] == 50 * number).all()
        height, width = bottom - top, right - left
        expected = [left + width / 4, top + height / 4, left + width * 3 / 4, top + height * 3 / 4]
        assert box.tolist() == pytest.approx(expected, abs=1e-4)
        rows, columns = torch.where(result.mask == number)
        drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert [float(v) for v in drawn] == pytest.approx(expected, abs=1)
    assert result.labels.tolist() == [1, 2, 3, 4]
    assert (result.image.dtype, result.image.shape, result.mask.shape) == (torch.uint8, (3, *SIZE), SIZE)
    assert (result.name, result.image_id) == ("drive-000001.png", 1)


def test_crowds_stay_crowds() -> None:
    result = still()([sample(1), sample(2, crowd=True), sample(3), sample(4)])
    assert result.crowd.tolist() == [False, True, False, False]


def test_the_point_moves() -> None:
    torch.manual_seed(0)
    columns = [int((still()([sample(n) for n in (1, 2, 3, 4)]).image[0, 0] == 50).sum()) for _ in range(100)]
    assert 32 <= min(columns) < 40
    assert 88 < max(columns) <= 96


def test_so_large_a_share_of_samples_are_mosaics_of_frames_from_the_whole_dataset() -> None:
    torch.manual_seed(0)
    chosen = [still(0.3).positions(7, 50) for _ in range(1000)]
    mosaics = [positions for positions in chosen if len(positions) == 4]
    assert all(positions[0] == 7 for positions in chosen)
    assert 250 < len(mosaics) < 350
    assert {position for _, *others in mosaics for position in others} == set(range(50))
    assert {len(positions) for positions in chosen} == {1, 4}


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_an_impossible_share_is_wrong_usage(share: float) -> None:
    with pytest.raises(UsageError, match="mosaic"):
        still(share)
