"""What outlines of all formats have in common: the hull of a rotated box, and whether a polygon covers anything."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9


def rotated_hull(box: tuple[float, float, float, float], angle: float) -> tuple[float, float, float, float]:
    """The upright box, (x1, y1, x2, y2), around one that is turned about its centre by `angle` in radians."""
    x1, y1, x2, y2 = box
    centre_x, centre_y, half_width, half_height = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    hull_x = half_width * cosine + half_height * sine
    hull_y = half_width * sine + half_height * cosine
    return centre_x - hull_x, centre_y - hull_y, centre_x + hull_x, centre_y + hull_y


def covers_area(points: NDArray[np.float64]) -> bool:
    """Whether a polygon's points, [P, 2], do not all lie on one line; an hourglass, whose halves cancel out, covers."""
    if len(points) < 3:
        return False
    sides = points - points[0]
    farthest = sides[np.argmax(np.square(sides).sum(1))]
    areas = np.abs(sides[:, 0] * farthest[1] - sides[:, 1] * farthest[0])
    return bool(np.any(areas > _ROUNDING * np.square(farthest).sum()))
