"""How well a network does on a split, in float32 and in the recordings' pixels, as a replay scores its export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mayhem_train.datasets.samples import Batch
from mayhem_train.evaluation.metrics.detection import DetectionScorer
from mayhem_train.evaluation.metrics.image_boxes import ImageBoxes
from mayhem_train.evaluation.metrics.score_thresholds import ScoreThresholdChooser
from mayhem_train.evaluation.metrics.segmentation import SegmentationScorer
from mayhem_train.models.network import MultiTaskNetwork
from mayhem_train.models.segmentation import most_likely


@dataclass(frozen=True)
class ValidationScores:
    """What validation says of a network.

    Attributes:
        values: by metric name, None ("n/a") where the split has no ground truth for it.
        score: the mean of the headline metrics (COCO mAP, mean IoU), by which the best checkpoint is chosen.
        thresholds: by detection class the score from which a box is worth publishing.
    """

    values: dict[str, float | None]
    score: float
    thresholds: dict[str, float]

    @property
    def known(self) -> dict[str, float]:
        """The metrics that have ground truth, and the score."""
        return {**{name: value for name, value in self.values.items() if value is not None}, "score": self.score}


class Validation:
    """Collects one validation, batch by batch; a new one takes a new collector.

    Args:
        network: whose predictions are to come.
    """

    def __init__(self, network: MultiTaskNetwork):
        self._network = network
        specification = network.specification
        self._detections = DetectionScorer(specification.detection_classes)
        self._thresholds = ScoreThresholdChooser(specification.detection_classes)
        self._surfaces = SegmentationScorer(("background", *specification.segmentation_classes))

    def add(self, batch: Batch, predictions: Mapping[str, Any]) -> None:
        """Scores one batch by the network's raw predictions (float32) for it."""
        if "detection" in predictions:
            self._add_boxes(batch, predictions["detection"])
        if "segmentation" in predictions:
            for logits, truth in zip(predictions["segmentation"], batch.source_masks, strict=True):
                mask, _ = most_likely(logits[None], *truth.shape)
                self._surfaces.add(truth.numpy(), mask[0].cpu().numpy())

    def compute(self) -> ValidationScores:
        """The metrics over everything added so far."""
        found: dict[str, float | None] = {}
        thresholds = {}
        if "detection" in self._network.tasks:
            boxes = self._detections.compute()
            found |= {"map": boxes.map, "ap50": boxes.ap50, "ap75": boxes.ap75}
            found |= {f"ap50/{name}": scores.ap50 for name, scores in boxes.per_class.items()}
            thresholds = self._thresholds.compute()
        if "segmentation" in self._network.tasks:
            surfaces = self._surfaces.compute()
            shown = dict(zip(surfaces.iou, surfaces.confusion.sum(axis=1) > 0, strict=True))
            # With background alone, calling everything background would be perfect.
            judged = any(there for name, there in shown.items() if name != "background")
            found |= {"mean_iou": surfaces.mean_iou if judged else None}
            found |= {f"iou/{name}": iou if shown[name] else None for name, iou in surfaces.iou.items()}
            found |= {f"false_rate/{name}": r for name, r in surfaces.false_rate.items()}
        headlines = [value for name in ("map", "mean_iou") if (value := found.get(name)) is not None]
        return ValidationScores(found, float(np.mean(headlines)) if headlines else 0.0, thresholds)

    def _add_boxes(self, batch: Batch, predictions: Any) -> None:
        found = self._network.heads["detection"].detect(predictions)  # type: ignore[operator]
        specification = self._network.specification
        for place, image_id in enumerate(batch.image_ids):
            height, width = batch.source_sizes[place]
            count = int(found.counts[place])
            sides = np.array([width, height, width, height], np.float32)
            boxes = found.boxes[place, :count].cpu().numpy() * sides
            scores = found.scores[place, :count].cpu().numpy()
            labels = found.labels[place, :count].cpu().numpy()
            network_sides = np.array([specification.width, specification.height] * 2, np.float32)
            objects, crowds = batch.boxes[place], batch.crowd_boxes[place]
            truth = torch.cat([objects, crowds]).cpu().numpy() / network_sides * sides
            truth_labels = torch.cat([batch.labels[place], batch.crowd_labels[place]]).cpu().numpy()
            crowd = np.arange(len(truth)) >= len(objects)
            image = ImageBoxes(truth, truth_labels, crowd, boxes, scores, labels)
            self._detections.add(int(image_id), image)
            self._thresholds.add(image)
