"""Image, boxes and mask are transformed together, and evaluation sees what the robot sees."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mayhem_ros.errors import UsageError
from mayhem_train.datasets.samples import Sample, collate
from mayhem_train.datasets.transforms.photometric import Photometric, vary_colours
from mayhem_train.datasets.transforms.transforms import (
    EvaluationTransform,
    TrainTransform,
    crop,
    to_uint8,
)

SIZE = (96, 128)


def sample(*boxes: tuple[float, float, float, float], height: int = 48, width: int = 64) -> Sample:
    """A random image; box k is label k, and its whole pixels hold k in the mask."""
    generator = torch.Generator().manual_seed(5)
    mask = torch.zeros(height, width, dtype=torch.uint8)
    for number, (x1, y1, x2, y2) in enumerate(boxes, start=1):
        mask[int(y1) : int(y2), int(x1) : int(x2)] = number
    return Sample(
        image=torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator),
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.arange(1, len(boxes) + 1),
        crowd=torch.zeros(len(boxes), dtype=torch.bool),
        mask=mask,
        name="drive-000003.png",
        image_id=7,
        source_size=(height, width),
    )


def plain(**options: float) -> TrainTransform:
    """A training transform with nothing random but what `options` say."""
    fixed = {"flip": 0.0, "min_scale": 1.0, "max_scale": 1.0, "aspect": 0.0} | options
    return TrainTransform(SIZE, photometric=None, **fixed)  # type: ignore[arg-type]


def box_of(mask: Tensor, number: int) -> list[float]:
    """The box around the pixels of a mask that hold `number`."""
    rows, columns = torch.where(mask == number)
    return [float(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


def test_evaluation_samples_the_image_as_the_exported_graph_does() -> None:
    source = sample((10, 20, 30, 40))
    result = EvaluationTransform((37, 53))(source)
    graph = interpolate(source.image[None].float(), size=(37, 53), mode="bilinear", align_corners=False)[0]
    assert torch.equal(result.image, graph.round().to(torch.uint8))
    mask = interpolate(source.mask[None, None].float(), size=(37, 53), mode="nearest-exact")[0, 0]
    assert torch.equal(result.mask, mask.to(torch.uint8))


def test_evaluation_at_the_source_size_changes_nothing() -> None:
    source = sample((10, 20, 30, 40))
    result = EvaluationTransform((48, 64))(source)
    assert torch.equal(result.image, source.image)
    assert torch.equal(result.mask, source.mask)
    assert torch.equal(result.boxes, source.boxes)


def test_evaluation_stretches_boxes_and_keeps_what_names_the_frame() -> None:
    result = EvaluationTransform((96, 192))(sample((10, 20, 30, 40), (0, 0, 64, 48)))
    assert result.boxes.tolist() == [[30, 40, 90, 80], [0, 0, 192, 96]]
    assert result.labels.tolist() == [1, 2]
    assert (result.name, result.image_id, result.source_size) == ("drive-000003.png", 7, (48, 64))


def test_a_flip_mirrors_image_boxes_and_mask() -> None:
    source = sample((10, 20, 30, 40))
    result, upright = plain(flip=1.0)(source), EvaluationTransform(SIZE)(source)
    assert result.boxes.tolist() == [[68, 40, 108, 80]]
    assert torch.equal(result.image, upright.image.flip(-1))
    assert torch.equal(result.mask, upright.mask.flip(-1))


def test_training_without_variation_is_evaluation() -> None:
    source = sample((10, 20, 30, 40))
    result, expected = plain()(source), EvaluationTransform(SIZE)(source)
    assert torch.equal(result.image, expected.image)
    assert torch.equal(result.mask, expected.mask)
    assert torch.equal(result.boxes, expected.boxes)


def test_a_crop_moves_scales_and_cuts_boxes() -> None:
    # The window shows columns 16 to 48 and rows 12 to 36, four times enlarged.
    source = sample((20, 20, 30, 30), (10, 14, 30, 22))
    view = crop(source, (16, 12, 32, 24), SIZE)
    assert view.boxes.tolist() == [[16, 32, 56, 72], [0, 8, 56, 40]]
    assert view.labels.tolist() == [1, 2]
    seen = interpolate(source.image[None, :, 12:36, 16:48].float(), size=SIZE, mode="bilinear")[0]
    assert torch.equal(view.image, seen)
    assert torch.equal(view.mask, source.mask[12:36, 16:48].repeat_interleave(4, 0).repeat_interleave(4, 1))


def test_a_window_beyond_the_image_shows_mean_colour_and_unlabelled_pixels_there() -> None:
    source = sample((0, 0, 64, 48))
    view = crop(source, (-32, -24, 128, 96), SIZE)
    assert view.boxes.tolist() == [[32, 24, 96, 72]]
    assert view.labels.tolist() == [1]
    inside = torch.zeros(SIZE, dtype=torch.bool)
    inside[24:72, 32:96] = True
    assert torch.equal(view.image[:, inside].reshape(3, 48, 64), source.image.float())
    assert (view.image[:, ~inside] == torch.tensor([124.0, 116.0, 104.0])[:, None]).all()
    assert (view.mask == 255).logical_not().equal(inside)


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((0, 20, 23, 30), True),  # 7 of 23 columns, 30.4 %, remain
        ((0, 20, 22, 30), False),  # 6 of 22 columns, 27 %
        ((40, 20, 60, 30), True),
        ((50, 20, 60, 30), False),
        ((20.0, 20.0, 20.49, 30.0), False),  # 1.96 pixels wide in the result
        ((20.0, 20.0, 20.51, 30.0), True),
        ((20.0, 20.0, 20.0, 30.0), False),
    ],
)
def test_boxes_of_which_too_little_remains_are_left_out(box: tuple[float, float, float, float], kept: bool) -> None:
    view = crop(sample((18, 14, 30, 20), box), (16, 12, 32, 24), SIZE)
    assert view.labels.tolist() == ([1, 2] if kept else [1])
    assert len(view.boxes) == len(view.crowd) == len(view.labels)


def test_the_mask_follows_the_boxes_through_every_random_window_and_flip() -> None:
    transform = TrainTransform(SIZE, min_scale=0.5, max_scale=2.5, aspect=0.3)
    torch.manual_seed(0)
    compared = 0
    for _ in range(60):
        result = transform(sample((8, 8, 24, 30), (34, 10, 56, 40)))
        assert result.image.shape == (3, *SIZE)
        assert result.mask.shape == SIZE
        for box, label in zip(result.boxes, result.labels.tolist(), strict=True):
            assert (box - torch.tensor(box_of(result.mask, label))).abs().max() <= 1
            compared += 1
    assert compared > 60


def test_zoom_and_place_cover_their_ranges() -> None:
    transform = TrainTransform(SIZE, min_scale=0.5, max_scale=2.0, aspect=0.0)
    torch.manual_seed(0)
    windows = [transform._window((480, 640)) for _ in range(500)]
    widths = [width for _, _, width, _ in windows]
    assert 320 <= min(widths) < 340
    assert 1220 < max(widths) <= 1280
    for left, top, width, height in windows:
        assert abs(width * 480 - height * 640) <= 640
        assert min(0, 640 - width) <= left <= max(0, 640 - width)
        assert min(0, 480 - height) <= top <= max(0, 480 - height)


def test_an_image_without_boxes_stays_one() -> None:
    result = TrainTransform(SIZE)(sample())
    assert result.boxes.shape == (0, 4)
    assert result.labels.shape == (0,)
    assert EvaluationTransform(SIZE)(sample()).boxes.shape == (0, 4)


def test_one_seed_gives_one_variation_and_another_another() -> None:
    transform, source = TrainTransform(SIZE), sample((8, 8, 24, 30))
    torch.manual_seed(4)
    first = transform(source)
    torch.manual_seed(4)
    again = transform(source)
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.boxes, again.boxes)
    assert not torch.equal(first.image, transform(source).image)


def still(**options: float) -> Photometric:
    none = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "grey": 0.0, "motion_blur": 0.0}
    return Photometric(**(none | options))  # type: ignore[arg-type]


def test_no_photometric_range_leaves_the_colours_alone() -> None:
    image = sample().image
    assert torch.equal(to_uint8(vary_colours(image.float(), still())), image)


def test_brightness_multiplies_all_channels_by_one_factor() -> None:
    image = sample().image.float()
    torch.manual_seed(1)
    varied = vary_colours(image, still(brightness=0.5))
    factor = varied.sum() / image.sum()
    assert 0.5 <= factor <= 1.5
    torch.testing.assert_close(varied, image * factor)


def test_contrast_keeps_the_mean_brightness_and_scales_the_distance_from_it() -> None:
    image = sample().image.float()
    luma = torch.tensor([0.299, 0.587, 0.114])
    mean = (luma[:, None, None] * image).sum(0).mean()
    torch.manual_seed(1)
    varied = vary_colours(image, still(contrast=0.5))
    factor = (varied - mean).norm() / (image - mean).norm()
    assert abs(factor - 1) > 0.05
    torch.testing.assert_close(varied, mean + factor * (image - mean), rtol=1e-4, atol=1e-2)


def test_grey_images_have_three_equal_channels_of_the_same_brightness() -> None:
    image = sample().image.float()
    varied = vary_colours(image, still(grey=1.0))
    luma = (torch.tensor([0.299, 0.587, 0.114])[:, None, None] * image).sum(0)
    torch.testing.assert_close(varied, luma.expand(3, -1, -1), rtol=1e-4, atol=1e-2)


def test_hue_keeps_greys_and_the_sum_of_the_channels() -> None:
    image = sample().image.float()
    torch.manual_seed(1)
    varied = vary_colours(image, still(hue=0.2))
    torch.testing.assert_close(varied.sum(0), image.sum(0), rtol=1e-4, atol=1e-2)
    assert (varied - image).abs().max() > 10
    grey = torch.full((3, 8, 8), 90.0)
    torch.testing.assert_close(vary_colours(grey, still(hue=0.2)), grey, rtol=1e-4, atol=1e-2)


def test_motion_blur_spreads_a_point_along_one_line_and_keeps_flat_images() -> None:
    point = torch.zeros(3, 21, 21)
    point[:, 10, 10] = 255
    torch.manual_seed(0)
    directions = set()
    for _ in range(20):
        varied = vary_colours(point, still(motion_blur=1.0))
        rows, columns = torch.where(varied[0] > 1e-3)
        assert len(set(rows.tolist())) == 1 or len(set(columns.tolist())) == 1
        assert 3 <= len(rows) <= 9
        assert varied.sum().item() == pytest.approx(3 * 255, rel=1e-4)
        directions.add(len(set(rows.tolist())) == 1)
    assert directions == {True, False}
    flat = torch.full((3, 30, 30), 77.0)
    torch.testing.assert_close(vary_colours(flat, still(motion_blur=1.0)), flat)


@pytest.mark.parametrize(
    "options",
    [{"flip": 1.5}, {"min_scale": 0.0}, {"min_scale": 2.0, "max_scale": 1.0}, {"max_scale": 50.0}, {"aspect": -1.0}],
)
def test_impossible_options_are_wrong_usage(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        TrainTransform(SIZE, **options)  # type: ignore[arg-type]


def test_impossible_colours_and_sizes_are_wrong_usage() -> None:
    with pytest.raises(UsageError, match="hue"):
        Photometric(hue=0.7)
    for size in ((0, 100), (100,), (96, 128, 3)):
        with pytest.raises(UsageError, match="size"):
            EvaluationTransform(size)


def test_collating_stacks_images_and_keeps_boxes_apart() -> None:
    evaluation = EvaluationTransform(SIZE)
    samples = [evaluation(sample((8, 8, 24, 30), (34, 10, 56, 40))), evaluation(sample())]
    batch = collate(samples)
    assert len(batch) == 2
    assert torch.equal(batch.images, torch.stack([s.image for s in samples]))
    assert torch.equal(batch.masks, torch.stack([s.mask for s in samples]))
    assert [boxes.shape for boxes in batch.boxes] == [(2, 4), (0, 4)]
    assert [labels.tolist() for labels in batch.labels] == [[1, 2], []]
    assert batch.names == ("drive-000003.png",) * 2
    assert (batch.image_ids, batch.source_sizes) == ((7, 7), ((48, 64), (48, 64)))


def test_a_batch_survives_pickling() -> None:
    evaluation = EvaluationTransform(SIZE)
    batch = collate([evaluation(sample((8, 8, 24, 30), (34, 10, 56, 40))), evaluation(sample())])
    copied = pickle.loads(pickle.dumps(batch))
    assert torch.equal(copied.images, batch.images)
    assert torch.equal(copied.masks, batch.masks)
    assert [boxes.tolist() for boxes in copied.boxes] == [boxes.tolist() for boxes in batch.boxes]
    assert [labels.dtype for labels in copied.labels] == [torch.int64] * 2
    assert copied.crowd_boxes[1].shape == (0, 4)
    assert (copied.names, copied.source_sizes) == (batch.names, batch.source_sizes)


def test_a_batch_moves_to_a_device_as_a_whole() -> None:
    batch = collate([EvaluationTransform(SIZE)(sample((8, 8, 24, 30)))]).to("meta")
    tensors = (batch.images, batch.masks, *batch.boxes, *batch.labels)
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert batch.names == ("drive-000003.png",)
