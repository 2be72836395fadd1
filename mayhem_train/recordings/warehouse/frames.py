"""One moment of a drive, complete: picture, depth, instance numbers and labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mayhem_train.recordings.warehouse.camera import develop
from mayhem_train.recordings.warehouse.labels import FrameLabels, label_frame
from mayhem_train.recordings.warehouse.layout import Warehouse, frame_time
from mayhem_train.recordings.warehouse.mesh import UNOWNED
from mayhem_train.recordings.warehouse.renderer import render

_EXPOSURE_TIME = 0.008  # seconds


@dataclass(frozen=True)
class DrawnFrame:
    """What the camera sees, and the truth about it.

    Attributes:
        picture: uint8 [H, W, 3], RGB.
        depth: float64 [H, W], metres along the optical axis.
        instances: int32 [H, W]: 0 nothing, 1 floor, 2 no labelled thing, above that the things of the warehouse.
        silhouettes: int64 [N], pixels each instance would cover if nothing stood before it.
        labels: made from the two above.
    """

    picture: NDArray[np.uint8]
    depth: NDArray[np.float64]
    instances: NDArray[np.int32]
    silhouettes: NDArray[np.int64]
    labels: FrameLabels


def draw_frame(warehouse: Warehouse, index: int, width: int, height: int) -> DrawnFrame:
    """Draws picture `index` of a drive; a pure function of its arguments."""
    time = frame_time(index)
    intrinsics = warehouse.intrinsics(width, height)
    rendering = render(
        warehouse.mesh_at(time),
        warehouse.surroundings,
        warehouse.shadows_at(time),
        intrinsics,
        warehouse.camera_at(time),
        instance_count=UNOWNED + 1 + len(warehouse.things),
    )
    turned = warehouse.drive.value(warehouse.drive.yaw_rate, time) * _EXPOSURE_TIME  # radians to the left
    rng = np.random.default_rng([*warehouse.seed, index])
    picture = develop(rendering.light, warehouse.film, (turned * intrinsics.focal, 0.0), rng)
    labels = label_frame(rendering.instances, rendering.silhouettes, warehouse.things)
    return DrawnFrame(picture, rendering.depth, rendering.instances, rendering.silhouettes, labels)
