"""Synthetic drives are recordings any reader opens, with labels in CVAT's form, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from mayhem_ros.errors import UsageError
from mayhem_train.cli import main
from mayhem_train.recordings.frame import parse_frame_name
from mayhem_train.recordings.warehouse import synthesis
from mayhem_train.recordings.warehouse.cvat import mask_runs
from mayhem_train.recordings.warehouse.frames import DrawnFrame, draw_frame
from mayhem_train.recordings.warehouse.layout import Warehouse, build_warehouse
from mayhem_train.recordings.warehouse.synthesis import SynthesisedDrive, synthesise

FRAMES = 4
SIZE = (160, 120)
SECONDS = 1.3  # half a second before the first picture, three tenths between them, half a second after the last


@pytest.fixture(scope="module", params=["mcap", "db3", "bag"])
def drive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SynthesisedDrive:
    out = tmp_path_factory.mktemp(request.param)
    (only,) = synthesise(
        out, frames=FRAMES, seed=5, drives=1, size=SIZE, storage=request.param, exact_depth=True, workers=1
    )
    return only


@pytest.fixture(scope="module")
def drawn() -> list[DrawnFrame]:
    warehouse = build_warehouse(5, 0, FRAMES)
    return [draw_frame(warehouse, index, *SIZE) for index in range(FRAMES)]


def _reader(recording: Path) -> AnyReader:
    return AnyReader([recording], default_typestore=get_typestore(Stores.ROS2_HUMBLE))


def test_a_recording_has_every_topic_with_its_type_and_count(drive: SynthesisedDrive) -> None:
    with _reader(drive.recording) as reader:
        found = {topic: (info.msgtype, info.msgcount) for topic, info in reader.topics.items()}
    samples = round(SECONDS * 100) + 1
    assert found == {
        "/camera/color/image_raw": ("sensor_msgs/msg/Image", FRAMES),
        "/camera/color/camera_info": ("sensor_msgs/msg/CameraInfo", FRAMES),
        "/camera/depth/image_raw": ("sensor_msgs/msg/Image", FRAMES),
        "/points": ("sensor_msgs/msg/PointCloud2", FRAMES),
        "/imu": ("sensor_msgs/msg/Imu", samples),
        "/odom": ("nav_msgs/msg/Odometry", (samples + 4) // 5),
    }


def test_a_rosbag2_folder_is_named_after_the_recording(drive: SynthesisedDrive) -> None:
    if drive.recording.suffix == ".bag":
        assert drive.recording.is_file()
        return
    (storage,) = (p for p in drive.recording.iterdir() if p.name != "metadata.yaml")
    assert storage.stem == drive.recording.name == drive.name
    assert storage.name in (drive.recording / "metadata.yaml").read_text()


def test_images_are_the_frames_drawn_stamped_a_tenth_of_a_second_apart(
    drive: SynthesisedDrive, drawn: list[DrawnFrame]
) -> None:
    colour, depth = [], []
    with _reader(drive.recording) as reader:
        last_log_time = 0
        for connection, log_time, data in reader.messages():
            assert log_time >= last_log_time
            last_log_time = log_time
            if connection.topic not in ("/camera/color/image_raw", "/camera/depth/image_raw"):
                continue
            message = reader.deserialize(data, connection.msgtype)
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            assert 5e6 < log_time - stamp < 40e6
            assert message.header.frame_id == "camera_color_optical_frame"
            assert (message.width, message.height) == SIZE
            assert message.step * message.height == len(message.data)
            (colour if message.encoding == "rgb8" else depth).append((stamp, message))
    assert {message.encoding for _, message in depth} == {"16UC1"}
    for (stamp, picture), (depth_stamp, distances), frame in zip(colour, depth, drawn, strict=True):
        np.testing.assert_array_equal(picture.data.reshape(*SIZE[::-1], 3), frame.picture)
        millimetres = distances.data.view(np.uint16).reshape(SIZE[::-1])
        assert np.abs(millimetres - 1000 * frame.depth).max() <= 0.5 + 1e-6
        assert 2e6 <= depth_stamp - stamp <= 7e6
    intervals = np.diff([stamp for stamp, _ in colour])
    np.testing.assert_allclose(intervals, 1e8, atol=3e6)


def test_points_lie_where_depth_and_camera_info_put_them(drive: SynthesisedDrive, drawn: list[DrawnFrame]) -> None:
    messages = {}
    with _reader(drive.recording) as reader:
        wanted = [c for c in reader.connections if c.topic in ("/points", "/camera/color/camera_info")]
        for connection, _, data in reader.messages(connections=wanted):
            messages.setdefault(connection.topic, reader.deserialize(data, connection.msgtype))
    cloud, info = messages["/points"], messages["/camera/color/camera_info"]
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "intensity"]
    points = cloud.data.view(np.float32).reshape(-1, 4)
    assert len(points) == cloud.width > 1000
    matrix = np.asarray(getattr(info, "k", getattr(info, "K", None))).reshape(3, 3)
    pixels = points[:, :3] @ matrix.T
    columns, rows = (np.round(pixels[:, axis] / pixels[:, 2]).astype(int) for axis in (0, 1))
    np.testing.assert_allclose(points[:, 2], drawn[0].depth[rows, columns], atol=6e-4)


def test_annotations_decode_to_the_labels_drawn(drive: SynthesisedDrive, drawn: list[DrawnFrame]) -> None:
    root = ElementTree.parse(drive.annotations).getroot()
    assert root.findtext("version") == "1.1"
    assert [e.text for e in root.findall("meta/task/labels/label/name")] == [
        "floor",
        "person",
        "box",
        "agv",
        "forklift",
    ]
    images = root.findall("image")
    assert [parse_frame_name(image.attrib["name"]) for image in images] == [(drive.name, k) for k in range(FRAMES)]
    for image, frame in zip(images, drawn, strict=True):
        boxes = [
            (box.attrib["label"], *(float(box.attrib[k]) for k in ("xtl", "ytl", "xbr", "ybr")))
            for box in image.findall("box")
        ]
        assert boxes == [(thing.label, *thing.box) for thing in frame.labels.things]
        (mask,) = image.findall("mask")
        assert mask.attrib["label"] == "floor"
        left, top, width, height = (int(mask.attrib[key]) for key in ("left", "top", "width", "height"))
        runs = [int(run) for run in mask.attrib["rle"].split(",")]
        window = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        floor = np.zeros(frame.labels.floor.shape, bool)
        floor[top : top + height, left : left + width] = window
        np.testing.assert_array_equal(floor, frame.labels.floor)
        assert image.attrib["width"] == str(SIZE[0])


def test_runs_of_a_mask_that_starts_set_begin_with_zero() -> None:
    assert mask_runs(np.array([[True, True, False], [False, True, False]])) == [0, 2, 2, 1, 1]
    assert mask_runs(np.array([[False, True], [True, True]])) == [1, 3]


def test_compressed_pictures_are_jpegs_of_the_same_frames(tmp_path: Path, drawn: list[DrawnFrame]) -> None:
    (only,) = synthesise(tmp_path, frames=FRAMES, seed=5, drives=1, size=SIZE, compressed=True)
    with _reader(only.recording) as reader:
        assert "/camera/color/image_raw" not in reader.topics
        wanted = [c for c in reader.connections if c.topic == "/camera/color/image_raw/compressed"]
        messages = [reader.deserialize(data, c.msgtype) for c, _, data in reader.messages(connections=wanted)]
    assert [message.format for message in messages] == ["jpeg"] * FRAMES
    for message, frame in zip(messages, drawn, strict=True):
        decoded = cv2.imdecode(message.data, cv2.IMREAD_COLOR)[..., ::-1].astype(int)
        assert np.abs(decoded - frame.picture).mean() < 5


def test_the_command_writes_two_drives_whatever_the_number_of_workers(tmp_path: Path) -> None:
    arguments = ["--frames", "2", "--seed", "9", "--size", "64x64"]
    assert main(["synthesise", str(tmp_path / "a"), *arguments]) == 0
    synthesise(tmp_path / "b", frames=2, seed=9, size=(64, 64), workers=1)
    names = ["warehouse-s9-0", "warehouse-s9-1"]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["annotations", *names]
    for name in names:
        contents = []
        for out in (tmp_path / "a", tmp_path / "b"):
            with _reader(out / name) as reader:
                contents.append([(c.topic, time, bytes(data)) for c, time, data in reader.messages()])
        assert contents[0] == contents[1]
        annotations = [(tmp_path / out / "annotations" / f"{name}.xml").read_bytes() for out in ("a", "b")]
        assert annotations[0] == annotations[1]


def test_nothing_is_overwritten_without_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["synthesise", str(tmp_path), "--frames", "1", "--drives", "1", "--size", "64x64"]
    assert main([*command, "--seed", "1"]) == 0
    storage = tmp_path / "warehouse-s1-0" / "warehouse-s1-0.mcap"
    before = storage.read_bytes()
    storage.write_bytes(b"mine")
    assert main([*command, "--seed", "1"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*command, "--seed", "1", "--format", "bag"]) == 2  # two recordings of one name would be ambiguous
    assert storage.read_bytes() == b"mine"
    assert main([*command, "--seed", "1", "--force"]) == 0
    assert storage.read_bytes() == before
    assert main([*command, "--seed", "1", "--force", "--format", "bag"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["annotations", "warehouse-s1-0.bag"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--frames", "0"], "0 frames"),
        (["--drives", "0"], "0 drives"),
        (["--seed", "-1"], "seed -1"),
        (["--size", "5x5"], "5x5"),
        (["--size", "wide"], "'wide'"),
        (["--format", "avi"], "'avi'"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str], said: str
) -> None:
    assert main(["synthesise", str(tmp_path / "out"), "--frames", "1", "--seed", "1", *wrong]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_fails_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    command = ["synthesise", str(tmp_path / "file" / "out"), "--frames", "1", "--seed", "1", "--size", "64x64"]
    assert main(command) == 1
    assert "Cannot write" in capsys.readouterr().err


@pytest.mark.parametrize("storage", ["mcap", "db3", "bag"])
def test_an_interrupted_drive_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    def interrupted(warehouse: Warehouse, index: int, width: int, height: int) -> DrawnFrame:
        if index == 2:
            raise KeyboardInterrupt
        return draw_frame(warehouse, index, width, height)

    monkeypatch.setattr(synthesis, "draw_frame", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthesise(tmp_path, frames=4, seed=1, drives=1, size=(64, 64), storage=storage)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert [p.name for p in tmp_path.iterdir()] == ["annotations"]


def test_an_unknown_storage_is_refused_by_the_function_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="avi"):
        synthesise(tmp_path, frames=1, seed=1, storage="avi")
