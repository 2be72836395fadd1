"""`mayhem ingest` writes what a recording holds, pairs it by stamp, and says what it could not do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from ingest_messages import (
    COLOUR,
    DEPTH,
    IMU,
    INFO,
    ODOM,
    POINTS,
    all_bytes,
    imu_message,
    info_message,
    odometry_message,
    pose_message,
    read_pcd,
    read_table,
    transforms_message,
    xyz_cloud,
)
from mcap.writer import Writer as McapWriter
from plyfile import PlyData
from pyarrow import csv, parquet
from recordings_writing import ROS2, START_NS, Written, colour_pixels, image, write

from mayhem_train.cli import main
from mayhem_train.recordings.ingest.places import topic_place
from mayhem_train.recordings.recording import Recording
from mayhem_train.recordings.warehouse.synthesis import synthesise

DATA = Path(os.environ.get("MAYHEM_DATA", Path(__file__).parents[2] / "shared" / "data"))
MS = 1_000_000


def at(milliseconds: float) -> int:
    return START_NS + round(milliseconds * MS)


def picture(milliseconds: float, topic: str = COLOUR, log: float | None = None, stamp: int | None = None) -> Written:
    """A tiny colour image, logged 8 ms after its stamp unless said otherwise."""
    stamp = at(milliseconds) if stamp is None else stamp
    return image(topic, at(milliseconds + 8 if log is None else log), stamp, colour_pixels(1, 6, 8), "rgb8")


def depth(milliseconds: float, topic: str = DEPTH, log: float | None = None) -> Written:
    log_time = at(milliseconds + 20 if log is None else log)
    return image(topic, log_time, at(milliseconds), np.full((6, 8), 1234, np.uint16), "16UC1")


def ingest(tmp_path: Path, messages: Sequence[Written], *arguments: str, form: str = "mcap") -> Path:
    tmp_path.mkdir(exist_ok=True)
    path = write(tmp_path, "drive", form, messages)
    assert main(["ingest", str(path), "--out", str(tmp_path / "out"), *arguments]) == 0
    return tmp_path / "out" / "drive"


def manifest(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "ingest.json").read_text()))


def topic_of(folder: Path, name: str) -> dict[str, Any]:
    (entry,) = [entry for entry in manifest(folder)["topics"] if entry["topic"] == name]
    return dict(entry)


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two synthetic drives, small: warehouse-s3-0 and -1."""
    folder = tmp_path_factory.mktemp("drives")
    synthesise(folder, frames=12, seed=3, drives=2, size=(160, 120))
    return folder


# What is written


def test_a_drive_becomes_these_files(drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", str(drives / "warehouse-s3-0"), "--out", str(tmp_path)]) == 0
    files = set(all_bytes(tmp_path))
    stem = "warehouse-s3-0"
    images = {
        f"{stem}/{place}/{stem}-{k:06d}.{suffix}"
        for place, suffix in (
            ("colour/camera-color-image_raw", "png"),
            ("depth/camera-depth-image_raw", "png"),
            ("clouds/points", "pcd"),
        )
        for k in range(12)
    }
    tables = {"imu/imu.csv", "poses/odom.csv", "camera_info/camera-color-camera_info.yaml", "frames.csv", "ingest.json"}
    assert files == images | {f"{stem}/{name}" for name in tables}
    assert capsys.readouterr().out == (
        f"{tmp_path / stem}: 12 camera info, 12 colour, 12 depth, {count(drives, '/imu')} imu, "
        f"{count(drives, '/odom')} poses, 12 clouds, 12 rows in the table\n"
    )


def count(drives: Path, topic: str) -> int:
    with Recording(drives / "warehouse-s3-0") as recording:
        return recording.topic(topic).count


def test_every_value_of_a_drive_is_the_recorded_one(drives: Path, tmp_path: Path) -> None:
    """In the other forms than the default ones; all messages are compared with what the recording says."""
    arguments = ["--clouds", "ply", "--imu", "parquet", "--poses", "parquet", "--camera-info", "json"]
    assert main(["ingest", str(drives / "warehouse-s3-1"), "--out", str(tmp_path), *arguments]) == 0
    folder = tmp_path / "warehouse-s3-1"
    imu = parquet.read_table(folder / "imu" / "imu.parquet").to_pylist()
    poses = parquet.read_table(folder / "poses" / "odom.parquet").to_pylist()
    with Recording(drives / "warehouse-s3-1") as recording:
        for index in range(12):
            name = f"warehouse-s3-1-{index:06d}"
            colour = cv2.imread(str(folder / "colour" / "camera-color-image_raw" / f"{name}.png"))
            assert colour is not None
            assert np.array_equal(colour[..., ::-1], recording.read_image("/camera/color/image_raw", index))
            millimetres = cv2.imread(
                str(folder / "depth" / "camera-depth-image_raw" / f"{name}.png"), cv2.IMREAD_UNCHANGED
            )
            assert np.array_equal(millimetres, recording.read_depth("/camera/depth/image_raw", index).pixels)
            cloud = PlyData.read(folder / "clouds" / "points" / f"{name}.ply")["vertex"].data
            points = recording.read_message("/points", index).data.view(np.float32).reshape(-1, 4)
            assert cloud.dtype.names == ("x", "y", "z", "intensity")
            assert np.array_equal(cloud.view(np.float32).reshape(-1, 4), points)
        assert [row["index"] for row in imu] == list(range(recording.topic("/imu").count))
        for row in imu:
            message = recording.read_message("/imu", row["index"])
            frame = recording.frame("/imu", row["index"])
            assert (row["stamp_ns"], row["log_time_ns"]) == (frame.stamp_ns, frame.log_time_ns)
            for kind in ("angular_velocity", "linear_acceleration"):
                vector = getattr(message, kind)
                assert [row[f"{kind}_{axis}"] for axis in "xyz"] == [vector.x, vector.y, vector.z]
            q = message.orientation
            assert [row[f"orientation_{axis}"] for axis in "xyzw"] == [q.x, q.y, q.z, q.w]
        assert [row["index"] for row in poses] == list(range(recording.topic("/odom").count))
        for row in poses:
            message = recording.read_message("/odom", row["index"])
            p, q, twist = message.pose.pose.position, message.pose.pose.orientation, message.twist.twist
            values = [p.x, p.y, p.z, q.x, q.y, q.z, q.w]
            values += [getattr(part, axis) for part in (twist.linear, twist.angular) for axis in "xyz"]
            columns = ("x", "y", "z", "qx", "qy", "qz", "qw", "vx", "vy", "vz", "wx", "wy", "wz")
            assert [row[name] for name in columns] == values
            assert (row["frame_id"], row["child_frame_id"]) == ("odom", "base_link")
            assert row["stamp_ns"] == recording.frame("/odom", row["index"]).stamp_ns
        info = recording.read_message("/camera/color/camera_info", 0)
    calibration = json.loads((folder / "camera_info" / "camera-color-camera_info.json").read_text())
    assert calibration["camera_matrix"] == {"rows": 3, "cols": 3, "data": info.k.tolist()}


def test_csv_and_parquet_hold_the_same_numbers(drives: Path, tmp_path: Path) -> None:
    path = str(drives / "warehouse-s3-0")
    assert main(["ingest", path, "--out", str(tmp_path / "csv"), "--colour", "none", "--depth", "none"]) == 0
    forms = ["--imu", "parquet", "--poses", "parquet", "--table", "parquet", "--colour", "none", "--depth", "none"]
    assert main(["ingest", path, "--out", str(tmp_path / "parquet"), *forms]) == 0
    for name in ("imu/imu", "poses/odom", "frames"):
        as_csv = csv.read_csv(tmp_path / "csv" / "warehouse-s3-0" / f"{name}.csv")
        as_parquet = parquet.read_table(tmp_path / "parquet" / "warehouse-s3-0" / f"{name}.parquet")
        for row, other in zip(as_csv.to_pylist(), as_parquet.to_pylist(), strict=True):
            found = {key: value or None if isinstance(value, str) else value for key, value in row.items()}
            expected = {key: v.replace(".parquet", ".csv") if isinstance(v, str) else v for key, v in other.items()}
            assert found == expected


def test_only_the_topics_asked_for_are_written(drives: Path, tmp_path: Path) -> None:
    topics = ["/camera/color/image_raw", "/odom"]
    assert main(["ingest", str(drives / "warehouse-s3-0"), "--out", str(tmp_path), "--topics", *topics]) == 0
    assert {name.split("/")[1] for name in all_bytes(tmp_path)} == {"colour", "poses", "frames.csv", "ingest.json"}


def test_the_table_pairs_what_is_not_extracted_too(
    drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames may stay in the recording: the table then names messages by topic and index, and no files."""
    path, none = str(drives / "warehouse-s3-0"), ["--colour", "--depth", "--clouds", "--imu", "--poses"]
    assert main(["ingest", path, "--out", str(tmp_path / "all")]) == 0
    options = [word for option in none for word in (option, "none")]
    assert main(["ingest", path, "--out", str(tmp_path / "table"), *options, "--camera-info", "none"]) == 0
    folder = tmp_path / "table" / "warehouse-s3-0"
    assert set(all_bytes(folder)) == {"frames.csv", "ingest.json"}
    assert capsys.readouterr().out.splitlines()[-1] == f"{folder}: 12 rows in the table"
    for found, full in zip(
        read_table(folder / "frames.csv"), read_table(tmp_path / "all" / "warehouse-s3-0" / "frames.csv"), strict=True
    ):
        assert found == {key: "" if key.endswith("file") else value for key, value in full.items()}


def test_calibrations_are_written_as_ros_reads_them(tmp_path: Path) -> None:
    for form in ("mcap", "bag"):
        folder = ingest(tmp_path / form, [info_message(INFO, at(k), 50.0) for k in range(3)], form=form)
        assert set(all_bytes(folder)) == {"camera_info/cam-info.yaml", "ingest.json"}
        calibration = yaml.safe_load((folder / "camera_info" / "cam-info.yaml").read_text())
        assert calibration == {
            "image_width": 80,
            "image_height": 60,
            "camera_name": "camera",
            "camera_matrix": {"rows": 3, "cols": 3, "data": [50.0, 0, 40, 0, 50, 30, 0, 0, 1]},
            "distortion_model": "plumb_bob",
            "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.1, -0.2, 0, 0, 0.05]},
            "rectification_matrix": {"rows": 3, "cols": 3, "data": [1, 0, 0, 0, 1, 0, 0, 0, 1]},
            "projection_matrix": {"rows": 3, "cols": 4, "data": [50.0, 0, 40, 0, 0, 50, 30, 0, 0, 0, 1, 0]},
            "binning_x": 2,
            "binning_y": 0,
            "roi": {"x_offset": 1, "y_offset": 2, "height": 3, "width": 4, "do_rectify": True},
        }


def test_every_calibration_of_a_drive_is_kept_with_its_first_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ingest(tmp_path, [info_message(INFO, at(k), f) for k, f in enumerate([50.0, 50.0, 60.0, 50.0, 70.0])])
    assert topic_of(folder, INFO)["calibrations"] == [
        {"file": "camera_info/cam-info.yaml", "first_index": 0, "messages": 3},
        {"file": "camera_info/cam-info.000002.yaml", "first_index": 2, "messages": 1},
        {"file": "camera_info/cam-info.000004.yaml", "first_index": 4, "messages": 1},
    ]
    focals = [
        yaml.safe_load((folder / entry["file"]).read_text())["camera_matrix"]["data"][0]
        for entry in topic_of(folder, INFO)["calibrations"]
    ]
    assert focals == [50.0, 60.0, 70.0]
    assert "The calibration on /cam/info changes: there are 3 of it." in capsys.readouterr().out


def test_poses_of_every_type_become_rows(tmp_path: Path) -> None:
    kinds = ("PoseStamped", "PoseWithCovarianceStamped", "TransformStamped", "Pose")
    messages = [
        pose_message(f"/{kind}", f"geometry_msgs/msg/{kind}", at(k * 10 + 5), at(k * 10), k / 3)
        for k in range(3)
        for kind in kinds
    ]
    messages += [
        transforms_message("/tf", at(k * 10), [(at(k), "a", 1.0 + k), (at(k), "b", 2.0 + k)]) for k in range(2)
    ]
    folder = ingest(tmp_path, messages)
    for kind in kinds:
        rows = read_table(folder / "poses" / f"{kind}.csv")
        assert [(int(row["index"]), float(row["x"]), float(row["y"])) for row in rows] == [
            (k, k / 3, -k / 3) for k in range(3)
        ]
        assert {(row["qz"], row["qw"], row["vx"]) for row in rows} == {("0.6", "0.8", "")}
        assert [row["stamp_ns"] for row in rows] == ["" if kind == "Pose" else str(at(k * 10)) for k in range(3)]
        assert {row["frame_id"] for row in rows} == {"" if kind == "Pose" else "camera"}
    rows = read_table(folder / "transforms" / "tf.csv")
    assert [(row["index"], row["stamp_ns"], row["frame_id"], row["child_frame_id"], row["x"]) for row in rows] == [
        ("0", str(at(0)), "camera", "a", "1"),
        ("0", str(at(0)), "camera", "b", "2"),
        ("1", str(at(1)), "camera", "a", "2"),
        ("1", str(at(1)), "camera", "b", "3"),
    ]


# Inertial measurements


def test_gyroscope_and_accelerometer_are_merged_by_stamp(tmp_path: Path) -> None:
    """As a RealSense records them: two topics, each with the other vector zero; logged late and in bursts."""
    messages = [imu_message("/cam/gyro/sample", at(300 + k), at(5 * k), turning=(k, 2 * k, -k)) for k in range(1, 12)]
    messages += [
        imu_message("/cam/accel/sample", at(300 + k), at(16 * k + 3), pushing=(16 * k, 0, 9.5)) for k in range(4)
    ]
    folder = ingest(tmp_path, [*messages, picture(20)])
    assert set(all_bytes(folder / "imu")) == {
        "cam-gyro-sample.csv",
        "cam-accel-sample.csv",
        "cam-gyro-sample+cam-accel-sample.csv",
    }
    rows = read_table(folder / "imu" / "cam-gyro-sample+cam-accel-sample.csv")
    assert [int(row["stamp_ns"]) for row in rows] == [at(5 * k) for k in range(1, 12)]
    for k, row in enumerate(rows, start=1):
        assert [float(row[f"angular_velocity_{axis}"]) for axis in "xyz"] == [k, 2 * k, -k]
        if 5 * k > 51:  # after the last acceleration
            assert row["linear_acceleration_x"] == row["acceleration_before_ns"] == row["acceleration_after_ns"] == ""
        else:
            assert float(row["linear_acceleration_x"]) == pytest.approx(5 * k - 3)
            assert float(row["linear_acceleration_z"]) == 9.5
            before = (5 * k - 3) // 16
            assert int(row["acceleration_before_ns"]) == at(16 * before + 3)
            after = before if 5 * k == 35 else before + 1  # one is stamped with that very time
            assert int(row["acceleration_after_ns"]) == at(16 * after + 3)
    assert manifest(folder)["merged_imu"] == [
        {
            "gyroscope": "/cam/gyro/sample",
            "accelerometer": "/cam/accel/sample",
            "clock": "stamp",
            "file": "imu/cam-gyro-sample+cam-accel-sample.csv",
            "rows_without_acceleration": 1,
        }
    ]
    (row,) = read_table(folder / "frames.csv")
    assert (row["imu_topic"], row["imu_index"]) == ("/cam/gyro/sample", "3")
    assert row["imu_file"] == "imu/cam-gyro-sample+cam-accel-sample.csv"
    assert not any(name.startswith("imu_2") for name in row)


@pytest.mark.parametrize("length", [100, 200, 1000])
def test_a_merged_table_of_long_topics_has_a_name_of_its_own_that_files_can_have(tmp_path: Path, length: int) -> None:
    topics = [f"/{'x' * length}/{name}" for name in ("gyro_a", "accel_a")]
    messages = [imu_message(topics[0], at(k), at(k), turning=(1, 0, 0)) for k in range(3)]
    messages += [imu_message(topics[1], at(k), at(k), pushing=(1, 0, 0)) for k in range(3)]
    folder = ingest(tmp_path, messages)
    (entry,) = manifest(folder)["merged_imu"]
    assert len(read_table(folder / entry["file"])) == 3
    assert len(list((folder / "imu").iterdir())) == 3
    assert max(len(path.name) for path in (folder / "imu").iterdir()) < 150


def test_a_gap_in_the_accelerations_stays_a_gap(tmp_path: Path) -> None:
    messages = [imu_message("/gyro", at(k), at(k), turning=(1, 0, 0)) for k in range(0, 200, 10)]
    messages += [imu_message("/accel", at(k), at(k), pushing=(0, 0, k)) for k in (0, 10, 190, 200)]
    folder = ingest(tmp_path, messages, "--max-offset", "0.03")
    rows = read_table(folder / "imu" / "gyro+accel.csv")
    assert [10 * k for k, row in enumerate(rows) if row["linear_acceleration_z"]] == [
        0,
        10,
        20,
        30,
        40,
        160,
        170,
        180,
        190,
    ]


def test_sensors_of_two_cameras_are_merged_each_with_its_own(tmp_path: Path) -> None:
    messages = []
    for camera in ("/left", "/right"):
        messages += [imu_message(f"{camera}/gyro", at(k), at(k), turning=(1, 0, 0)) for k in range(3)]
        messages += [imu_message(f"{camera}/accel", at(k), at(k), pushing=(1, 0, 0)) for k in range(3)]
    messages += [imu_message("/base", at(k), at(k), turning=(1, 0, 0), pushing=(1, 0, 0)) for k in range(3)]
    folder = ingest(tmp_path, messages)
    assert [(entry["gyroscope"], entry["accelerometer"]) for entry in manifest(folder)["merged_imu"]] == [
        ("/left/gyro", "/left/accel"),
        ("/right/gyro", "/right/accel"),
    ]


def test_what_an_imu_declares_as_not_measured_is_empty(tmp_path: Path) -> None:
    messages = [imu_message(IMU, at(k), at(k), (1, 2, 3), (4, 5, 6), missing="pushing") for k in range(2)]
    rows = read_table(ingest(tmp_path, messages) / "imu" / "imu.csv")
    assert [row["angular_velocity_z"] for row in rows] == ["3", "3"]
    assert {row[name] for row in rows for name in ("linear_acceleration_x", "orientation_w")} == {""}


def test_rows_are_in_the_order_of_their_stamps_and_keep_their_indices(tmp_path: Path) -> None:
    stamps = [0, 20, 10, 10, 30]
    messages = [imu_message(IMU, at(k), at(stamp), (k, 0, 0), (1, 0, 0)) for k, stamp in enumerate(stamps)]
    folder = ingest(tmp_path, messages)
    rows = read_table(folder / "imu" / "imu.csv")
    assert [int(row["index"]) for row in rows] == [0, 2, 3, 1, 4]
    entry = topic_of(folder, IMU)
    assert (entry["duplicated_stamps"], entry["backward_stamps"]) == (1, 1)


# The frame table


def test_frames_are_paired_by_stamp_with_the_offset_and_within_the_limit(tmp_path: Path) -> None:
    messages = [picture(t) for t in (0, 100, 200, 300)]
    messages += [depth(t) for t in (104, 297, 4, 400)]  # none at 200; one stamp comes before another that is later
    messages += [xyz_cloud(POINTS, at(t), t) for t in (40, 151, 350)]
    messages += [odometry_message(ODOM, at(t + 3), at(t), t) for t in (0, 50, 100, 150, 200, 250, 300)]
    folder = ingest(tmp_path, messages)
    rows = read_table(folder / "frames.csv")
    assert list(rows[0]) == [
        *("frame", "recording", "topic", "index", "log_time_ns", "stamp_ns", "file"),
        *(f"{p}_{c}" for p in ("depth", "cloud", "pose") for c in ("topic", "index", "stamp_ns", "offset_ns", "file")),
    ]
    assert [row["frame"] for row in rows] == [f"drive-{k:06d}.png" for k in range(4)]
    assert [(row["log_time_ns"], row["stamp_ns"]) for row in rows] == [
        (str(at(t + 8)), str(at(t))) for t in (0, 100, 200, 300)
    ]
    with Recording(tmp_path / "drive") as recording:  # which counts by log time
        stamps = {frame.index: frame.stamp_ns for frame in recording.frames(DEPTH)}
    for row, offset in zip(rows, [4, 4, None, -3], strict=True):
        if offset is None:
            assert {row[f"depth_{c}"] for c in ("topic", "index", "stamp_ns", "offset_ns", "file")} == {""}
            continue
        index = int(row["depth_index"])
        assert int(row["depth_offset_ns"]) == offset * MS == stamps[index] - int(row["stamp_ns"])
        assert int(row["depth_stamp_ns"]) == stamps[index]
        assert row["depth_topic"] == DEPTH
        assert row["depth_file"] == f"depth/cam-depth/drive-{index:06d}.png"
    assert [row["cloud_offset_ns"] for row in rows] == [str(40 * MS), "", str(-49 * MS), str(50 * MS)]
    assert [row["pose_index"] for row in rows] == ["0", "2", "4", "6"]
    assert {row["pose_file"] for row in rows} == {"poses/odom.csv"}
    for row in rows:
        for column in ("file", "depth_file", "cloud_file", "pose_file"):
            assert not row[column] or (folder / row[column]).is_file()


def test_the_limit_is_the_one_asked_for(tmp_path: Path) -> None:
    folder = ingest(tmp_path, [picture(0), picture(100), depth(4), depth(104.000001)], "--max-offset", "0.004")
    assert [row["depth_offset_ns"] for row in read_table(folder / "frames.csv")] == [str(4 * MS), ""]


def test_several_cameras_and_sensors_each_have_their_rows_and_columns(tmp_path: Path) -> None:
    messages = [picture(t, topic) for t in (0, 100) for topic in ("/left", "/right")]
    messages += [depth(t, topic) for t, topic in ((1, "/depth_a"), (2, "/depth_b"), (103, "/depth_b"))]
    rows = read_table(ingest(tmp_path, messages) / "frames.csv")
    assert [(row["topic"], row["index"]) for row in rows] == [
        ("/left", "0"),
        ("/left", "1"),
        ("/right", "0"),
        ("/right", "1"),
    ]
    assert [(row["depth_topic"], row["depth_2_topic"]) for row in rows[:2]] == [
        ("/depth_a", "/depth_b"),
        ("", "/depth_b"),
    ]


def test_a_partner_that_could_not_be_extracted_is_no_partner(tmp_path: Path) -> None:
    broken = image(DEPTH, at(1), at(1), np.zeros((6, 8), np.uint8), "16UC1")
    rows = read_table(ingest(tmp_path, [picture(0), broken, depth(30)]) / "frames.csv")
    assert [(row["depth_index"], row["depth_offset_ns"]) for row in rows] == [("1", str(30 * MS))]


def test_log_times_stand_in_for_both_where_one_has_no_stamps_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [picture(t, log=t + 30) for t in (0, 100)]
    messages += [pose_message("/pose", "geometry_msgs/msg/Pose", at(t), 0, t) for t in (0, 29, 100, 132)]
    messages += [
        image(DEPTH, at(t), 0, np.full((6, 8), 9, np.uint16), "16UC1") for t in (0, 31, 100, 128)
    ]  # stamps of 0
    folder = ingest(tmp_path, messages)
    rows = read_table(folder / "frames.csv")
    assert [(row["pose_index"], row["pose_offset_ns"]) for row in rows] == [("1", str(-1 * MS)), ("3", str(2 * MS))]
    assert [(row["depth_index"], row["depth_offset_ns"]) for row in rows] == [("1", str(1 * MS)), ("3", str(-2 * MS))]
    assert {row["depth_stamp_ns"] for row in rows} == {row["pose_stamp_ns"] for row in rows} == {""}
    assert topic_of(folder, "/pose")["clock"] == topic_of(folder, DEPTH)["clock"] == "log_time"
    assert topic_of(folder, COLOUR)["clock"] == "stamp"
    said = capsys.readouterr().out
    assert f"{DEPTH} has no stamps: its log times stand in for them." in said
    assert "/pose has no stamps" in said


def test_a_single_message_without_a_stamp_belongs_to_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [
        picture(0),
        picture(100, stamp=0),
        depth(0),
        image(DEPTH, at(90), 0, np.ones((6, 8), np.uint16), "16UC1"),
    ]
    folder = ingest(tmp_path, messages)
    rows = read_table(folder / "frames.csv")
    assert [(row["stamp_ns"], row["depth_index"]) for row in rows] == [(str(at(0)), "0"), ("", "")]
    assert topic_of(folder, DEPTH)["without_stamp"] == 1
    assert f"1 of 2 messages on {DEPTH} have no stamp: they are paired with nothing." in capsys.readouterr().out


def strayed(folder: Path) -> Path:
    """Images, each with depth 1 ms later, but the second message on the colour topic is a text."""
    path = folder / "drive.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros2", library="test")
        text = Written(
            COLOUR, "std_msgs/msg/String", at(108), lambda types: types.types["std_msgs/msg/String"](data="hello")
        )
        messages = [picture(0), text, picture(200), picture(300), *(depth(t) for t in (1, 101, 201, 301))]
        channels = {}
        for message in messages:
            if (message.topic, message.type) not in channels:
                definition = ROS2.generate_msgdef(message.type, ros_version=2)[0].encode()
                schema = writer.register_schema(message.type, "ros2msg", definition)
                channels[message.topic, message.type] = writer.register_channel(message.topic, "cdr", schema)
            writer.add_message(
                channels[message.topic, message.type], message.log_time_ns, message.cdr, message.log_time_ns
            )
        writer.finish()
    return path


@pytest.mark.parametrize("colour", ["png", "none"])
def test_among_images_a_message_of_another_type_costs_only_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], colour: str
) -> None:
    assert main(["ingest", str(strayed(tmp_path)), "--out", str(tmp_path / "out"), "--colour", colour]) == 0
    rows = read_table(tmp_path / "out" / "drive" / "frames.csv")
    assert [(row["stamp_ns"], row["depth_index"], row["depth_offset_ns"]) for row in rows] == [
        (str(at(0)), "0", str(MS)),
        ("", "", ""),
        (str(at(200)), "2", str(MS)),
        (str(at(300)), "3", str(MS)),
    ]
    said = capsys.readouterr().out
    if colour == "png":
        assert f"1 of 4 messages on {COLOUR} could not be extracted" in said
    else:
        assert f"1 of 4 messages on {COLOUR} have no stamp: they are paired with nothing." in said
    assert "log times" not in said
    assert topic_of(tmp_path / "out" / "drive", COLOUR)["without_stamp"] == 1
    assert topic_of(tmp_path / "out" / "drive", COLOUR)["backward_stamps"] == 0


def test_duplicated_stamps_pair_with_the_first(tmp_path: Path) -> None:
    messages = [picture(0), picture(0, log=9), depth(5, log=20), depth(5, log=21), depth(-5, log=22)]
    rows = read_table(ingest(tmp_path, messages) / "frames.csv")
    assert [(row["depth_index"], row["depth_offset_ns"]) for row in rows] == [("2", str(-5 * MS))] * 2
    rows = read_table(ingest(tmp_path / "more", messages[:-1]) / "frames.csv")
    assert [row["depth_index"] for row in rows] == ["0", "0"]


# Names


def test_topics_never_lead_out_of_their_folder(tmp_path: Path) -> None:
    names = ["/../../../evil", "/a/../../b", "//x", "/a b/c\\d", "/é", "/.hidden", "/a/", "~/p", "/" + "long/" * 100]
    folder = ingest(tmp_path, [picture(k, name) for k, name in enumerate(names)])
    files = set(all_bytes(tmp_path / "out"))
    assert len([name for name in files if name.endswith(".png")]) == len(names)
    assert all(name.startswith("drive/") for name in files)
    assert {path.parent.parent for path in folder.rglob("*.png")} == {folder / "colour"}
    for row in read_table(folder / "frames.csv"):
        assert (folder / row["file"]).is_file()


def test_places_of_topics_are_readable_and_their_own() -> None:
    assert topic_place("/camera/color/image_raw") == "camera-color-image_raw"
    names = [
        "/a/b",
        "/a_b",
        "/a-b",
        "/a.b",
        "/a%2Db",
        "/a//b",
        "/a/b/",
        "/A/b",
        "/",
        "",
        "/%",
        "/" + "x" * 200,
        "/" + "x" * 201,
    ]
    places = [topic_place(name) for name in names]
    assert len(set(places)) == len(set(names) - {""})  # "" and "/" are one
    assert max(map(len, places)) < 150
    assert all("/" not in place and not place.startswith(".") for place in places)


def test_two_topics_of_one_place_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "drive", "mcap", [picture(0, "/cam"), picture(1, "cam")])
    assert main(["ingest", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "The topics /cam and cam of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# Wrong input


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 2) -> str:
    assert main(["ingest", *map(str, arguments)]) == code
    error = capsys.readouterr().err
    assert error.startswith("mayhem ingest: ")
    assert error.count("mayhem ingest: ") == 1
    return error


def test_an_absent_topic_is_refused_with_those_there_are(
    drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refused(capsys, drives / "warehouse-s3-0", "--out", tmp_path / "out", "--topics", "/camera/rgb")
    assert "has no topic /camera/rgb: it has /camera/color/camera_info (sensor_msgs/msg/CameraInfo)" in error
    assert not (tmp_path / "out").exists()


def test_a_topic_that_cannot_be_extracted_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Written(
        "/text", "std_msgs/msg/String", at(0), lambda types: types.types["std_msgs/msg/String"](data="hello")
    )
    path = write(tmp_path, "drive", "mcap", [text, picture(0)])
    error = refused(capsys, path, "--out", tmp_path / "out", "--topics", "/text")
    assert f"/text of {path} holds std_msgs/msg/String, which cannot be extracted: it has {COLOUR}" in error
    path = write(tmp_path, "words", "mcap", [text])
    assert "has nothing of what is asked for: it has /text" in refused(capsys, path, "--out", tmp_path / "out", code=1)
    assert not (tmp_path / "out").exists()


def test_an_empty_topic_is_passed_over(tmp_path: Path) -> None:
    path = write(
        tmp_path, "drive", "mcap", [picture(0)], [(DEPTH, "sensor_msgs/msg/Image"), (IMU, "sensor_msgs/msg/Imu")]
    )
    assert main(["ingest", str(path), "--out", str(tmp_path / "out")]) == 0
    assert [entry["topic"] for entry in manifest(tmp_path / "out" / "drive")["topics"]] == [COLOUR]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workers", "0"], "0 workers cannot work"),
        (["--max-offset", "-1"], "negative"),
        *[
            (["--max-offset", seconds], "no number of seconds")
            for seconds in ("nan", "inf", "1e300", "1e10", "-10000000000")
        ],
        (["--jpeg-quality", "101"], "not within 1 to 100"),
        (["--distro", "nowhere"], "nowhere"),
        (
            [f"--{kind}=none" for kind in ("colour", "depth", "clouds", "imu", "poses", "camera-info", "table")],
            "Nothing",
        ),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert sentence in refused(capsys, drives / "warehouse-s3-0", "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_two_recordings_of_one_stem_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, bag = write(tmp_path, "drive", "mcap", [picture(0)]), write(tmp_path, "drive", "bag", [picture(0)])
    error = refused(capsys, folder, bag, "--out", tmp_path / "out")
    assert f"{folder} and {bag} are both called 'drive'" in error
    assert not (tmp_path / "out").exists()


def test_a_recording_is_never_overwritten_by_its_own_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "drive", "mcap", [picture(0)])
    before = all_bytes(path)
    for force in ([], ["--force"]):
        error = refused(capsys, path, "--out", tmp_path, *force)
        assert f"The folder of extracted files, {path} is the recording {path} itself: choose another place." in error
    assert all_bytes(path) == before


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_unreadable_recording_does_not_keep_the_others_from_being_written(
    drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"no recording")
    paths = [drives / "warehouse-s3-0", broken, drives / "warehouse-s3-1"]
    error = refused(capsys, *paths, "--out", tmp_path / "out", "--workers", workers, code=1)
    assert f"{broken} is no recording" in error
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["warehouse-s3-0", "warehouse-s3-1"]


def test_of_a_truncated_recording_what_is_recovered_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write(tmp_path, "drive", "mcap-lz4", [picture(10 * k) for k in range(2000)])
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert main(["ingest", str(cut), "--out", str(tmp_path / "out")]) == 0
    assert "is cut off" in capsys.readouterr().err
    folder = tmp_path / "out" / "cut"
    with Recording(cut) as recording:
        found = recording.topic(COLOUR).count
        assert manifest(folder)["problems"] == list(recording.problems)
    assert 0 < found < 2000
    assert topic_of(folder, COLOUR)["extracted"] == len(list(folder.rglob("*.png"))) == found


def test_messages_of_a_foreign_definition_or_damaged_are_skipped_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "drive.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros2", library="test")
        good, other = picture(0), imu_message("/imu", at(0), at(0), (1, 1, 1))
        definition = ROS2.generate_msgdef(good.type, ros_version=2)[0].encode()
        channel = writer.register_channel(COLOUR, "cdr", writer.register_schema(good.type, "ros2msg", definition))
        for k, data in enumerate((good.cdr, good.cdr[:40], good.cdr[:9], good.cdr)):
            writer.add_message(channel, at(k), data, at(k))
        schema = writer.register_schema(other.type, "ros2msg", b"float64 temperature")
        writer.add_message(writer.register_channel(IMU, "cdr", schema), at(1), b"\0\1\0\0" + bytes(8), at(1))
        writer.finish()
    error = refused(capsys, path, "--out", tmp_path / "out", code=1)
    folder = tmp_path / "out" / "drive"
    assert error.startswith(f"mayhem ingest: None of 1 messages on {IMU} could be extracted into {folder}; the first: ")
    assert [skipped["index"] for skipped in topic_of(folder, COLOUR)["skipped"]] == [1, 2]
    assert "Message 1 on /cam/image of" in topic_of(folder, COLOUR)["skipped"][0]["reason"]
    assert [row["stamp_ns"] for row in read_table(folder / "frames.csv")] == [str(at(0)), str(at(0)), "", str(at(0))]
    (skipped,) = topic_of(folder, IMU)["skipped"]
    assert "has not the fields of a sensor_msgs/msg/Imu" in skipped["reason"]
    assert read_table(folder / "imu" / "imu.csv") == []


def test_the_same_recording_named_twice_is_ingested_once(drives: Path, tmp_path: Path) -> None:
    path = str(drives / "warehouse-s3-0")
    assert main(["ingest", path, path, "--out", str(tmp_path)]) == 0
    assert main(["ingest", f"{path}/../warehouse-s3-0", f"{path}/metadata.yaml", "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    "name", [".hidden.mcap", "back\\slash.mcap", "long" * 60 + ".mcap", os.fsdecode(b"bad\xff.mcap")]
)
def test_a_recording_that_nothing_can_be_named_after_is_refused_before_anything_is_written(
    drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    good = write(tmp_path, "drive", "mcap", [picture(0)])
    (bad := tmp_path / name).write_bytes(b"no matter what")
    error = refused(capsys, good, bad, "--out", tmp_path / "out")
    assert "rename it" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_ingesting_imports_neither_torch_nor_ray(drives: Path, tmp_path: Path) -> None:
    code = "import sys; from mayhem_train.cli import main; main(sys.argv[1:]); print(*sorted(sys.modules), sep=chr(10))"
    arguments = [str(drives / "warehouse-s3-0"), "--out", str(tmp_path)]
    output = subprocess.check_output(
        [sys.executable, "-c", code, "ingest", *arguments], text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    modules = {line.partition(".")[0] for line in output.splitlines()}
    assert "pyarrow" in modules
    assert modules & {"torch", "ray", "numba", "lightning", "pytorch_lightning", "matplotlib", "pandas"} == set()


def test_memory_is_flat_in_the_length_of_a_recording(tmp_path: Path) -> None:
    """The peak of a recording that is 120 MB longer is about the same."""
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640), np.uint8)  # slower to encode than to read
    peaks = []
    for frames in (40, 440):
        messages = [image(COLOUR, at(k), at(k), pixels, "mono8") for k in range(frames)]
        path = write(tmp_path, f"drive-{frames}", "mcap", messages)
        # Not resource.getrusage, which counts what the tests had in memory when they forked.
        code = (
            "import pathlib, sys; from mayhem_train.cli import main; assert main(sys.argv[1:]) == 0; "
            "print(pathlib.Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
        )
        arguments = [str(path), "--out", str(tmp_path / "out"), "--colour", "jpg", "--workers", "2"]
        output = subprocess.check_output([sys.executable, "-c", code, "ingest", *arguments], text=True)
        peaks.append(int(output.split()[-1]) / 1000)
    assert peaks[1] - peaks[0] < 30


@pytest.mark.skipif(not DATA.is_dir(), reason=f"there are no real recordings at {DATA}")
def test_real_recordings_give_every_image_they_hold(tmp_path: Path) -> None:
    drives = {"camvid-0001TP": 62, "camvid-0006R0": 101, "camvid-0016E5": 204, "camvid-0016E5-val": 101}
    paths = [DATA / "camvid" / (f"{stem}.bag" if stem == "camvid-0006R0" else stem) for stem in drives]
    bag = DATA / "recordings" / "aruco-ros1-compressed.bag"
    assert main(["ingest", *map(str, [*paths, bag]), "--out", str(tmp_path), "--colour", "jpg", "--workers", "2"]) == 0
    for stem, frames in drives.items():
        rows = read_table(tmp_path / stem / "frames.csv")
        assert [row["frame"] for row in rows] == [f"{stem}-{index:06d}.png" for index in range(frames)]
        assert all((tmp_path / stem / row["file"]).is_file() for row in rows)
    aruco = tmp_path / bag.stem
    assert [entry["extracted"] for entry in manifest(aruco)["topics"]] == [15, 1]
    (picture_file,) = aruco.rglob("*.jpg")
    with Recording(bag) as recording:
        recorded = recording.read_message("/raspicam_node/image/compressed", 0).data.tobytes()
    copied = picture_file.read_bytes()
    assert b"Exif" in recorded and b"Exif" not in copied
    tables = b"\xff\xdb"  # of the quantisation, which come behind the metadata
    assert copied[copied.index(tables) :] == recorded[recorded.index(tables) :]


def test_a_pcd_is_the_default(tmp_path: Path) -> None:
    folder = ingest(tmp_path, [xyz_cloud(POINTS, at(0), 4, count=7)])
    points, width, height = read_pcd(folder / "clouds" / "points" / "drive-000000.pcd")
    assert (width, height) == (7, 1)
    assert np.array_equal(points["y"][:, 0], np.random.default_rng(4).normal(size=7).astype(np.float32))
