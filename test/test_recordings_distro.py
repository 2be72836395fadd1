"""Recordings without definitions of their types are read with those of the distribution that is named."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from mcap.writer import Writer as McapWriter
from recordings_writing import ROS1, ROS2, START_NS, colour_pixels, header, image, write
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.cli import main
from mayhem_train.recordings.recording import Recording, Topic

HUMBLE = get_typestore(Stores.ROS2_HUMBLE)
RANGE = "sensor_msgs/msg/Range"  # has had a variance since Iron


def range_message(types: Typestore, **fields: float) -> object:
    return types.types[RANGE](
        header=header(types, START_NS),
        radiation_type=1,
        field_of_view=0.5,
        min_range=0.25,
        max_range=4.0,
        range=1.5,
        **fields,
    )


def without_definitions(folder: Path, types: Typestore, message: object, kind: str = RANGE) -> Path:
    """A bare .db3 as rosbag2 wrote them before Iron."""
    path = folder / "old.db3"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, "
            "serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL)"
        )
        database.execute(
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL, "
            "data BLOB NOT NULL)"
        )
        database.execute("CREATE INDEX timestamp_idx ON messages (timestamp ASC)")
        database.execute("INSERT INTO topics VALUES (1, '/range', ?, 'cdr', '')", (kind,))
        data = bytes(types.serialize_cdr(message, RANGE))
        database.execute("INSERT INTO messages VALUES (1, 1, ?, ?)", (START_NS, data))
    database.close()
    return path


@pytest.mark.parametrize("name", ["humble", "ros2_humble", "Humble", "galactic"])
def test_an_old_recording_is_read_with_its_distributions_definitions(tmp_path: Path, name: str) -> None:
    path = without_definitions(tmp_path, HUMBLE, range_message(HUMBLE))
    with Recording(path, distro=name) as recording:
        assert recording.read_message("/range", 0).range == 1.5
        assert not hasattr(recording.read_message("/range", 0), "variance")
        copy = pickle.loads(pickle.dumps(recording))
        assert copy.read_message("/range", 0).max_range == 4.0
        assert recording.frame("/range", 0).stamp_ns == START_NS


def test_without_a_distribution_it_is_the_one_in_support(tmp_path: Path) -> None:
    path = without_definitions(tmp_path, ROS2, range_message(ROS2, variance=0.125))
    with Recording(path) as recording:
        assert recording.read_message("/range", 0).variance == 0.125


def test_another_distributions_message_says_to_name_the_distribution(tmp_path: Path) -> None:
    path = without_definitions(tmp_path, HUMBLE, range_message(HUMBLE))
    with Recording(path) as recording, pytest.raises(MayhemError, match=r"no sensor_msgs/msg/Range .*with --distro"):
        recording.read_message("/range", 0)


def test_an_unknown_type_says_to_name_the_distribution(tmp_path: Path) -> None:
    path = without_definitions(tmp_path, HUMBLE, range_message(HUMBLE), "acme_msgs/msg/Secret")
    with Recording(path) as recording, pytest.raises(MayhemError, match=r"acme_msgs/msg/Secret.* unknown.*--distro"):
        recording.read_message("/range", 0)


def test_the_recordings_own_definitions_come_first(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros2")
        definition = ROS2.generate_msgdef(RANGE, ros_version=2)[0].encode()
        channel = writer.register_channel("/range", "cdr", writer.register_schema(RANGE, "ros2msg", definition))
        data = bytes(ROS2.serialize_cdr(range_message(ROS2, variance=0.125), RANGE))
        writer.add_message(channel, START_NS, data, START_NS)
        writer.finish()
    with Recording(path, distro="humble") as recording:
        assert recording.read_message("/range", 0).variance == 0.125


def test_the_distribution_of_the_other_ros_leaves_a_recording_as_it_is(tmp_path: Path) -> None:
    message = image("/cam", START_NS, START_NS, colour_pixels(0), "rgb8")
    for form, name in (("bag", "humble"), ("mcap", "noetic"), ("bag", "noetic")):
        path = write(tmp_path, f"{form}-{name}", form, [message])
        with Recording(path, distro=name) as recording:
            assert recording.read_image("/cam", 0).tolist() == colour_pixels(0).tolist()


def test_an_mcap_of_ros_1_without_definitions_is_read_with_noetics(tmp_path: Path) -> None:
    message = image("/cam", START_NS, START_NS + 5, colour_pixels(0), "rgb8")
    path = tmp_path / "drive.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros1")
        channel = writer.register_channel("/cam", "ros1", writer.register_schema("sensor_msgs/Image", "", b""))
        data = bytes(ROS1.serialize_ros1(message.make(ROS1), message.type))
        writer.add_message(channel, START_NS, data, START_NS)
        writer.finish()
    for distro in (None, "noetic"):
        with Recording(path, distro=distro) as recording:
            assert recording.image_topic(None).type == "sensor_msgs/msg/Image"
            assert recording.frame("/cam", 0).stamp_ns == START_NS + 5
            assert recording.read_image("/cam", 0).tolist() == colour_pixels(0).tolist()
            assert [m.cdr for m in recording.messages()] == [message.cdr]


def test_an_mcap_of_ros_1_with_its_own_definitions_becomes_ros_2_where_the_types_differ(tmp_path: Path) -> None:
    kind = "sensor_msgs/msg/CameraInfo"  # D, K, R and P of ROS 1 are d, k, r and p of ROS 2
    region = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False}
    numbers = {"D": np.arange(5.0), "K": np.arange(9.0), "R": np.eye(3).ravel(), "P": np.arange(12.0)}

    def make(types: Typestore, fields: dict[str, np.ndarray]) -> object:
        roi = types.types["sensor_msgs/msg/RegionOfInterest"](**region)
        size = {"height": 480, "width": 640, "distortion_model": "plumb_bob", "binning_x": 0, "binning_y": 0}
        return types.types[kind](header=header(types, START_NS), roi=roi, **size, **fields)

    path = tmp_path / "drive.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros1")
        definition = ROS1.generate_msgdef(kind, ros_version=1)[0].encode()
        schema = writer.register_schema("sensor_msgs/CameraInfo", "ros1msg", definition)
        channel = writer.register_channel("/camera_info", "ros1", schema)
        data = bytes(ROS1.serialize_ros1(make(ROS1, numbers), kind))
        writer.add_message(channel, START_NS, data, START_NS)
        writer.finish()
    lower = {name.lower(): value for name, value in numbers.items()}
    with Recording(path) as recording:
        assert recording.topics == (Topic("/camera_info", kind, 1),)
        assert recording.read_message("/camera_info", 0).K.tolist() == numbers["K"].tolist()
        assert [m.cdr for m in recording.messages()] == [bytes(ROS2.serialize_cdr(make(ROS2, lower), kind))]


def test_an_unknown_distribution_is_answered_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = without_definitions(tmp_path, HUMBLE, range_message(HUMBLE))
    with pytest.raises(UsageError, match=r"'hmble': choose one of noetic, dashing, .*, humble, iron, jazzy"):
        Recording(path, distro="hmble")
    assert main(["inspect", "--distro", "hmble", str(path)]) == 2
    assert "'hmble'" in capsys.readouterr().err
    assert main(["inspect", "--distro", "humble", str(path)]) == 0
    assert "Problem" not in capsys.readouterr().out
