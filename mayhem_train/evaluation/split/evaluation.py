"""A model over every labelled frame of a split, without ROS: what it says against what is true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.model_card import ModelCard
from mayhem_ros.prediction import Prediction
from mayhem_train.console import error_console, track, warn
from mayhem_train.datasets.frame_reader import FrameReader, UnreadableFrame
from mayhem_train.datasets.index import DatasetIndex, LabelledImage
from mayhem_train.evaluation.metrics.detection import PrecisionRecall
from mayhem_train.evaluation.reporting.gallery import Exhibit, Gallery
from mayhem_train.evaluation.scoring.scorer import FrameScore, Scorer, Scores

CURVE_IOUS = (0.5, 0.75)
"""The IoUs for which precision is shown over recall."""

# As in training: a few damaged frames are no reason to stop, but a figure over the rest of many would mislead.
_MOST_UNREADABLE = 0.05


class Predictor(Protocol):
    """A model as the robot calls it; `OnnxModel` is one."""

    @property
    def card(self) -> ModelCard:
        """What the model says of itself."""

    def predict(self, images: NDArray[np.uint8]) -> list[Prediction]:
        """One prediction an image, uint8 [N, H, W, 3] RGB, in its own pixels, whatever the score."""


@dataclass(frozen=True)
class ScoredFrame:
    """One frame of the split and how well it was seen."""

    image: LabelledImage
    score: FrameScore


@dataclass(frozen=True)
class SplitEvaluation:
    """Everything found on a split.

    Attributes:
        index: the split's labels.
        card: the model's.
        scores: over all frames.
        curves: by IoU and class name; classes without ground truth have none.
        frames: in the order of the index.
        worst: the frames with the lowest scores, worst first.
        unreadable: frames that could not be read and count nowhere.
    """

    index: DatasetIndex
    card: ModelCard
    scores: Scores
    curves: Mapping[float, Mapping[str, PrecisionRecall]]
    frames: tuple[ScoredFrame, ...]
    worst: tuple[Exhibit, ...]
    unreadable: tuple[UnreadableFrame, ...]


def choose_split(index: DatasetIndex, path: Path, split: str | None) -> tuple[str, DatasetIndex]:
    """The split of this name and its part of the index; of no name "test", or "val" where there is no "test".

    Raises:
        UsageError: the index has no such split.
    """
    found = sorted({image.split for image in index.images})
    wanted = split or ("test" if "test" in found else "val")
    if wanted not in found:
        raise UsageError(
            f"{path} has no split {wanted!r}, it has {', '.join(found) or 'no images'}: name one with --split."
        )
    return wanted, index.split(wanted)


def scored_tasks(card: ModelCard, index: DatasetIndex) -> tuple[str, ...]:
    """The tasks that both the model and the labels have."""
    tasks = ("detection",) if card.task != "segmentation" and index.things else ()
    return (*tasks, "segmentation") if card.task != "detection" and index.surfaces else tasks


def evaluate_split(model: Predictor, index: DatasetIndex, reader: FrameReader, *, worst: int = 12) -> SplitEvaluation:
    """Runs the model on every frame of `index`, one at a time and in its own pixels, and scores it.

    Args:
        model: what to judge.
        index: the labels of the split.
        reader: of the index's frames.
        worst: how many of the worst frames to keep.

    Raises:
        MayhemError: model and labels have no class in common, more than 5 % of the frames cannot be read, or the model
            fails on one or gives what cannot be meant.
    """
    _refuse_foreign_classes(model.card, index)
    scorer = Scorer(model.card, index, boundaries=True)
    gallery = Gallery((), worst)
    frames: list[ScoredFrame] = []
    unreadable: list[UnreadableFrame] = []
    for place, image in enumerate(track(index.images, "testing", total=len(index.images))):
        try:
            pixels = reader.read(image)
        except UsageError:
            raise
        except MayhemError as error:
            unreadable.append(UnreadableFrame(image.name, str(error)))
            error_console.print(f"Left out: {error}", markup=False, highlight=False, soft_wrap=True)
            _refuse_too_many(unreadable, len(index.images))
            continue
        try:
            (prediction,) = model.predict(pixels[None])
        except MayhemError as error:
            raise MayhemError(f"{image.name} could not be tested: {error}") from error
        score = scorer.add(image, prediction)
        frames.append(ScoredFrame(image, score))
        gallery.offer(Exhibit(0, place, prediction, None, image, score))
    warn(*reader.take_warnings())
    return SplitEvaluation(
        index=index,
        card=model.card,
        scores=scorer.compute(),
        curves={iou: scorer.precision_recall(iou) for iou in CURVE_IOUS},
        frames=tuple(frames),
        worst=gallery.worst,
        unreadable=tuple(unreadable),
    )


def _refuse_foreign_classes(card: ModelCard, index: DatasetIndex) -> None:
    ours = {c.name for c in card.detection_classes} | {c.name for c in card.segmentation_classes if c.id}
    theirs = {category.name for category in index.categories}
    if not ours & theirs:
        raise MayhemError(
            f"The model knows {', '.join(sorted(ours)) or 'no class'} and the dataset index labels "
            f"{', '.join(sorted(theirs)) or 'no class'}: nothing can be scored; name the index it was made for."
        )


def _refuse_too_many(unreadable: list[UnreadableFrame], count: int) -> None:
    if len(unreadable) == count or len(unreadable) > max(1.0, _MOST_UNREADABLE * count):
        raise MayhemError(
            f"{len(unreadable)} of {count} frames could not be read ({', '.join(f.name for f in unreadable[:10])}): "
            "look at the recordings and the disk they are on."
        )
