"""Messages of every kind that an ingest extracts, for small recordings made by `recordings_writing`, and what reads
the files back."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from recordings_writing import ROS1, Typestore, Written, header

COLOUR, DEPTH, POINTS, IMU, ODOM, INFO = "/cam/image", "/cam/depth", "/points", "/imu", "/odom", "/cam/info"


def make(types: Typestore, kind: str, **fields: Any) -> Any:
    return types.types[kind](**fields)


def imu_message(
    topic: str,
    log_time_ns: int,
    stamp_ns: int,
    turning: Sequence[float] = (0.0, 0.0, 0.0),
    pushing: Sequence[float] = (0.0, 0.0, 0.0),
    missing: str = "",
) -> Written:
    """`missing`: what is declared as not measured, "turning", "pushing" or both."""

    def build(types: Typestore) -> Any:
        def covariance(name: str) -> np.ndarray:
            return np.full(9, -1.0 if name in missing else 0.0)

        return make(
            types,
            "sensor_msgs/msg/Imu",
            header=header(types, stamp_ns),
            orientation=make(types, "geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
            orientation_covariance=np.full(9, -1.0),
            angular_velocity=_vector(types, turning),
            angular_velocity_covariance=covariance("turning"),
            linear_acceleration=_vector(types, pushing),
            linear_acceleration_covariance=covariance("pushing"),
        )

    return Written(topic, "sensor_msgs/msg/Imu", log_time_ns, build)


def odometry_message(topic: str, log_time_ns: int, stamp_ns: int, x: float) -> Written:
    def build(types: Typestore) -> Any:
        twist = make(
            types,
            "geometry_msgs/msg/Twist",
            linear=_vector(types, (x / 2, 0.0, 0.0)),
            angular=_vector(types, (0.0, 0.0, 0.25)),
        )
        return make(
            types,
            "nav_msgs/msg/Odometry",
            header=header(types, stamp_ns),
            child_frame_id="base",
            pose=make(types, "geometry_msgs/msg/PoseWithCovariance", pose=_pose(types, x), covariance=np.zeros(36)),
            twist=make(types, "geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
        )

    return Written(topic, "nav_msgs/msg/Odometry", log_time_ns, build)


def pose_message(topic: str, kind: str, log_time_ns: int, stamp_ns: int, x: float) -> Written:
    """Any other type of pose."""

    def build(types: Typestore) -> Any:
        if kind == "geometry_msgs/msg/Pose":
            return _pose(types, x)
        if kind == "geometry_msgs/msg/TransformStamped":
            return _transform(types, stamp_ns, "child", x)
        pose = _pose(types, x)
        if kind == "geometry_msgs/msg/PoseWithCovarianceStamped":
            pose = make(types, "geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36))
        return make(types, kind, header=header(types, stamp_ns), pose=pose)

    return Written(topic, kind, log_time_ns, build)


def transforms_message(topic: str, log_time_ns: int, transforms: Sequence[tuple[int, str, float]]) -> Written:
    """tf2_msgs/TFMessage of (stamp, child frame, x)."""

    def build(types: Typestore) -> Any:
        return make(types, "tf2_msgs/msg/TFMessage", transforms=[_transform(types, *values) for values in transforms])

    return Written(topic, "tf2_msgs/msg/TFMessage", log_time_ns, build)


def info_message(topic: str, log_time_ns: int, focal: float) -> Written:
    def build(types: Typestore) -> Any:
        matrix = np.array([focal, 0, 40, 0, focal, 30, 0, 0, 1.0])
        values = {
            "d": np.array([0.1, -0.2, 0.0, 0.0, 0.05]),
            "k": matrix,
            "r": np.eye(3).reshape(-1),
            "p": np.insert(matrix.reshape(3, 3), 3, 0.0, axis=1).reshape(-1),
        }
        return make(
            types,
            "sensor_msgs/msg/CameraInfo",
            header=header(types, log_time_ns),
            height=60,
            width=80,
            distortion_model="plumb_bob",
            binning_x=2,
            binning_y=0,
            roi=make(
                types, "sensor_msgs/msg/RegionOfInterest", x_offset=1, y_offset=2, height=3, width=4, do_rectify=True
            ),
            **({name.upper(): value for name, value in values.items()} if types is ROS1 else values),
        )

    return Written(topic, "sensor_msgs/msg/CameraInfo", log_time_ns, build)


def cloud_message(
    topic: str,
    log_time_ns: int,
    points: np.ndarray,
    *,
    row_padding: int = 0,
    big_endian: bool = False,
    cut: int = 0,
    row_step: int | None = None,
    zero_counts: bool = False,
) -> Written:
    """A PointCloud2 of a structured array [H, W] with explicit offsets; its padding bytes are 0xAB."""
    datatypes = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
    height, width = points.shape
    step = points.dtype.itemsize
    rows = np.full((height, width * step + row_padding), 0xAB, np.uint8)
    rows[:, : width * step] = np.ascontiguousarray(points).view(np.uint8).reshape(height, width * step)
    data = rows.reshape(-1)[: rows.size - cut]
    assert points.dtype.fields is not None

    def build(types: Typestore) -> Any:
        fields = []
        for name, (kind, offset, *_) in points.dtype.fields.items():  # type: ignore[union-attr]
            count = kind.shape[0] if kind.shape else 0 if zero_counts else 1
            fields.append(
                make(
                    types,
                    "sensor_msgs/msg/PointField",
                    name=name,
                    offset=offset,
                    datatype=datatypes[kind.base.str[1:]],
                    count=count,
                )
            )
        return make(
            types,
            "sensor_msgs/msg/PointCloud2",
            header=header(types, log_time_ns),
            height=height,
            width=width,
            fields=fields,
            is_bigendian=big_endian,
            point_step=step,
            row_step=width * step + row_padding if row_step is None else row_step,
            data=data,
            is_dense=False,
        )

    return Written(topic, "sensor_msgs/msg/PointCloud2", log_time_ns, build)


def xyz_cloud(topic: str, log_time_ns: int, seed: int, count: int = 20) -> Written:
    points = np.zeros((1, count), [("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
    for axis in "xyz":
        points[axis] = np.random.default_rng(seed).normal(size=count)
    return cloud_message(topic, log_time_ns, points)


def read_table(path: Path) -> list[dict[str, str]]:
    """A CSV table's rows as text."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def read_pcd(path: Path) -> tuple[np.ndarray, int, int]:
    """Points, width and height of a binary PCD file, by the format's specification alone."""
    head, _, body = path.read_bytes().partition(b"DATA binary\n")
    fields = {line.split()[0]: line.split()[1:] for line in head.decode("ascii").splitlines() if line[0] != "#"}
    assert fields["VERSION"] in (["0.7"], [".7"])
    columns = zip(fields["FIELDS"], fields["TYPE"], fields["SIZE"], fields["COUNT"], strict=True)
    dtype = np.dtype([(name, f"<{kind.lower()}{size}", (int(count),)) for name, kind, size, count in columns])
    points = np.frombuffer(body, dtype)
    assert [str(len(points))] == fields["POINTS"]
    return points, int(fields["WIDTH"][0]), int(fields["HEIGHT"][0])


def all_bytes(folder: Path) -> dict[str, bytes]:
    """Every file below the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _vector(types: Typestore, values: Sequence[float]) -> Any:
    x, y, z = map(float, values)
    return make(types, "geometry_msgs/msg/Vector3", x=x, y=y, z=z)


def _pose(types: Typestore, x: float) -> Any:
    return make(
        types,
        "geometry_msgs/msg/Pose",
        position=make(types, "geometry_msgs/msg/Point", x=x, y=-x, z=0.5),
        orientation=make(types, "geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.6, w=0.8),
    )


def _transform(types: Typestore, stamp_ns: int, child: str, x: float) -> Any:
    return make(
        types,
        "geometry_msgs/msg/TransformStamped",
        header=header(types, stamp_ns),
        child_frame_id=child,
        transform=make(
            types,
            "geometry_msgs/msg/Transform",
            translation=_vector(types, (x, -x, 0.5)),
            rotation=make(types, "geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.6, w=0.8),
        ),
    )
