"""Predictions meet labels by class name, and what one side does not know is said, not scored as something else."""

from __future__ import annotations

from dataclasses import replace

import evaluation_small_drive as drive
import numpy as np
import pytest
from robot_small_model import BOXES, LABELS, SCORES, card

from mayhem_ros.errors import MayhemError
from mayhem_ros.model_card import DetectionClass, ModelCard, SegmentationClass
from mayhem_ros.prediction import Prediction
from mayhem_train.datasets.index import Category, DatasetIndex
from mayhem_train.evaluation.metrics.box_matching import match_boxes
from mayhem_train.evaluation.metrics.detection import ClassAP
from mayhem_train.evaluation.scoring.scorer import Scorer, Scores


def prediction(count: int, surface: int = 1) -> Prediction:
    """The first boxes of the small model, and `surface` on the lower half."""
    mask = np.zeros((drive.HEIGHT, drive.WIDTH), np.uint8)
    mask[12:] = surface
    return Prediction(boxes=BOXES[:count], scores=SCORES[:count], labels=LABELS[:count], mask=mask)


def score(model: ModelCard, index: DatasetIndex, surface: int = 1) -> Scores:
    scorer = Scorer(model, index)
    for image in index.images:
        if image.index != drive.CORRUPT:
            scorer.add(image, prediction(drive.SEEN[image.index], surface))
    return scorer.compute()


def test_classes_meet_by_name_whatever_their_numbers() -> None:
    scores = score(card(), drive.labels("drive"))
    assert scores.detection is not None
    assert scores.segmentation is not None
    assert {name: found.ap for name, found in scores.detection.per_class.items()} == pytest.approx(
        {"person": drive.PERSON_AP, "box": drive.BOX_AP, "agv": drive.AGV_AP}
    )
    assert scores.segmentation.iou["floor"] == pytest.approx(drive.FLOOR_IOU)
    assert (scores.frames, scores.missing_in_model, scores.missing_in_index) == (4, (), ())


def test_classes_that_the_model_does_not_know_count_as_undetected_and_are_named() -> None:
    model = replace(
        card(),
        detection_classes=tuple(c for c in card().detection_classes if c.name != "person"),
        segmentation_classes=(SegmentationClass(0, "background"), SegmentationClass(1, "carpet")),
    )
    scorer = Scorer(model, drive.labels("drive"))
    image = drive.labels("drive").images[1]
    scorer.add(image, replace(prediction(1), labels=np.array([2])))
    scores = scorer.compute()
    assert scores.detection is not None
    assert scores.segmentation is not None
    assert scores.missing_in_model == ("person", "floor")
    assert scores.detection.per_class["person"] == ClassAP(0.0, 0.0, 0.0, ap_small=0.0)
    assert scores.segmentation.iou["floor"] == 0.0


def test_classes_that_nothing_labels_are_not_applicable_and_are_named() -> None:
    index = drive.labels("drive")
    unlabelled = replace(
        index,
        categories=tuple(c for c in index.categories if c.name != "person"),
        images=tuple(
            replace(image, boxes=tuple(label for label in image.boxes if label.category_id != drive.PERSON))
            for image in index.images
        ),
    )
    model = replace(card(), segmentation_classes=(*card().segmentation_classes, SegmentationClass(2, "ramp")))
    scores = score(model, unlabelled, surface=2)
    assert scores.detection is not None
    assert scores.segmentation is not None
    assert scores.missing_in_index == ("person", "ramp")
    assert scores.detection.per_class["person"] == ClassAP(None, None, None)
    assert scores.detection.map == pytest.approx((drive.AGV_AP + drive.BOX_AP) / 2)
    # Every pixel of the unlabelled class counts as background: 14 of 24 rows are right.
    assert scores.segmentation.iou == {"background": 14 / 24, "floor": 0.0, "ramp": None}


def test_a_labelled_class_without_objects_is_not_applicable() -> None:
    scores = score(card(), drive.labels("drive", extra=[Category(9, "forklift", True)]))
    assert scores.detection is not None
    assert scores.detection.per_class["forklift"] == ClassAP(None, None, None)
    assert scores.detection.map == pytest.approx(drive.MAP)


@pytest.mark.parametrize(("task", "absent"), [("detection", "segmentation"), ("segmentation", "detection")])
def test_a_task_that_the_model_does_not_have_is_not_scored_at_all(task: str, absent: str) -> None:
    index = drive.labels("drive")
    scorer = Scorer(card(task), index)
    whole = prediction(1)
    scorer.add(index.images[0], Prediction(mask=whole.mask) if task == "segmentation" else replace(whole, mask=None))
    scores = scorer.compute()
    assert getattr(scores, absent) is None
    assert getattr(scores, task) is not None
    assert scores.missing_in_model == ()


def test_a_frames_score_is_the_mean_of_its_boxes_and_its_surfaces() -> None:
    index = drive.labels("drive")
    found = Scorer(card(), index).add(index.images[4], prediction(4))
    surfaces = (drive.FLOOR_IOU + drive.BACKGROUND_IOU) / 2
    assert found.detection == 2 * 2 / (2 * 2 + 0 + 1)  # agv and person; the box is below its threshold
    assert found.segmentation == pytest.approx(surfaces)
    assert found.score == pytest.approx((found.detection + surfaces) / 2)


def test_thresholds_are_each_classs_own() -> None:
    lenient = tuple(DetectionClass(c.id, c.name, 0.1) for c in card().detection_classes)
    points = score(replace(card(), detection_classes=lenient), drive.labels("drive")).operating_points
    counts = {name: (p.true_positives, p.false_positives, p.false_negatives) for name, p in points.items()}
    assert counts == {"person": (2, 1, 0), "box": (1, 0, 0), "agv": (3, 0, 1)}


def test_a_mask_of_another_size_than_the_label_is_refused() -> None:
    index = drive.labels("drive")
    larger = replace(prediction(0), mask=np.zeros((48, 64), np.uint8))
    with pytest.raises(MayhemError, match=r"drive-000000.png is 64x48 pixels in the recording and 32x24 in the"):
        Scorer(card(), index).add(index.images[0], larger)


def test_each_object_is_found_once_and_the_best_box_chooses_first() -> None:
    truth = np.array([[0, 0, 10, 10], [100, 100, 110, 110]], np.float64)
    boxes = np.array([[0, 0, 10, 9], [0, 0, 10, 10], [100, 100, 110, 104]], np.float64)
    matches = match_boxes(boxes, truth, np.array([False, False]))
    assert (matches.right.sum(), matches.wrong.sum(), matches.missed) == (1, 2, 1)


def test_a_box_on_a_crowd_does_not_count() -> None:
    truth = np.array([[0, 0, 100, 100], [200, 200, 210, 210]], np.float64)
    boxes = np.array([[10, 10, 20, 20], [200, 200, 210, 210], [300, 300, 310, 310]], np.float64)
    matches = match_boxes(boxes, truth, np.array([True, False]))
    assert (matches.right.tolist(), matches.wrong.tolist()) == ([False, True, False], [False, False, True])
    assert matches.missed == 0
