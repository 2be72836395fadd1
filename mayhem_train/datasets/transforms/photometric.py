"""Colour variations for training: brightness, contrast, saturation, hue, grey and motion blur."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mayhem_train.datasets.transforms.ranges import check_range, uniform

# ITU-R BT.601: the brightness of a colour.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Photometric:
    """How far colours are varied; 0 leaves them alone.

    Attributes:
        brightness: factor on all channels, from 1 - b to 1 + b.
        contrast: factor on the distance from the image's mean brightness, likewise.
        saturation: factor on the distance from grey, likewise.
        hue: rotation about the grey axis, as a share of a full turn, from -h to h.
        grey: share of images that lose all colour.
        motion_blur: share of images blurred along a row or a column.
        blur_length: longest blur, in pixels of the network's input.
    """

    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.03
    grey: float = 0.05
    motion_blur: float = 0.1
    blur_length: int = 9

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation", "grey", "motion_blur"):
            check_range(f"photometric {name}", getattr(self, name), 0, 1)
        check_range("photometric hue", self.hue, 0, 0.5)
        check_range("photometric blur_length", self.blur_length, 1, 101)


def vary_colours(image: Tensor, photometric: Photometric) -> Tensor:
    """Brightness, contrast, saturation, hue and grey at once, since each is affine in RGB: one matrix, one offset.

    The hue turns about the grey axis of RGB rather than in HSV, which keeps the sum of the channels and makes the whole
    many times faster than torchvision's ColorJitter. image: float32 [3, H, W], levels 0 to 255.
    """
    brightness = _around_one(photometric.brightness)
    contrast = _around_one(photometric.contrast)
    saturation = 0.0 if torch.rand(()) < photometric.grey else _around_one(photometric.saturation)
    angle = torch.tensor(uniform(-photometric.hue, photometric.hue) * 2 * torch.pi)
    luma = torch.tensor(_LUMA).expand(3, 3)
    matrix = (saturation * torch.eye(3) + (1 - saturation) * luma) @ _hue_rotation(angle) * brightness
    mean_brightness = torch.tensor(_LUMA) @ matrix @ image.mean((1, 2))
    varied = torch.addmm((1 - contrast) * mean_brightness.expand(3, 1), contrast * matrix, image.reshape(3, -1))
    varied = varied.view_as(image)
    if torch.rand(()) < photometric.motion_blur:
        varied = _motion_blur(varied, photometric.blur_length)
    return varied


def _hue_rotation(angle: Tensor) -> Tensor:
    """[3, 3]: Rodrigues' rotation about (1, 1, 1)."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / 3**0.5
    return cosine * torch.eye(3) + (1 - cosine) / 3 + sine * cross


def _motion_blur(image: Tensor, longest: int) -> Tensor:
    """The mean over an odd run of pixels along the rows or the columns; the border counts only what is there."""
    length = 1 + 2 * int(torch.randint(1, max(2, (longest + 1) // 2), ()))
    kernel = (1, length) if torch.rand(()) < 0.5 else (length, 1)
    padding = (kernel[0] // 2, kernel[1] // 2)
    return avg_pool2d(image[None], kernel, stride=1, padding=padding, count_include_pad=False)[0]


def _around_one(range_: float) -> float:
    return uniform(1 - range_, 1 + range_)
