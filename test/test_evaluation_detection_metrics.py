"""Box metrics agree with pycocotools, and what has no ground truth is "n/a"."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mayhem_train.evaluation.metrics.detection import ClassAP, DetectionScorer
from mayhem_train.evaluation.metrics.image_boxes import ImageBoxes

NAMES = ("person", "box", "agv")
NOTHING = ([], [], [])


def image_boxes(truth, truth_labels, crowd, boxes, scores, labels) -> ImageBoxes:
    """From lists or arrays."""
    return ImageBoxes(
        np.array(truth, float).reshape(-1, 4),
        np.array(truth_labels, np.int64),
        np.array(crowd, bool),
        np.array(boxes, float).reshape(-1, 4),
        np.array(scores, float),
        np.array(labels, np.int64),
    )


def random_images(seed: int, count: int, classes: int = 3) -> list[tuple]:
    """Truths and noisy predictions of `count` images, among them empty ones and crowds."""
    random = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        truths = int(random.integers(0, 6))
        corners = random.uniform(0, 400, (truths, 2))
        truth_boxes = np.hstack([corners, corners + random.uniform(8, 150, (truths, 2))])
        truth_labels = random.integers(1, classes + 1, truths)
        crowd = random.random(truths) < 0.15
        found = random.random(truths) < 0.8
        guesses = int(random.integers(0, 4))
        guess_corners = random.uniform(0, 400, (guesses, 2))
        boxes = np.vstack(
            [
                truth_boxes[found] + random.normal(0, 6, (int(found.sum()), 4)),
                np.hstack([guess_corners, guess_corners + random.uniform(8, 150, (guesses, 2))]),
            ]
        )
        labels = np.concatenate([truth_labels[found], random.integers(1, classes + 1, guesses)])
        images.append((truth_boxes, truth_labels, crowd, boxes, random.random(len(labels)), labels))
    return images


def pycocotools_precision(images: list[tuple], classes: int) -> np.ndarray:
    """[IoU threshold, recall, class, area] at areas "all", "small", "medium" and "large", 100 detections."""
    truth, predictions = [], []
    for image_id, (truth_boxes, truth_labels, crowd, boxes, scores, labels) in enumerate(images, start=1):
        for box, label, is_crowd in zip(truth_boxes, truth_labels, crowd, strict=True):
            x1, y1, x2, y2 = (float(v) for v in box)
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image_id,
                    "category_id": int(label),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(is_crowd),
                }
            )
        for box, score, label in zip(boxes, scores, labels, strict=True):
            x1, y1, x2, y2 = (float(v) for v in box)
            predictions.append(
                {
                    "image_id": image_id,
                    "category_id": int(label),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": float(score),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in range(1, len(images) + 1)],
            "categories": [{"id": k, "name": str(k)} for k in range(1, classes + 1)],
            "annotations": truth,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(predictions), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., -1]


def mean(values: np.ndarray) -> float | None:
    counted = values[values > -1]
    return float(counted.mean()) if counted.size else None


@pytest.mark.parametrize("seed", range(5))
def test_every_figure_equals_that_of_pycocotools(seed: int) -> None:
    images = random_images(seed, 40)
    scorer = DetectionScorer(NAMES)
    for image_id, image in enumerate(images, start=1):
        scorer.add(image_id, image_boxes(*image))
    metrics = scorer.compute()
    by_area = pycocotools_precision(images, 3)
    precision = by_area[..., 0]
    assert metrics.map == pytest.approx(mean(precision), abs=1e-12)
    assert metrics.ap50 == pytest.approx(mean(precision[0]), abs=1e-12)
    assert metrics.ap75 == pytest.approx(mean(precision[5]), abs=1e-12)
    for k, name in enumerate(NAMES):
        expected = (mean(precision[:, :, k]), mean(precision[0, :, k]), mean(precision[5, :, k]))
        found = metrics.per_class[name]
        assert (found.ap, found.ap50, found.ap75) == pytest.approx(expected, abs=1e-12)
        sizes = tuple(mean(by_area[:, :, k, area]) for area in (1, 2, 3))
        assert (found.ap_small, found.ap_medium, found.ap_large) == pytest.approx(sizes, abs=1e-12)
    sizes = tuple(mean(by_area[..., area]) for area in (1, 2, 3))
    assert (metrics.ap_small, metrics.ap_medium, metrics.ap_large) == pytest.approx(sizes, abs=1e-12)


@pytest.mark.parametrize("iou", [0.5, 0.75])
def test_the_curves_are_those_that_pycocotools_averages(iou: float) -> None:
    images = random_images(3, 40)
    scorer = DetectionScorer((*NAMES, "forklift"))
    for image_id, image in enumerate(images, start=1):
        scorer.add(image_id, image_boxes(*image))
    curves = scorer.precision_recall(iou)
    precision = pycocotools_precision(images, 3)[{0.5: 0, 0.75: 5}[iou], :, :, 0]
    assert set(curves) == set(NAMES), "a class without ground truth has no curve"
    for k, name in enumerate(NAMES):
        assert curves[name].precision == pytest.approx(precision[:, k], abs=1e-12)
        assert curves[name].average == pytest.approx(mean(precision[:, k]), abs=1e-12)


def test_a_size_is_judged_by_its_own_objects_only() -> None:
    scorer = DetectionScorer(["person"])
    small, large = [0, 0, 31, 31], [100, 100, 300, 300]
    scorer.add(1, image_boxes([small, large], [1, 1], [False, False], [large], [0.9], [1]))
    found = scorer.compute().per_class["person"]
    assert (found.ap_small, found.ap_medium, found.ap_large) == (0.0, None, 1.0)


def test_computing_twice_and_in_between_does_not_change_the_figures() -> None:
    images = random_images(7, 10)
    once, often = DetectionScorer(NAMES), DetectionScorer(NAMES)
    for image_id, image in enumerate(images):
        once.add(image_id, image_boxes(*image))
        often.add(image_id, image_boxes(*image))
        often.compute()
    assert often.compute() == once.compute() == once.compute()


def test_a_class_without_ground_truth_is_not_applicable_and_leaves_the_mean_alone() -> None:
    scorer = DetectionScorer(NAMES)
    scorer.add(1, image_boxes([[0, 0, 10, 10]], [1], [False], [[0, 0, 10, 10], [50, 50, 60, 60]], [0.9, 0.8], [1, 3]))
    metrics = scorer.compute()
    assert metrics.per_class == {
        "person": ClassAP(1.0, 1.0, 1.0, ap_small=1.0),
        "box": ClassAP(None, None, None),
        "agv": ClassAP(None, None, None),
    }
    assert (metrics.map, metrics.ap50, metrics.ap75) == (1.0, 1.0, 1.0)


def test_a_labelled_class_that_is_never_detected_scores_zero() -> None:
    scorer = DetectionScorer(["person"])
    scorer.add(1, image_boxes([[0, 0, 10, 10]], [1], [False], *NOTHING))
    assert scorer.compute().per_class == {"person": ClassAP(0.0, 0.0, 0.0, ap_small=0.0)}


def test_predictions_on_images_without_labels_cost_precision() -> None:
    scorer = DetectionScorer(["person"])
    scorer.add(1, image_boxes(*NOTHING, [[5, 5, 20, 20]], [0.95], [1]))
    scorer.add(2, image_boxes([[0, 0, 10, 10]], [1], [False], [[0, 0, 10, 10]], [0.9], [1]))
    assert scorer.compute().ap50 == pytest.approx(0.5, abs=1e-12)


def test_without_any_label_or_without_any_image_nothing_is_applicable() -> None:
    scorer = DetectionScorer(["person"])
    assert scorer.compute().map is None
    scorer.add(1, image_boxes(*NOTHING, *NOTHING))
    assert scorer.compute().map is None
    scorer.add(2, image_boxes(*NOTHING, [[5, 5, 20, 20]], [0.95], [1]))
    metrics = scorer.compute()
    assert (metrics.map, metrics.per_class) == (None, {"person": ClassAP(None, None, None)})


def test_a_box_on_a_crowd_is_neither_right_nor_wrong() -> None:
    scorer = DetectionScorer(["person"])
    boxes = [[100, 100, 150, 150], [0, 0, 10, 10]]
    scorer.add(1, image_boxes([[0, 0, 10, 10], [90, 90, 300, 300]], [1, 1], [False, True], boxes, [0.9, 0.8], [1, 1]))
    assert scorer.compute().ap50 == 1.0


def test_the_same_image_twice_and_unknown_labels_are_refused() -> None:
    scorer = DetectionScorer(["person"])
    scorer.add(1, image_boxes(*NOTHING, *NOTHING))
    with pytest.raises(ValueError, match="image 1 was added before"):
        scorer.add(1, image_boxes(*NOTHING, *NOTHING))
    with pytest.raises(ValueError, match="label 2 is none of the 1 classes"):
        scorer.add(2, image_boxes(*NOTHING, [[0, 0, 1, 1]], [0.5], [2]))
