"""Predictions become exactly the messages of the contract, fast enough for every frame."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from mayhem_ros.messages import detections_message, image_message, label_info_message
from mayhem_ros.prediction import Prediction

HEADER = Header(stamp=Time(sec=12, nanosec=345), frame_id="camera")


def test_boxes_become_centres_and_sizes_under_the_source_header():
    prediction = Prediction(
        boxes=np.array([[10, 20, 14.5, 30], [0, 0, 640, 480]], np.float32),
        scores=np.array([0.75, 0.5], np.float32),
        labels=np.array([7, 1], np.int64),
    )
    sent = detections_message(prediction, HEADER, {7: "agv", 1: "person"}.__getitem__)
    message = deserialize_message(serialize_message(sent), Detection2DArray)
    assert message.header == HEADER
    assert [d.header for d in message.detections] == [HEADER, HEADER]
    boxes = [
        (d.bbox.center.position.x, d.bbox.center.position.y, d.bbox.center.theta, d.bbox.size_x, d.bbox.size_y)
        for d in message.detections
    ]
    assert boxes == [(12.25, 25.0, 0.0, 4.5, 10.0), (320.0, 240.0, 0.0, 640.0, 480.0)]
    hypotheses = [[(r.hypothesis.class_id, r.hypothesis.score) for r in d.results] for d in message.detections]
    assert hypotheses == [[("agv", 0.75)], [("person", 0.5)]]


def test_nothing_seen_is_an_empty_array_not_silence():
    nothing = Prediction(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    message = detections_message(nothing, HEADER, str)
    assert (message.header, list(message.detections)) == (HEADER, [])
    with pytest.raises(ValueError, match="no boxes"):
        detections_message(Prediction(), HEADER, str)


@pytest.mark.parametrize(("shape", "encoding", "step"), [((5, 7), "mono8", 7), ((5, 7, 3), "rgb8", 21)])
@pytest.mark.parametrize("contiguous", [True, False])
def test_pixels_become_tight_images(shape, encoding, step, contiguous):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if not contiguous:
        pixels = pixels[::-1, ::-1]
    message = image_message(pixels, HEADER)
    assert (message.header, message.height, message.width) == (HEADER, 5, 7)
    assert (message.encoding, message.step, message.is_bigendian) == (encoding, step, 0)
    assert isinstance(message.data, array)
    assert message.data.tobytes() == pixels.tobytes()


def test_label_infos_list_ids_in_order_with_the_least_threshold():
    message = label_info_message({2: "agv", 1: "person"}, HEADER, [0.5, 0.25])
    assert [(c.class_id, c.class_name) for c in message.class_map] == [(1, "person"), (2, "agv")]
    assert (message.header, message.threshold) == (HEADER, 0.25)
    assert label_info_message({0: "background"}, HEADER).threshold == 0.0
