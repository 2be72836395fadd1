"""What the model says, as messages other nodes understand."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from geometry_msgs.msg import PoseWithCovariance
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
    VisionClass,
)

from mayhem_ros.prediction import Prediction


def detections_message(prediction: Prediction, header: Header, class_id: Callable[[int], str]) -> Detection2DArray:
    """One Detection2D a box, best score first; an empty array where nothing was seen.

    Args:
        prediction: with boxes; xyxy in source pixels become centre and size in source pixels.
        header: the source image's, given unchanged to the array and to every detection.
        class_id: from a label to what stands in the hypothesis' `class_id`.
    """
    if prediction.boxes is None or prediction.scores is None or prediction.labels is None:
        raise ValueError("the prediction has no boxes")
    boxes, scores, labels = prediction.boxes.tolist(), prediction.scores.tolist(), prediction.labels.tolist()
    return Detection2DArray(
        header=header,
        detections=[
            Detection2D(
                header=header,
                bbox=BoundingBox2D(
                    center=Pose2D(position=Point2D(x=(x1 + x2) / 2, y=(y1 + y2) / 2)), size_x=x2 - x1, size_y=y2 - y1
                ),
                results=[
                    ObjectHypothesisWithPose(
                        hypothesis=ObjectHypothesis(class_id=class_id(label), score=score), pose=_UNKNOWN_POSE
                    )
                ],
            )
            for (x1, y1, x2, y2), score, label in zip(boxes, scores, labels, strict=True)
        ],
    )


def image_message(pixels: NDArray[np.uint8], header: Header) -> Image:
    """uint8 [H, W] as mono8 or uint8 [H, W, 3] RGB as rgb8, rows tight, under the source image's header."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    # rclpy checks every single element of a sequence (60 ms for a colour image), except of an array("B").
    data = array("B")
    data.frombytes(np.ascontiguousarray(pixels).data)
    return Image(
        header=header,
        height=height,
        width=width,
        encoding={1: "mono8", 3: "rgb8"}[channels],
        step=width * channels,
        data=data,
    )


def label_info_message(names: Mapping[int, str], header: Header, thresholds: Iterable[float] = ()) -> LabelInfo:
    """What class ids mean. `threshold` is the least score any class is published with, 0 where none is given."""
    return LabelInfo(
        header=header,
        class_map=[VisionClass(class_id=number, class_name=name) for number, name in sorted(names.items())],
        threshold=float(min(thresholds, default=0.0)),
    )


_UNKNOWN_POSE = PoseWithCovariance()  # one for all: making it is half the cost of a detection
