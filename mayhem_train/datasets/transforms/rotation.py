"""A sample turned about its image's centre: pixels, boxes and mask together."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import torch

from mayhem_train.datasets.index import UNLABELLED
from mayhem_train.datasets.samples import Sample
from mayhem_train.datasets.transforms.box_clipping import clip_boxes

# ImageNet's mean colour, which normalisation turns into zero: what lies beyond the image's border.
BORDER_COLOUR = (124, 116, 104)


def rotate(sample: Sample, degrees: float) -> Sample:
    """The sample turned counter-clockwise, its size kept.

    Pixels are sampled bilinearly, the mask by the nearest pixel; the corners that come into view have the mean colour
    and are unlabelled. A box becomes the upright hull of its turned self, cut at the image.
    """
    height, width = sample.mask.shape
    # OpenCV counts from the centre of the first pixel, boxes from its outer edge.
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    image = cv2.warpAffine(
        np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy()),
        turn,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderValue=BORDER_COLOUR,
    )
    mask = cv2.warpAffine(
        sample.mask.numpy(), turn, (width, height), flags=cv2.INTER_NEAREST, borderValue=(UNLABELLED,)
    )
    turned = replace(
        sample,
        image=torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        mask=torch.from_numpy(mask),
        boxes=_hulls(sample.boxes, math.radians(degrees), (width / 2, height / 2)),
    )
    return clip_boxes(turned, (height, width), least_side=0.0)


def _hulls(boxes: torch.Tensor, angle: float, centre: tuple[float, float]) -> torch.Tensor:
    """float32 [N, 4]: the upright hulls of boxes turned about `centre`, in the image's coordinates (y downwards)."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 - torch.tensor(centre)
    sides = boxes[:, 2:] - boxes[:, :2]
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[cosine, sine], [-sine, cosine]])
    middles = middles @ turn.T + torch.tensor(centre)
    halves = sides @ turn.T.abs() / 2
    return torch.cat([middles - halves, middles + halves], 1)
