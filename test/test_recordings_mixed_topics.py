"""Each message of a topic is judged by itself: what strayed onto it takes nothing from the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from mcap.writer import Writer as McapWriter
from recordings_writing import ROS2, START_NS, colour_pixels, image

from mayhem_train.cli import main
from mayhem_train.recordings.inspection import inspect_recording
from mayhem_train.recordings.recording import Recording, Topic

IMAGE, STRING = "sensor_msgs/msg/Image", "std_msgs/msg/String"
STAMPS = [START_NS + index * 10**8 for index in range(6)]
IMAGES = [(IMAGE, image("/cam", stamp, stamp, colour_pixels(i), "rgb8").cdr) for i, stamp in enumerate(STAMPS)]
NOTE = (STRING, bytes(ROS2.serialize_cdr(ROS2.types[STRING](data="a note longer than a header is"), STRING)))
SECRET = ("acme_msgs/msg/Secret", b"\0\1\0\0 of which nobody knows the definition")


def written(path: Path, messages: Sequence[tuple[str, bytes]], definitions: dict[str, bytes] | None = None) -> Path:
    """An MCAP file with messages (type, serialised) on /cam, 100 ms apart."""
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros2")
        channels = {
            kind: writer.register_channel(
                "/cam", "cdr", writer.register_schema(kind, "ros2msg", (definitions or {}).get(kind, b""))
            )
            for kind in dict.fromkeys(kind for kind, _ in messages)
        }
        for index, (kind, data) in enumerate(messages):
            writer.add_message(channels[kind], START_NS + index * 10**8, data, START_NS)
        writer.finish()
    return path


@pytest.mark.parametrize("stray", [NOTE, SECRET], ids=["known", "unknown"])
@pytest.mark.parametrize("at", [0, 3, 6])
def test_a_stray_message_is_the_only_one_without_a_stamp(tmp_path: Path, stray: tuple[str, bytes], at: int) -> None:
    path = written(tmp_path / "drive.mcap", [*IMAGES[:at], stray, *IMAGES[at:]])
    stamps: list[int | None] = [*STAMPS[:at], None, *STAMPS[at:]]
    for _ in range(2):  # the second time some stamps are known from the first
        with Recording(path) as recording:
            assert recording.has_header("/cam")
            assert [recording.frame("/cam", index).stamp_ns for index in range(7)] == stamps
            assert [frame.stamp_ns for frame in recording.frames("/cam")] == stamps
            assert list(recording.stamps_ns(["/cam"])) == [("/cam", stamp) for stamp in stamps]
            assert recording.image_topic(None) == Topic("/cam", IMAGE, 7)
            assert np.array_equal(recording.read_image("/cam", 6 if at < 6 else 5), colour_pixels(5))


@pytest.mark.parametrize("stray", [NOTE, SECRET], ids=["known", "unknown"])
@pytest.mark.parametrize("at", [0, 3, 6])
def test_inspecting_shows_the_images_around_a_stray_message(
    tmp_path: Path, stray: tuple[str, bytes], at: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "drive.mcap", [*IMAGES[:at], stray, *IMAGES[at:]])
    with Recording(path) as recording:
        (topic,) = inspect_recording(recording).topics
    assert (topic.rate_hz, topic.duplicated_stamps, topic.backward_stamps) == (10.0, 0, 0)
    assert (topic.width, topic.height, topic.encoding) == (80, 60, "rgb8")
    capsys.readouterr()
    assert main(["inspect", "--verify", "--json", str(path)]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["verification"]["messages"], report["verification"]["images"]) == (7, 6)
    problems = [problem.partition(" on /cam")[0] for problem in report["problems"]]
    assert "1 of 7 messages" in problems
    assert ("1 messages" in problems) == (stray is SECRET)  # of an unknown type: not checked


def test_images_defined_without_a_header_are_read_and_have_no_stamp(tmp_path: Path) -> None:
    whole = ROS2.generate_msgdef(IMAGE, ros_version=2)[0].encode()
    definition = whole.partition(b"====")[0].replace(b"std_msgs/Header header\n", b"")
    assert definition.startswith(b"uint32 height")
    data = [(IMAGE, cdr[:4] + cdr[4 + 8 + 4 + len("camera") + 1 + 1 :]) for _, cdr in IMAGES]  # padded to four bytes
    with Recording(written(tmp_path / "drive.mcap", data, {IMAGE: definition})) as recording:
        assert not recording.has_header("/cam")
        assert [frame.stamp_ns for frame in recording.frames("/cam")] == [None] * 6
        for index in range(6):
            assert np.array_equal(recording.read_image("/cam", index), colour_pixels(index))
        (topic,) = inspect_recording(recording).topics
        assert (topic.rate_hz, topic.duplicated_stamps) == (10.0, None)


def test_an_index_out_of_an_array_names_the_same_frame(tmp_path: Path) -> None:
    with Recording(written(tmp_path / "drive.mcap", IMAGES)) as recording:
        frame = recording.frame("/cam", np.arange(6)[3])
        assert frame == recording.frame("/cam", 3)
        assert json.dumps(frame.index) == "3"
