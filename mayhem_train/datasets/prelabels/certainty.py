"""How unsure a model is of a frame, so that people label first what teaches it most."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.prediction import Prediction

# A box that scores less than this share of its threshold is noise, of which detectors give hundreds.
_PLAUSIBLE = 0.5


def uncertainty(prediction: Prediction, thresholds: Mapping[int, float], values: int) -> float:
    """U = mean_i a(s_i, t_i) + n/(n−1) · mean_p (1 − c_p), from 0 to 2; a task the prediction lacks counts 0.

    The first mean runs over the boxes i whose score s_i is at least half the threshold t_i of their class, and is 0
    without any. a(s, t) = s/t below the threshold and (1−s)/(1−t) from it on: 1 where keeping and dropping the box are
    a toss-up, 0 where the model is sure. For t = 1/2 it is 1 − |2s − 1|, one minus the margin between the two most
    likely answers (margin sampling, Settles 2009, Active Learning Literature Survey, section 3.1), averaged over a
    frame's boxes as Brust et al. do (2019, Active Learning for Deep Object Detection: "average" of 1-vs-2).

    The second runs over the pixels p with c_p the probability of the mask's class: least confidence (Settles, the same
    section), stretched by the number n of classes, background included, to reach 1 where all are equally likely.

    Args:
        prediction: with every box the model gives, not only those above the thresholds.
        thresholds: detection class id to score.
        values: n, how many classes the mask knows.
    """
    return _of_boxes(prediction, thresholds) + _of_mask(prediction, values)


def _of_boxes(prediction: Prediction, thresholds: Mapping[int, float]) -> float:
    if prediction.scores is None or prediction.labels is None:
        return 0.0
    scores = prediction.scores.astype(np.float64)
    limits = np.array([thresholds[int(label)] for label in prediction.labels], np.float64)
    plausible = scores >= _PLAUSIBLE * limits
    ambiguities = _ambiguity(scores[plausible], limits[plausible])
    return float(ambiguities.mean()) if len(ambiguities) else 0.0


def _ambiguity(scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    below = scores < thresholds
    # Where the threshold is 0 nothing is below it, and where it is 1 only a score of 1 is not.
    room = np.where(below, thresholds, np.maximum(1 - thresholds, np.finfo(np.float64).tiny))
    distance = np.where(below, thresholds - scores, np.maximum(scores - thresholds, 0))
    return np.clip(1 - distance / room, 0, 1)


def _of_mask(prediction: Prediction, values: int) -> float:
    if prediction.mask_confidence is None or prediction.mask_confidence.size == 0 or values < 2:
        return 0.0
    return float(1 - prediction.mask_confidence.mean(dtype=np.float64) / 255) * values / (values - 1)
