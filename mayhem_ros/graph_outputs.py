"""From the arrays that a graph gives to predictions, one image at a time; what cannot be meant is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_ros.model_card import DetectionClass, ModelCard, SegmentationClass
from mayhem_ros.prediction import Prediction

# Probabilities that are summed or rounded in half precision end a little above one.
_MOST_SCORE = 1.001


def read_outputs(
    outputs: Mapping[str, NDArray[Any]], images: Sequence[int], card: ModelCard, source: object
) -> list[Prediction | MayhemError]:
    """One prediction an image, or the error that says why its outputs cannot be meant. Views, not copies.

    Refused are boxes and scores that are not finite, corners in the wrong order, scores outside of 0 to 1, classes that
    the card lacks, a `count` outside of 0 to K, and arrays whose sizes fit neither one another nor the image.

    Args:
        outputs: by name, those outputs of the graph that were asked for.
        images: the shape of the images, [N, H, W, 3].
        card: the classes there are.
        source: what gave the outputs, for the errors.

    Raises:
        MayhemError: the outputs are not one an image.
    """
    count, height, width = images[:3]
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != count:
            raise MayhemError(f"{source} gave {_describe(name, array)} for {count} images: train or export it again.")
    predictions: list[Prediction | MayhemError] = []
    for place in range(count):
        try:
            predictions.append(_read({name: array[place] for name, array in outputs.items()}, height, width, card))
        except _NonsenseError as found:
            predictions.append(MayhemError(f"{source} gave {found}: train or export it again."))
    return predictions


def refuse_nonsense(predictions: Iterable[Prediction | MayhemError]) -> list[Prediction]:
    """The predictions, or the first error among them, raised."""
    sound = []
    for prediction in predictions:
        if isinstance(prediction, MayhemError):
            raise prediction
        sound.append(prediction)
    return sound


def unknown_class(number: int, names: Mapping[int, str], kind: str) -> str:
    """A class that the card lacks, as the object of a sentence."""
    known = ", ".join(f"{key} {name}" for key, name in names.items()) or "none"
    return f"the {kind} class {number}, but its card knows {known}"


class _NonsenseError(Exception):
    """What a graph gave that cannot be meant."""


def _read(outputs: dict[str, NDArray[Any]], height: int, width: int, card: ModelCard) -> Prediction:
    """One image's outputs as a prediction; those of other tasks are left out."""
    if "count" in outputs:
        outputs |= _counted(outputs["boxes"], outputs["scores"], outputs["labels"], outputs.pop("count"))
        _check_boxes(outputs["boxes"], outputs["scores"])
        _check_classes(outputs["labels"].tolist(), card.detection_classes, "detection")
    for name in outputs.keys() & {"mask", "mask_confidence"}:
        if outputs[name].shape != (height, width):
            raise _NonsenseError(f"{_describe(name, outputs[name])} for an image of {width}x{height} pixels")
    if "mask" in outputs:
        _check_surfaces(outputs["mask"], card.segmentation_classes)
    return Prediction(**{item.name: outputs.get(item.name) for item in fields(Prediction)})


def _counted(
    boxes: NDArray[Any], scores: NDArray[Any], labels: NDArray[Any], count: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """The three without the unused places behind `count`."""
    found = {"boxes": boxes, "scores": scores, "labels": labels}
    if scores.ndim != 1 or labels.shape != scores.shape or boxes.shape != (*scores.shape, 4):
        described = ", ".join(_describe(name, array) for name, array in found.items())
        raise _NonsenseError(f"{described} for one image")
    if count.ndim or not 0 <= count <= len(scores):
        raise _NonsenseError(f"the count {count} for {len(scores)} boxes")
    return {name: array[: int(count)] for name, array in found.items()}


def _check_boxes(boxes: NDArray[Any], scores: NDArray[Any]) -> None:
    possible = np.isfinite(boxes).all(axis=1) & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1)
    if not possible.all():
        raise _NonsenseError(f"the box {boxes[~possible][0].tolist()}")
    possible = (scores >= 0) & (scores <= _MOST_SCORE)  # NaN is not
    if not possible.all():
        raise _NonsenseError(f"the score {scores[~possible][0]:g}")


def _check_surfaces(mask: NDArray[Any], classes: Sequence[SegmentationClass]) -> None:
    foreign = np.ones(256, np.uint8)
    foreign[[kind.id for kind in classes]] = 0
    # The highest value is found in no time, and nearly every card numbers its surfaces without gaps.
    if foreign[: int(mask.max()) + 1].any() and cv2.LUT(mask, foreign).any():
        _check_classes(np.unique(mask).tolist(), classes, "segmentation")


def _check_classes(ids: list[int], classes: Sequence[DetectionClass | SegmentationClass], kind: str) -> None:
    names = {known.id: known.name for known in classes}
    for number in ids:
        if number not in names:
            raise _NonsenseError(unknown_class(number, names, kind))


def _describe(name: str, array: NDArray[Any]) -> str:
    return f"{name} {list(array.shape)}"
