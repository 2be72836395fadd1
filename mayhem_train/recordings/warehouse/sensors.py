"""What the AGV's other sensors measure: depth camera, point cloud and inertial measurement unit."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_train.recordings.warehouse.camera import Intrinsics
from mayhem_train.recordings.warehouse.drive import RATE, Drive

IMU_RATE = 100  # samples a second
GRAVITY = 9.80665  # metres a second squared

_DEPTH_RANGE = (0.3, 12.0)  # metres, of a stereo depth camera
_GYRO_NOISE, _ACCELEROMETER_NOISE = 0.002, 0.04  # radians a second; metres a second squared


@dataclass(frozen=True)
class ImuSamples:
    """IMU_RATE samples a second from the drive's start, in the AGV's frame (x forward, y left, z up).

    Attributes:
        times: float64 [N], seconds.
        yaws: float64 [N], orientation about the vertical, radians.
        angular_velocities: float64 [N, 3], radians a second.
        accelerations: float64 [N, 3], specific force (at rest: +g along z), metres a second squared.
    """

    times: NDArray[np.float64]
    yaws: NDArray[np.float64]
    angular_velocities: NDArray[np.float64]
    accelerations: NDArray[np.float64]


def measure_depth(depth: NDArray[np.float64], rng: np.random.Generator | None) -> NDArray[np.uint16]:
    """Depth along the optical axis in millimetres, 0 where there is no measurement.

    Args:
        depth: float64 [H, W], metres.
        rng: draws what a stereo camera adds: noise that grows with the square of the range, holes at edges and a
            limited range. None measures exactly, rounded to the millimetre.
    """
    if rng is None:
        return np.where(np.isfinite(depth), np.minimum(np.round(depth * 1000), 65535), 0).astype(np.uint16)
    metres = np.where(np.isfinite(depth), depth, 100.0).astype(np.float32)
    noise = rng.standard_normal(metres.shape, np.float32)
    measured = metres + np.float32(0.0012) * metres**2 * noise
    edges = cv2.morphologyEx(metres, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0.06 * metres
    valid = (metres > _DEPTH_RANGE[0]) & (metres < _DEPTH_RANGE[1]) & ~(edges & (noise > -0.5)) & (noise < 2.6)
    return np.where(valid, np.round(measured * 1000), 0).astype(np.uint16)


def measure_points(
    depth: NDArray[np.uint16], picture: NDArray[np.uint8], intrinsics: Intrinsics, stride: int
) -> NDArray[np.float32]:
    """Every `stride`-th depth pixel as a point: float32 [N, 4], x, y, z in metres in the optical frame, intensity."""
    rows, columns = np.mgrid[stride // 2 : depth.shape[0] : stride, stride // 2 : depth.shape[1] : stride]
    z = depth[rows, columns].astype(np.float32) / 1000
    x = (columns - intrinsics.cx) / intrinsics.focal * z
    y = (rows - intrinsics.cy) / intrinsics.focal * z
    intensity = picture[rows, columns, 1].astype(np.float32)
    points = np.stack([x, y, z, intensity], axis=-1).reshape(-1, 4).astype(np.float32)
    return points[points[:, 2] > 0]


def measure_motion(drive: Drive, rng: np.random.Generator) -> ImuSamples:
    """What a gyroscope and an accelerometer in the AGV's middle feel during the drive."""
    pick = slice(None, None, RATE // IMU_RATE)
    count = len(drive.yaw[pick])
    angular = np.zeros((count, 3))
    angular[:, 2] = drive.yaw_rate[pick]
    sideways = drive.speed * drive.yaw_rate
    force = np.stack([drive.acceleration[pick], sideways[pick], np.full(count, GRAVITY)], axis=1)
    return ImuSamples(
        times=np.arange(count) / IMU_RATE,
        yaws=drive.yaw[pick],
        angular_velocities=angular + rng.normal(0, _GYRO_NOISE, angular.shape),
        accelerations=force + rng.normal(0, _ACCELEROMETER_NOISE, force.shape),
    )
