"""Bilinear resizing of the camera's image as one operator, which torch runs here and ONNX as its Resize.

Where a pixel comes from is a float32, and near column 600 the next one is 6e-5 away. `interpolate` and ONNX's Resize
round it differently, which between a dark and a light pixel is hundredths of a grey level, and after a detector's two
stages 1e-5 of a score (docs/export.md). Rounded alike, a network says the same in both.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("mayhem::resize_bilinear", mutates_args=())
def resize_bilinear(images: Tensor, height: int, width: int) -> Tensor:
    """Images float32 [N, C, H, W] at another size, [N, C, height, width], half-pixel centres, no antialiasing.

    As `torch.nn.functional.interpolate`, but for the last bits of where each pixel comes from: output i comes from
    (i + 1/2) / (height / H) - 1/2, each operation rounded to float32 (ONNX, operator Resize, `half_pixel`).
    """
    top, bottom, down = _neighbours(images.shape[2], height, images.device)
    left, right, across = _neighbours(images.shape[3], width, images.device)
    rows = torch.lerp(images[:, :, top], images[:, :, bottom], down[:, None])
    return torch.lerp(rows[..., left], rows[..., right], across)


@resize_bilinear.register_fake
def _(images: Tensor, height: int, width: int) -> Tensor:
    return images.new_empty(*images.shape[:2], height, width)


def _neighbours(there: int, here: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of `here` values the two of `there` around it, int64, and how far it lies towards the second."""
    # On the CPU, since a GPU divides by a number by multiplying with its reciprocal, which rounds otherwise.
    places = ((torch.arange(here) + 0.5) / (torch.tensor(float(here)) / there) - 0.5).clamp(0, there - 1)
    first = places.long()
    return first.to(device), (first + 1).clamp(max=there - 1).to(device), (places - first).to(device)
