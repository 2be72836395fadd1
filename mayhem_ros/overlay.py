"""A picture of what the model says, for people: the mask as a tint, the boxes with their names and scores."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_ros.prediction import Prediction


def draw_prediction(
    image: NDArray[np.uint8], prediction: Prediction, class_name: Callable[[int], str]
) -> NDArray[np.uint8]:
    """A copy of `image` (uint8 [H, W, 3] RGB) with the prediction drawn on it; background stays as it is."""
    picture = image.copy()
    if prediction.mask is not None:
        pixels_of = cv2.calcHist([prediction.mask], [0], None, [256], [0, 256])[:, 0]
        for value in np.flatnonzero(pixels_of[1:]) + 1:
            blend = 0.6 * np.arange(256)[:, None] + 0.4 * np.array(_colour(int(value)))
            tinted = cv2.LUT(picture, blend.astype(np.uint8)[None])
            cv2.copyTo(tinted, cv2.inRange(prediction.mask, int(value), int(value)), picture)
    if prediction.boxes is not None and prediction.scores is not None and prediction.labels is not None:
        for box, score, label in zip(prediction.boxes, prediction.scores, prediction.labels, strict=True):
            left, top, right, bottom = (round(edge) for edge in box.clip(-_FAR, _FAR).tolist())
            text = f"{class_name(int(label))} {score:.2f}"
            cv2.rectangle(picture, (left, top), (right, bottom), _colour(int(label)), 2)
            # Above the box, or inside it where the image ends.
            origin = (left + 2, top - 4 if top >= 16 else top + 14)
            cv2.putText(picture, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
            cv2.putText(picture, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


_FAR = 1 << 15  # beyond any image; OpenCV's coordinates are small integers

# Okabe and Ito's colours, which colour-blind people can tell apart.
_COLOURS = (
    (0, 0, 0),
    (0, 158, 115),
    (230, 159, 0),
    (86, 180, 233),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


def _colour(class_id: int) -> tuple[int, int, int]:
    return _COLOURS[class_id % len(_COLOURS)]
