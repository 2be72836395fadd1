"""The path an AGV drives through the warehouse, and its motion at every moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

RATE = 200  # samples a second

_STEP = 0.02  # metres between the points of the planned line


@dataclass(frozen=True)
class Drive:
    """Position and motion, sampled RATE times a second from time 0; SI units and radians.

    Attributes:
        x, y: float64 [N], metres.
        yaw: float64 [N], continuous (it does not jump at pi).
        speed: float64 [N], along the yaw.
        yaw_rate: float64 [N].
        acceleration: float64 [N], along the yaw.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    yaw: NDArray[np.float64]
    speed: NDArray[np.float64]
    yaw_rate: NDArray[np.float64]
    acceleration: NDArray[np.float64]

    @property
    def duration(self) -> float:
        """Seconds."""
        return (len(self.x) - 1) / RATE

    def value(self, samples: NDArray[np.float64], time: float) -> float:
        """One of the arrays above at `time`, interpolated."""
        return float(np.interp(time * RATE, np.arange(len(samples)), samples))


def plan_drive(corners: Sequence[tuple[float, float]], duration: float, rng: np.random.Generator) -> Drive:
    """Drives round the closed line through `corners`, rounding them, weaving a little and slowing in the bends."""
    loop = np.array([*corners, corners[0]], np.float64)
    lengths = np.linalg.norm(np.diff(loop, axis=0), axis=1)
    cruise = rng.uniform(1.5, 1.9)
    laps = int(np.ceil(duration * cruise * 1.2 / lengths.sum())) + 2
    marks = np.concatenate([[0], np.cumsum(np.tile(lengths, laps))])
    points = np.concatenate([np.tile(loop[:-1], (laps, 1)), loop[:1]])
    start = rng.uniform(0, lengths.sum())
    along = np.arange(start, marks[-1], _STEP)
    line = np.stack([np.interp(along, marks, points[:, axis]) for axis in (0, 1)], axis=1)
    line = _smooth(line, 0.75 / _STEP)
    heading = np.gradient(line, axis=0)
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    aside = 0.22 * np.sin(along / rng.uniform(1.3, 2.2) + rng.uniform(0, 6)) * np.sin(along / 7.0)
    line = _smooth(line + aside[:, None] * heading[:, ::-1] * [-1, 1], 0.3 / _STEP)
    tangent = np.gradient(line, axis=0)
    step = np.linalg.norm(tangent, axis=1)
    direction = np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))
    curvature = np.abs(np.gradient(direction)) / step
    speed = cruise * (1 + 0.18 * np.sin(along / 4.1 + rng.uniform(0, 6))) / (1 + 1.4 * curvature)
    speed = _smooth(speed[:, None], 0.6 / _STEP)[:, 0]
    times = np.concatenate([[0], np.cumsum(step[1:] / speed[1:])])
    clock = np.arange(round(duration * RATE) + 1) / RATE
    track = _smooth(np.stack([np.interp(clock, times, line[:, axis]) for axis in (0, 1)], axis=1), 0.05 * RATE)
    velocity = np.gradient(track, axis=0) * RATE
    yaw = np.unwrap(np.arctan2(velocity[:, 1], velocity[:, 0]))
    pace = np.linalg.norm(velocity, axis=1)
    return Drive(
        track[:, 0],
        track[:, 1],
        yaw,
        pace,
        np.gradient(yaw) * RATE,
        np.gradient(pace) * RATE,
    )


def _smooth(samples: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Gaussian smoothing down the rows; the ends are continued straight on."""
    margin = int(4 * sigma) + 1
    before = 2 * samples[0] - samples[margin:0:-1] if len(samples) > margin else np.repeat(samples[:1], margin, axis=0)
    after = (
        2 * samples[-1] - samples[-2 : -margin - 2 : -1]
        if len(samples) > margin
        else np.repeat(samples[-1:], margin, 0)
    )
    padded = np.concatenate([before, samples, after])
    kernel = cv2.getGaussianKernel(2 * margin + 1, sigma)
    return np.stack([np.convolve(column, kernel[:, 0], "valid") for column in padded.T], axis=1)
