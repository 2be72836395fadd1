"""Boxes at the border of what is shown: cut there, and left out where too little remains to be learned from."""

from __future__ import annotations

import torch

from mayhem_train.datasets.samples import Sample

# A box of which less than this share of its area is shown, or than this side in pixels, says too little.
LEAST_VISIBLE_SHARE = 0.3
LEAST_SIDE = 2.0


def clip_boxes(sample: Sample, size: tuple[int, int], least_side: float = LEAST_SIDE) -> Sample:
    """The sample with its boxes cut at (height, width), without those of which too little remains.

    A crowd stays however little of it remains: what is seen there is still not background.
    """
    limits = torch.tensor([size[1], size[0]], dtype=torch.float32).repeat(2)
    boxes = sample.boxes.clamp(min=torch.zeros(4), max=limits)
    sides = boxes[:, 2:] - boxes[:, :2]
    visible = sides.prod(1) >= LEAST_VISIBLE_SHARE * (sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(1)
    return sample.with_boxes(boxes, (visible | sample.crowd) & (sides >= least_side).all(1))
