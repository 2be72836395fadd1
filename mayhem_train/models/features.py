"""What a body gives its heads: feature maps of three levels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Features(NamedTuple):
    """Feature maps float32 [N, C, h, w] at strides 8, 16 and 32 (16 of a dilated body), by the field's level names."""

    c3: Tensor
    c4: Tensor
    c5: Tensor


class FeatureChannels(NamedTuple):
    """How many channels each level has."""

    c3: int
    c4: int
    c5: int


class Strides(NamedTuple):
    """How many pixels of the image lie between neighbours of each level."""

    c3: int
    c4: int
    c5: int


STRIDES = Strides(8, 16, 32)


def undilated(features: Features) -> Features:
    """A dilated body's features as it gives them without dilation: of c5 every second value of every second row.

    Holes are put into a stage's kernels exactly so that these values stay the same while others come between them.
    """
    return features._replace(c5=features.c5[..., ::2, ::2])
