"""What a body gives its heads: feature maps of three strides."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Features(NamedTuple):
    """Feature maps float32 [N, C, h, w] at strides 8, 16 and 32, by the field's level names."""

    c3: Tensor
    c4: Tensor
    c5: Tensor


class FeatureChannels(NamedTuple):
    """How many channels each level has."""

    c3: int
    c4: int
    c5: int
