"""The camera: its intrinsics, its pose in the world, and what its lens and sensor do to the light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera; pixel (column, row) has its centre at the whole number. All in pixels."""

    width: int
    height: int
    focal: float
    cx: float
    cy: float

    @classmethod
    def with_field_of_view(cls, width: int, height: int, degrees: float) -> Intrinsics:
        """Square pixels, the principal point in the middle, `degrees` of view from left to right."""
        return cls(width, height, width / 2 / np.tan(np.radians(degrees) / 2), (width - 1) / 2, (height - 1) / 2)

    def scaled(self, factor: float) -> Intrinsics:
        """The same view with `factor` times as many pixels a side."""
        return Intrinsics(
            width=int(self.width * factor),
            height=int(self.height * factor),
            focal=self.focal * factor,
            cx=(self.cx + 0.5) * factor - 0.5,
            cy=(self.cy + 0.5) * factor - 0.5,
        )


@dataclass(frozen=True)
class CameraPose:
    """Where the camera stands and looks.

    Attributes:
        eye: float64 [3], metres in the world.
        rotation: float64 [3, 3], world to optical frame (x right, y down, z forward).
    """

    eye: NDArray[np.float64]
    rotation: NDArray[np.float64]

    @classmethod
    def looking(cls, eye: NDArray[np.float64], yaw: float, pitch: float, roll: float) -> CameraPose:
        """A camera that looks along `yaw` (from x, counter-clockwise), `pitch` down and `roll` clockwise, radians."""
        forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
        level = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        down = np.cross(forward, level)
        right = np.cos(roll) * level + np.sin(roll) * down
        return cls(np.asarray(eye, np.float64), np.stack([right, np.cross(forward, right), forward]))

    def mirrored(self) -> CameraPose:
        """The pose whose pictures are the reflections in the floor (z = 0)."""
        flip = np.array([1.0, 1.0, -1.0])
        return CameraPose(self.eye * flip, self.rotation * flip)


@dataclass(frozen=True)
class Film:
    """What a drive's camera does to every picture.

    Attributes:
        exposure: gain on the light; automatic exposure is applied on top, with `adaptation` from 0 (off) to 1 (full).
        white_balance: float64 [3], gain of red, green and blue.
        vignetting: how much darker the corners are, 0 to 1.
        noise: standard deviation of the sensor's noise in the middle tones, 8-bit steps.
        softness: the lens's point spread, pixels at a width of 640.
    """

    exposure: float
    adaptation: float
    white_balance: NDArray[np.float64]
    vignetting: float
    noise: float
    softness: float


def develop(
    light: NDArray[np.float32], film: Film, motion: tuple[float, float], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Turns linear light into a picture.

    Args:
        light: float32 [H, W, 3], linear.
        film: lens and sensor.
        motion: how far the picture moves during the exposure, pixels right and down.
        rng: draws the sensor's noise.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    height, width = light.shape[:2]
    linear = _blurred(light, max(film.softness * width / 640, 0.25), motion)
    brightness = float(linear[::4, ::4].mean())
    gain = film.exposure * (0.3 / max(brightness, 1e-3)) ** film.adaptation
    x = (np.arange(width, dtype=np.float32) - width / 2) / (width / 2)
    y = (np.arange(height, dtype=np.float32) - height / 2) / (width / 2)
    falloff = gain * (1 - film.vignetting * (x**2 + y[:, None] ** 2) / 1.6)
    linear = linear * (falloff[..., None] * film.white_balance.astype(np.float32))
    shoulder = linear * (1 + linear * 0.12) / (1 + linear * 0.62)  # rolls highlights off instead of clipping them
    picture = 255 * np.sqrt(shoulder)
    picture += film.noise * _grain(rng, height, width) * (1.35 - picture / 400)
    developed: NDArray[np.uint8] = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return developed


def _blurred(light: NDArray[np.float32], softness: float, motion: tuple[float, float]) -> NDArray[np.float32]:
    """The lens's softness (standard deviation in pixels), and a streak along the motion."""
    soft = cv2.GaussianBlur(light, (3, 3), softness)
    streak = int(np.hypot(*motion))
    if streak >= 2:
        kernel = np.zeros((2 * streak + 1, 2 * streak + 1), np.float32)
        reach = np.array(motion) / 2
        start, end = [round(streak - v) for v in reach], [round(streak + v) for v in reach]
        cv2.line(kernel, start, end, 1.0, 1)
        soft = cv2.filter2D(soft, -1, kernel / kernel.sum())
    return soft.astype(np.float32, copy=False)


def _grain(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Noise with a little correlation between the colours, as a demosaiced sensor has; standard deviation near 1."""
    colour = rng.standard_normal((height, width, 3), np.float32)
    return 0.75 * colour + 0.5 * colour[..., 1:2]
