"""A body of few layers, for tests in which a real one would only take time."""

from __future__ import annotations

from torch import nn

from mayhem_train.models.bodies import Body, Weights
from mayhem_train.models.features import FeatureChannels


def small_body(weights: Weights, dilated: bool = False) -> Body:
    """Six convolutions, tapped where the real bodies are."""

    def stage(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())

    to_c3 = nn.Sequential(stage(3, 8), stage(8, 16), stage(16, 24))
    to_c5 = nn.Sequential(*stage(32, 40), nn.Conv2d(40, 40, 3, padding=1))
    return Body(to_c3, stage(24, 32), to_c5, FeatureChannels(24, 32, 40), dilated=dilated)
