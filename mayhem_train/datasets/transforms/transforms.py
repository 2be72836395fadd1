"""From a sample of any size to one of the network's size: plainly for evaluation, varied for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mayhem_ros.errors import UsageError
from mayhem_train.datasets.index import UNLABELLED
from mayhem_train.datasets.samples import Sample
from mayhem_train.datasets.transforms.box_clipping import clip_boxes
from mayhem_train.datasets.transforms.photometric import Photometric, vary_colours
from mayhem_train.datasets.transforms.ranges import check_range, log_uniform, uniform
from mayhem_train.datasets.transforms.rotation import BORDER_COLOUR, rotate
from mayhem_train.datasets.transforms.torchvision_transforms import apply_transforms


class EvaluationTransform:
    """Stretches a sample to the network's size, exactly as the exported graph does on the robot.

    Bilinear, half-pixel centres, no antialiasing; since samples are uint8, the result is rounded to the nearest level
    (ties to even), which the graph, being float, does not do. Masks take the nearest pixel by the same centres.
    """

    def __init__(self, size: Sequence[int]) -> None:
        self.size = network_size(size)

    def __call__(self, sample: Sample) -> Sample:
        """The sample at the network's size."""
        height, width = sample.mask.shape
        scale = torch.tensor([self.size[1] / width, self.size[0] / height]).repeat(2)
        return replace(
            sample,
            image=to_uint8(resize_image(sample.image, self.size)),
            boxes=sample.boxes * scale,
            mask=resize_mask(sample.mask, self.size),
            source_mask=sample.mask,
        )


class TrainTransform:
    """Varies a sample: a window of it, larger or smaller than the image, is stretched to the network's size.

    Args:
        size: (height, width) of the network's input, pixels.
        flip: share of samples mirrored left to right.
        min_scale: smallest zoom; below 1 the window is larger than the image, and beyond the border lies the mean
            colour, unlabelled.
        max_scale: largest zoom; 2 shows half the image's width and height.
        aspect: the window's sides differ by a factor from 1 / (1 + a) to 1 + a from the image's.
        photometric: how far colours are varied; None leaves them alone.
        rotation: largest turn about the image's centre, degrees, either way; see `rotate`.
        transforms: torchvision transforms (v2) applied last, at the network's size.

    Boxes are cut at the window and left out where less than 30 % of their area or less than 2 pixels of a side remain.
    Everything random comes from torch's CPU generator.
    """

    def __init__(
        self,
        size: Sequence[int],
        flip: float = 0.5,
        min_scale: float = 0.8,
        max_scale: float = 2.0,
        aspect: float = 0.1,
        photometric: Photometric | None = Photometric(),  # noqa: B008 (it is frozen)
        rotation: float = 0.0,
        transforms: Sequence[nn.Module] = (),
    ) -> None:
        self.size = network_size(size)
        self.flip = check_range("flip", flip, 0, 1)
        self.min_scale = check_range("min_scale", min_scale, 0.1, max_scale)
        self.max_scale = check_range("max_scale", max_scale, min_scale, 10)
        self.aspect = check_range("aspect", aspect, 0, 1)
        self.photometric = photometric
        self.rotation = check_range("rotation", rotation, 0, 180)
        self.transforms = tuple(transforms)

    def __call__(self, sample: Sample) -> Sample:
        """A variation of the sample at the network's size."""
        return self.vary(self.show(sample, self.size))

    def show(self, sample: Sample, size: tuple[int, int]) -> Sample:
        """A view of the sample, turned, cut and mirrored, at `size`; its image is float32 and not rounded to levels."""
        if self.rotation:
            sample = rotate(sample, uniform(-self.rotation, self.rotation))
        view = crop(sample, self._window(sample.mask.shape), size)
        return mirror(view) if torch.rand(()) < self.flip else view

    def vary(self, view: Sample) -> Sample:
        """A view at the network's size with varied colours, rounded to uint8, after all further transforms."""
        image = view.image if self.photometric is None else vary_colours(view.image, self.photometric)
        varied = replace(view, image=to_uint8(image))
        return apply_transforms(varied, self.transforms) if self.transforms else varied

    def _window(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """(left, top, width, height) in whole source pixels: zoom uniform in its logarithm, place uniform."""
        height, width = shape
        zoom = log_uniform(self.min_scale, self.max_scale)
        stretch = log_uniform(1 / (1 + self.aspect), 1 + self.aspect) ** 0.5
        columns = max(1, round(width / zoom * stretch))
        rows = max(1, round(height / zoom / stretch))
        # Smaller than the image the window lies within it; larger, the image lies within the window.
        left = round(uniform(0, width - columns))
        top = round(uniform(0, height - rows))
        return left, top, columns, rows


def network_size(size: Sequence[int]) -> tuple[int, int]:
    """(height, width) of a network's input, checked."""
    if len(size) != 2 or min(size) < 32:
        raise UsageError(f"The network's size is {list(size)}: give [height, width] of at least 32 pixels each.")
    return int(size[0]), int(size[1])


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 [3, H, W] to float32 [3, *size], levels 0 to 255 not rounded: the sampling of the exported graph."""
    return interpolate(image[None].float(), size=size, mode="bilinear", align_corners=False, antialias=False)[0]


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 [H, W] to uint8 [*size] by the nearest pixel, half-pixel centres."""
    return interpolate(mask[None, None], size=size, mode="nearest-exact")[0, 0]


def to_uint8(image: Tensor) -> Tensor:
    """Rounds float levels to the nearest of 0 to 255, ties to even."""
    return image.round().clamp_(0, 255).to(torch.uint8)


def crop(sample: Sample, window: tuple[int, int, int, int], size: tuple[int, int]) -> Sample:
    """The window (left, top, width, height; whole source pixels, may leave the image) of a sample, stretched to `size`.

    Its image is float32 [3, *size], levels 0 to 255 not rounded.
    """
    left, top, columns, rows = window
    image, mask = _cut(sample.image, sample.mask, window)
    offset = torch.tensor([left, top], dtype=torch.float32).repeat(2)
    scale = torch.tensor([size[1] / columns, size[0] / rows]).repeat(2)
    view = replace(
        sample, image=resize_image(image, size), mask=resize_mask(mask, size), boxes=(sample.boxes - offset) * scale
    )
    return clip_boxes(view, size)


def mirror(sample: Sample) -> Sample:
    """The sample mirrored left to right."""
    left, top, right, bottom = sample.boxes.unbind(1)
    width = sample.mask.shape[1]
    boxes = torch.stack([width - right, top, width - left, bottom], 1)
    return replace(sample, image=sample.image.flip(-1), mask=sample.mask.flip(-1), boxes=boxes)


def _cut(image: Tensor, mask: Tensor, window: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    left, top, columns, rows = window
    height, width = mask.shape
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + columns, width), min(top + rows, height)
    seen, seen_mask = image[:, y1:y2, x1:x2], mask[y1:y2, x1:x2]
    if (y2 - y1, x2 - x1) == (rows, columns):
        return seen, seen_mask
    canvas = torch.tensor(BORDER_COLOUR, dtype=torch.uint8)[:, None, None].repeat(1, rows, columns)
    canvas_mask = torch.full((rows, columns), UNLABELLED, dtype=torch.uint8)
    canvas[:, y1 - top : y2 - top, x1 - left : x2 - left] = seen
    canvas_mask[y1 - top : y2 - top, x1 - left : x2 - left] = seen_mask
    return canvas, canvas_mask
