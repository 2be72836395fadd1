"""Predictions against the labels of a dataset index, frame by frame and over the whole: no ROS, no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_ros.model_card import ModelCard
from mayhem_ros.prediction import Prediction
from mayhem_train.datasets.index import BACKGROUND, UNLABELLED, DatasetIndex, LabelledImage
from mayhem_train.evaluation.metrics.boundary import BoundaryMetrics, BoundaryScorer
from mayhem_train.evaluation.metrics.box_confusion import BoxConfusion
from mayhem_train.evaluation.metrics.detection import ClassAP, DetectionMetrics, DetectionScorer, PrecisionRecall
from mayhem_train.evaluation.metrics.image_boxes import ImageBoxes
from mayhem_train.evaluation.metrics.segmentation import (
    SegmentationMetrics,
    SegmentationScorer,
    intersection_over_union,
)
from mayhem_train.evaluation.scoring.frame_faults import frame_faults

BACKGROUND_NAME = "background"


@dataclass(frozen=True)
class FrameScore:
    """How well one frame was seen, 0 to 1; it only orders frames, so that the worst can be looked at.

    Attributes:
        score: mean of the parts that are not None; 1 is perfect.
        detection: 2 TP / (2 TP + FP + FN) over the boxes above the model card's thresholds; 1 where nothing is there
            and nothing is found.
        segmentation: mean IoU over the classes in the frame's truth or prediction; None where nothing is labelled.
        faults: what is wrong, in words, the worst first.
    """

    score: float
    detection: float | None
    segmentation: float | None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class OperatingPoint:
    """What the robot gets at the model card's score threshold: counts of boxes at IoU 0.5."""

    score_threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float | None:
        """Share of the published boxes that are right; None where none is published."""
        published = self.true_positives + self.false_positives
        return self.true_positives / published if published else None

    @property
    def recall(self) -> float | None:
        """Share of the labelled objects that are found; None where none is labelled."""
        labelled = self.true_positives + self.false_negatives
        return self.true_positives / labelled if labelled else None


@dataclass(frozen=True)
class Scores:
    """Everything measured against labels; a task that the model or the index does not have is None.

    Attributes:
        frames: how many labelled frames were scored.
        detection: COCO metrics over all boxes that were published, by class name.
        operating_points: by detection class name, the classes that both the model and the index have.
        box_confusion: int64 [1 + K, 1 + K] as `BoxConfusion` counts, of the index's detection classes and at the model
            card's thresholds; classes that only the index has are never predicted.
        segmentation: IoU by surface class name, background included.
        boundaries: boundary F1 by surface class name, where the scorer was asked for it.
        missing_in_model: classes of the index that the model does not know; they count as undetected.
        missing_in_index: classes of the model that the index does not label; they are not scored ("n/a").
    """

    frames: int
    detection: DetectionMetrics | None
    operating_points: dict[str, OperatingPoint]
    box_confusion: NDArray[np.int64] | None
    segmentation: SegmentationMetrics | None
    boundaries: BoundaryMetrics | None
    missing_in_model: tuple[str, ...]
    missing_in_index: tuple[str, ...]


class Scorer:
    """Scores the predictions of one model on one dataset index; classes meet by name, never by number.

    A box of a class that the index does not label is left out, a pixel of such a class counts as background: the
    labels cannot tell whether it is right.

    Args:
        card: of the model.
        index: the labels.
        boundaries: whether to measure the surfaces' borders too, which takes some milliseconds a frame.
    """

    def __init__(self, card: ModelCard, index: DatasetIndex, *, boundaries: bool = False) -> None:
        self._index = index
        things = [category.name for category in index.things]
        surfaces = [category.name for category in index.surfaces]
        model_things = [c.name for c in card.detection_classes]
        model_surfaces = [c.name for c in card.segmentation_classes if c.id != BACKGROUND]
        self._detects = card.task != "segmentation" and bool(things)
        self._segments = card.task != "detection" and bool(surfaces)
        self._category_label = {category.id: label for label, category in enumerate(index.things, start=1)}
        self._label = {c.id: things.index(c.name) + 1 for c in card.detection_classes if c.name in things}
        self._thresholds = {self._label[c.id]: c.score_threshold for c in card.detection_classes if c.id in self._label}
        self._mask_value = np.full(256, BACKGROUND, np.uint8)
        for c in card.segmentation_classes:
            if c.name in surfaces and c.id != BACKGROUND:
                self._mask_value[c.id] = surfaces.index(c.name) + 1
        self._missing_in_model = tuple(
            [name for name in things if self._detects and name not in model_things]
            + [name for name in surfaces if self._segments and name not in model_surfaces]
        )
        self._missing_in_index = tuple(
            [name for name in model_things if name not in things]
            + [name for name in model_surfaces if name not in surfaces]
        )
        self._unlabelled_things = tuple(name for name in model_things if name not in things)
        self._unlabelled_surfaces = tuple(name for name in model_surfaces if name not in surfaces)
        self._thing_names = tuple(things)
        self._detection = DetectionScorer(things)
        self._surface_names = tuple(surfaces)
        self._segmentation = SegmentationScorer([BACKGROUND_NAME, *surfaces])
        self._boundaries = BoundaryScorer([BACKGROUND_NAME, *surfaces]) if boundaries and self._segments else None
        self._boxes = BoxConfusion(len(things))
        self._frames = 0

    def add(self, image: LabelledImage, prediction: Prediction) -> FrameScore:
        """Scores one frame.

        Raises:
            MayhemError: the mask does not have the labelled image's size.
        """
        detection = segmentation = None
        boxes = np.zeros((len(self._thing_names) + 1,) * 2, np.int64)
        pixels = np.zeros((len(self._surface_names) + 1,) * 2, np.int64)
        if self._detects:
            boxes = self._add_boxes(image, prediction)
            right = int(np.trace(boxes))
            whole = int(boxes[1:].sum() + boxes[:, 1:].sum())  # 2 TP + FP + FN
            detection = 2 * right / whole if whole else 1.0
        if self._segments:
            pixels = self._add_mask(image, prediction)
            iou = [value for value in intersection_over_union(pixels) if value is not None]
            segmentation = float(np.mean(iou)) if iou else None
        self._frames += 1
        parts = [part for part in (detection, segmentation) if part is not None]
        faults = frame_faults(self._thing_names, boxes, self._surface_names, pixels)
        return FrameScore(float(np.mean(parts)) if parts else 1.0, detection, segmentation, faults)

    def compute(self) -> Scores:
        """The scores over every frame added so far."""
        detection = self._detection.compute() if self._detects else None
        segmentation = self._segmentation.compute() if self._segments else None
        if detection is not None:
            not_labelled = {name: ClassAP(None, None, None) for name in self._unlabelled_things}
            detection = replace(detection, per_class={**detection.per_class, **not_labelled})
        if segmentation is not None:
            not_labelled_either = dict.fromkeys(self._unlabelled_surfaces)
            segmentation = replace(
                segmentation,
                iou={**segmentation.iou, **not_labelled_either},
                false_rate={**segmentation.false_rate, **not_labelled_either},
            )
        counts = self._boxes.counts
        points = {
            self._thing_names[label - 1]: OperatingPoint(
                threshold,
                true_positives=int(counts[label, label]),
                false_positives=int(counts[:, label].sum() - counts[label, label]),
                false_negatives=int(counts[label].sum() - counts[label, label]),
            )
            for label, threshold in sorted(self._thresholds.items())
        }
        return Scores(
            frames=self._frames,
            detection=detection,
            operating_points=points if self._detects else {},
            box_confusion=counts.copy() if self._detects else None,
            segmentation=segmentation,
            boundaries=None if self._boundaries is None else self._boundaries.compute(),
            missing_in_model=self._missing_in_model,
            missing_in_index=self._missing_in_index,
        )

    def precision_recall(self, iou: float) -> dict[str, PrecisionRecall]:
        """By class name the curve over all boxes that were published; see `DetectionScorer`."""
        return self._detection.precision_recall(iou) if self._detects else {}

    def _add_boxes(self, image: LabelledImage, prediction: Prediction) -> NDArray[np.int64]:
        """Adds the frame's boxes and returns its matrix of `BoxConfusion` above the thresholds."""
        truth = np.array([label.box for label in image.boxes], np.float64).reshape(-1, 4)
        truth_labels = np.array([self._category_label[label.category_id] for label in image.boxes], np.int64)
        crowd = np.array([label.is_crowd for label in image.boxes], bool)
        boxes = np.zeros((0, 4)) if prediction.boxes is None else np.asarray(prediction.boxes, np.float64)
        scores = np.zeros(0) if prediction.scores is None else np.asarray(prediction.scores, np.float64)
        model_labels = [] if prediction.labels is None else prediction.labels.tolist()
        labels = np.array([self._label.get(label, 0) for label in model_labels], np.int64)
        known = ImageBoxes(truth, truth_labels, crowd, boxes, scores, labels).predicted(labels > 0)
        self._detection.add(image.id, known)
        thresholds = np.array([self._thresholds[int(label)] for label in known.labels])
        return self._boxes.add(known.predicted(known.scores >= thresholds))

    def _add_mask(self, image: LabelledImage, prediction: Prediction) -> NDArray[np.int64]:
        """Adds the frame's mask and returns its confusion matrix, of zeros where nothing is labelled."""
        truth = self._index.mask(image)
        if (truth == UNLABELLED).all():
            return np.zeros((len(self._surface_names) + 1,) * 2, np.int64)
        if prediction.mask is None:
            raise ValueError(f"the prediction of {image.name} holds no mask")
        if prediction.mask.shape != truth.shape:
            height, width = prediction.mask.shape
            raise MayhemError(
                f"{image.name} is {width}x{height} pixels in the recording and {image.width}x{image.height} in the "
                "dataset index: label the frames of this very recording."
            )
        predicted = self._mask_value[prediction.mask]
        if self._boundaries is not None:
            self._boundaries.add(truth, predicted)
        return self._segmentation.add(truth, predicted)
