"""Bags that camera makers' own software records: depth in the units they say, and each stream as what it is."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings_writing import ROS1, header
from rosbags.rosbag1 import Writer

from mayhem_ros.errors import MayhemError
from mayhem_train.cli import main
from mayhem_train.recordings.camera_makers import is_depth_stream
from mayhem_train.recordings.recording import Recording

SENSOR = "/device_0/sensor_0"
DEPTH, INFRARED = f"{SENSOR}/Depth_0/image/data", f"{SENSOR}/Infrared_1/image/data"
PIXELS = np.full((6, 8), 4000, np.uint16)
STAMP_NS = 1_605_862_842_000_000_000


def image_bytes(encoding: str, unit: float | None) -> bytes:
    """An image as RealSense's SDK writes it: new versions append the unit and mark the message with the frame "1"."""
    stamped = header(ROS1, STAMP_NS)
    fields = {**vars(stamped), "frame_id": "" if unit is None else "1"}
    fields.pop("__msgtype__", None)
    message = ROS1.types["sensor_msgs/msg/Image"](
        header=type(stamped)(**fields),
        height=PIXELS.shape[0],
        width=PIXELS.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=PIXELS.strides[0],
        data=np.frombuffer(PIXELS.tobytes(), np.uint8),
    )
    data = bytes(ROS1.serialize_ros1(message, "sensor_msgs/msg/Image"))
    return data if unit is None else data + struct.pack("<f", unit)


def bag(path: Path, messages: list[tuple[str, str, bytes]]) -> Path:
    """Log times count from the bag's own beginning, as the SDK's do."""
    with Writer(path) as writer:
        connections = {}
        for number, (topic, kind, data) in enumerate(messages):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS1)
            writer.write(connections[topic], 1 + number, data)
    return path


def float32(value: float) -> bytes:
    return struct.pack("<f", value)


def key_value(key: str, value: str) -> bytes:
    message = ROS1.types["diagnostic_msgs/msg/KeyValue"](key=key, value=value)
    return bytes(ROS1.serialize_ros1(message, "diagnostic_msgs/msg/KeyValue"))


IMAGE = "sensor_msgs/msg/Image"
FLOAT, KEY_VALUE = "std_msgs/msg/Float32", "diagnostic_msgs/msg/KeyValue"
SAID = {
    "option": [
        (f"{SENSOR}/option/Depth Units/value", FLOAT, float32(0.00025)),
        (DEPTH, IMAGE, image_bytes("mono16", None)),
    ],
    "option that changed": [
        (f"{SENSOR}/option/Depth Units/value", FLOAT, float32(0.00025)),
        (DEPTH, IMAGE, image_bytes("mono16", None)),
        (f"{SENSOR}/option/Depth Units/value", FLOAT, float32(0.01)),
    ],
    "property": [
        (f"{SENSOR}/property", KEY_VALUE, key_value("Exposure", "8500")),
        (f"{SENSOR}/property", KEY_VALUE, key_value("Depth Units", "0.00025")),
        (DEPTH, IMAGE, image_bytes("mono16", None)),
    ],
    "behind each image": [(DEPTH, IMAGE, image_bytes("mono16", 0.00025))],
}


@pytest.mark.parametrize("said", SAID)
def test_depth_is_in_the_unit_that_the_bag_says(tmp_path: Path, said: str) -> None:
    with Recording(bag(tmp_path / "drive.bag", SAID[said])) as recording:
        depth = recording.read_depth(DEPTH, 0)
    assert np.array_equal(depth.pixels, PIXELS)
    assert depth.metres_per_unit == 0.00025


def test_depth_of_a_bag_that_says_nothing_is_in_millimetres(tmp_path: Path) -> None:
    with Recording(bag(tmp_path / "drive.bag", [(DEPTH, IMAGE, image_bytes("mono16", None))])) as recording:
        assert recording.read_depth(DEPTH, 0).metres_per_unit == 0.001


def test_what_another_sensor_says_is_not_of_this_one(tmp_path: Path) -> None:
    other = ("/device_0/sensor_1/option/Depth Units/value", FLOAT, float32(0.00025))
    with Recording(bag(tmp_path / "drive.bag", [other, (DEPTH, IMAGE, image_bytes("mono16", None))])) as recording:
        assert recording.read_depth(DEPTH, 0).metres_per_unit == 0.001


def test_infrared_of_16_bits_is_no_depth(tmp_path: Path) -> None:
    messages = [(DEPTH, IMAGE, image_bytes("mono16", 0.001)), (INFRARED, IMAGE, image_bytes("16UC1", 0.0))]
    with Recording(bag(tmp_path / "drive.bag", messages)) as recording:
        assert [recording.is_depth(recording.topic(name)) for name in (DEPTH, INFRARED)] == [True, False]
        assert recording.read_message(INFRARED, 0).encoding == "mono16"  # though 4 bytes follow the message
        assert recording.read_image(INFRARED, 0).shape == (6, 8, 3)


def test_orbbecs_depth_is_told_by_its_number(tmp_path: Path) -> None:
    topics = ["/cam/sensor_3/frameType_3", "/cam/sensor_1/frameType_1", "/cam/image", "/device_0/sensor_0/Depth_0/info"]
    assert [is_depth_stream(topic) for topic in topics] == [True, False, None, None]
    with Recording(bag(tmp_path / "drive.bag", [(topics[0], IMAGE, image_bytes("Z16", None))])) as recording:
        assert recording.is_depth(recording.topics[0])
        assert np.array_equal(recording.read_depth(topics[0], 0).pixels, PIXELS)


def test_other_bytes_behind_a_message_are_damage(tmp_path: Path) -> None:
    data = image_bytes("mono16", None) + float32(0.00025)  # without the mark
    path = bag(tmp_path / "drive.bag", [(DEPTH, IMAGE, data)])
    with Recording(path) as recording, pytest.raises(MayhemError, match="size mismatch"):
        recording.read_message(DEPTH, 0)


def test_a_message_with_its_unit_behind_it_is_replayed_without(tmp_path: Path) -> None:
    with Recording(bag(tmp_path / "drive.bag", [(DEPTH, IMAGE, image_bytes("mono16", 0.00025))])) as recording:
        (message,) = recording.messages([DEPTH])
    assert message.cdr.endswith(PIXELS.tobytes())


@pytest.mark.parametrize(("form", "value"), [("auto", 4000), ("tiff", 1.0)])
def test_ingest_writes_metres_as_tiff_and_says_the_unit_of_png(
    tmp_path: Path, form: str, value: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bag(tmp_path / "drive.bag", SAID["option"])
    assert main(["ingest", str(path), "--out", str(tmp_path / "out"), "--depth", form]) == 0
    (file,) = (tmp_path / "out" / "drive" / "depth").rglob("drive-*")
    assert set(np.unique(cv2.imread(str(file), cv2.IMREAD_UNCHANGED)).tolist()) == {value}
    (topic,) = json.loads((tmp_path / "out" / "drive" / "ingest.json").read_text())["topics"]
    assert topic["metres_per_unit"] == 0.00025
    assert ("in units of 0.00025 m" in capsys.readouterr().out) == (form == "auto")
