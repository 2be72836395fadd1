"""RoIAlign over a feature pyramid: each region from the level of its size (He et al. 2017; Lin et al. 2017, FPN)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

REGION_SIZE = 7
SAMPLES = 2


def pool_regions(levels: Sequence[Tensor], regions: Tensor, strides: Sequence[int]) -> Tensor:
    """Every region's features.

    Args:
        levels: float32 [N, C, h, w], from fine to coarse.
        regions: float32 [R, 5]: which image, then xyxy in the images' pixels.
        strides: of the levels, pixels.

    Returns:
        float32 [R, C, 7, 7].
    """
    of_level = region_levels(regions[:, 1:], strides)
    pooled = levels[0].new_zeros(len(regions), levels[0].shape[1], REGION_SIZE, REGION_SIZE)
    for place, (level, stride) in enumerate(zip(levels, strides, strict=True)):
        (chosen,) = torch.where(of_level == place)
        if len(chosen):
            values = roi_align(level, regions[chosen], REGION_SIZE, 1 / stride, SAMPLES, aligned=True)
            pooled = pooled.index_put((chosen,), values.to(pooled.dtype))
    return pooled


def region_levels(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """int64 [R]: the coarsest level on which a box xyxy [R, 4] still spans 14 cells, two for each value of its 7."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return torch.stack([area >= least for least in least_areas(strides)]).sum(0)


def least_areas(strides: Sequence[int]) -> list[float]:
    """From which area in pixels a region goes to each level but the finest; the finest takes all that are smaller."""
    return [float((2 * REGION_SIZE * stride) ** 2) for stride in strides[1:]]


@torch.library.custom_op("mayhem::pool_boxes", mutates_args=())
def pool_boxes(levels: list[Tensor], boxes: Tensor, strides: list[int]) -> Tensor:
    """`pool_regions` for boxes float32 [N, P, 4] of N images, as one operator: float32 [N * P, C, 7, 7].

    As the number of regions on a level depends on what is seen, an exporter could not look into it.
    """
    image = torch.arange(len(boxes), device=boxes.device, dtype=boxes.dtype).repeat_interleave(boxes.shape[1])
    return pool_regions(levels, torch.cat([image[:, None], boxes.flatten(0, 1)], dim=1), strides)


@pool_boxes.register_fake
def _(levels: list[Tensor], boxes: Tensor, strides: list[int]) -> Tensor:
    count = boxes.shape[0] * boxes.shape[1]
    return levels[0].new_empty(count, levels[0].shape[1], REGION_SIZE, REGION_SIZE)
