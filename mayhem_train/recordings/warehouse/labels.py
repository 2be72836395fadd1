"""Exact labels: which things a person would mark in a picture, their tight boxes, and the floor's pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_train.recordings.warehouse.renderer import FLOOR

LEAST_PIXELS = 60
LEAST_SIDE = 16  # pixels, the larger side of the box
LEAST_SHARE = 0.25  # of the thing's outline that nothing hides ...
LARGE = 0.01  # ... unless this share of the picture shows it
_WHOLE = 0.8  # a thing of which less is seen is marked as occluded


@dataclass(frozen=True)
class ThingLabel:
    """One labelled thing: `box` is (x1, y1, x2, y2) in pixels, x2 and y2 just outside the last visible pixel."""

    label: str
    box: tuple[int, int, int, int]
    occluded: bool


@dataclass(frozen=True)
class FrameLabels:
    """All labels of one picture; `floor` is bool [H, W]."""

    things: tuple[ThingLabel, ...]
    floor: NDArray[np.bool_]


def label_frame(instances: NDArray[np.int32], silhouettes: NDArray[np.int64], things: Mapping[int, str]) -> FrameLabels:
    """Labels a picture from its instance numbers.

    A thing is labelled if at least LEAST_PIXELS of it are visible, its box is at least LEAST_SIDE long, and either a
    quarter of its outline inside the picture is not hidden or what is visible is large.

    Args:
        instances: int32 [H, W], the instance each pixel shows.
        silhouettes: int64 [N], pixels each instance would cover if nothing stood before it.
        things: class names by instance number.
    """
    visible = np.bincount(instances.ravel(), minlength=len(silhouettes))
    labels = []
    for instance, label in things.items():
        pixels = int(visible[instance]) if instance < len(visible) else 0
        if pixels < LEAST_PIXELS:
            continue
        share = pixels / max(int(silhouettes[instance]), 1)
        left, top, width, height = cv2.boundingRect((instances == instance).view(np.uint8))
        if max(width, height) < LEAST_SIDE or (share < LEAST_SHARE and pixels < LARGE * instances.size):
            continue
        labels.append(ThingLabel(label, (left, top, left + width, top + height), share < _WHOLE))
    return FrameLabels(tuple(labels), instances == FLOOR)
