"""Writes a drive's messages as a recording: a rosbag2 folder (MCAP or SQLite) or a ROS 1 bag."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag1 import Writer as BagWriter
from rosbags.rosbag2 import Writer as FolderWriter
from rosbags.rosbag2.enums import StoragePlugin
from rosbags.typesys import Stores, get_typestore

from mayhem_ros.errors import MayhemError
from mayhem_train.outputs import whole_file, whole_folder
from mayhem_train.recordings.warehouse.camera import Intrinsics

STORAGES = ("mcap", "db3", "bag")
OPTICAL_FRAME = "camera_color_optical_frame"
IMU_FRAME = "imu_link"
BASE_FRAME = "base_link"

_JPEG_QUALITY = 92
_PLUGINS = {"mcap": StoragePlugin.MCAP, "db3": StoragePlugin.SQLITE3}
_FLOAT32 = 7  # sensor_msgs/PointField


@dataclass(frozen=True)
class TimedMessage:
    """One message to write: `log_time` is when it was recorded, ns since the epoch."""

    log_time: int
    topic: str
    message: Any


class MessageFactory:
    """Builds messages of ROS 1 or ROS 2, whose definitions differ in small ways; stamps are ns since the epoch."""

    def __init__(self, storage: str) -> None:
        self.is_ros1 = storage == "bag"
        self.typestore = get_typestore(Stores.ROS1_NOETIC if self.is_ros1 else Stores.ROS2_HUMBLE)
        self._sequence = 0

    def image(self, picture: NDArray[np.uint8] | NDArray[np.uint16], encoding: str, stamp: int) -> Any:
        """sensor_msgs/Image of an array [H, W] or [H, W, 3]."""
        height, width = picture.shape[:2]
        step = picture.strides[0]
        data = np.ascontiguousarray(picture).reshape(-1).view(np.uint8)
        return self._make("sensor_msgs/msg/Image", self._header(stamp), height, width, encoding, 0, step, data)

    def compressed_image(self, picture: NDArray[np.uint8], stamp: int) -> Any:
        """sensor_msgs/CompressedImage: a JPEG of an RGB array."""
        jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        return self._make("sensor_msgs/msg/CompressedImage", self._header(stamp), "jpeg", jpeg.reshape(-1))

    def camera_info(self, camera: Intrinsics, stamp: int) -> Any:
        """sensor_msgs/CameraInfo of a camera without distortion."""
        matrix = np.array([camera.focal, 0, camera.cx, 0, camera.focal, camera.cy, 0, 0, 1.0])
        projection = np.insert(matrix.reshape(3, 3), 3, 0.0, axis=1).reshape(-1)
        region = self._make("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
        return self._make(
            "sensor_msgs/msg/CameraInfo",
            self._header(stamp),
            camera.height,
            camera.width,
            "plumb_bob",
            np.zeros(5),
            matrix,
            np.eye(3).reshape(-1),
            projection,
            0,
            0,
            region,
        )

    def point_cloud(self, points: NDArray[np.float32], stamp: int) -> Any:
        """sensor_msgs/PointCloud2 of float32 [N, 4]: x, y, z, intensity."""
        names = ("x", "y", "z", "intensity")
        fields = [self._make("sensor_msgs/msg/PointField", name, 4 * k, _FLOAT32, 1) for k, name in enumerate(names)]
        data = np.ascontiguousarray(points).reshape(-1).view(np.uint8)
        header, count = self._header(stamp), len(points)
        return self._make("sensor_msgs/msg/PointCloud2", header, 1, count, fields, False, 16, 16 * count, data, True)

    def imu(self, yaw: float, angular: NDArray[np.float64], force: NDArray[np.float64], stamp: int) -> Any:
        """sensor_msgs/Imu."""
        return self._make(
            "sensor_msgs/msg/Imu",
            self._header(stamp, IMU_FRAME),
            self._turned(yaw),
            np.diag([1e-4, 1e-4, 1e-3]).reshape(-1),
            self._vector(*angular),
            np.diag([4e-6] * 3).reshape(-1),
            self._vector(*force),
            np.diag([1.6e-3] * 3).reshape(-1),
        )

    def odometry(self, x: float, y: float, yaw: float, speed: float, yaw_rate: float, stamp: int) -> Any:
        """nav_msgs/Odometry of base_link in odom."""
        point = self._make("geometry_msgs/msg/Point", x, y, 0.0)
        pose = self._make("geometry_msgs/msg/Pose", point, self._turned(yaw))
        twist = self._make("geometry_msgs/msg/Twist", self._vector(speed, 0.0, 0.0), self._vector(0.0, 0.0, yaw_rate))
        return self._make(
            "nav_msgs/msg/Odometry",
            self._header(stamp, "odom"),
            BASE_FRAME,
            self._make("geometry_msgs/msg/PoseWithCovariance", pose, np.zeros(36)),
            self._make("geometry_msgs/msg/TwistWithCovariance", twist, np.zeros(36)),
        )

    def serialised(self, message: Any) -> bytes | memoryview:
        """The message's bytes on the wire."""
        if self.is_ros1:
            return self.typestore.serialize_ros1(message, message.__msgtype__)
        return self.typestore.serialize_cdr(message, message.__msgtype__)

    def _make(self, kind: str, *fields: Any) -> Any:
        return self.typestore.types[kind](*fields)

    def _header(self, stamp: int, frame_id: str = OPTICAL_FRAME) -> Any:
        time = self._make("builtin_interfaces/msg/Time", *divmod(stamp, 1_000_000_000))
        if not self.is_ros1:
            return self._make("std_msgs/msg/Header", time, frame_id)
        self._sequence += 1
        return self._make("std_msgs/msg/Header", self._sequence, time, frame_id)

    def _vector(self, x: float, y: float, z: float) -> Any:
        return self._make("geometry_msgs/msg/Vector3", float(x), float(y), float(z))

    def _turned(self, yaw: float) -> Any:
        return self._make("geometry_msgs/msg/Quaternion", 0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2)))


def recording_path(folder: Path, name: str, storage: str) -> Path:
    """Where the recording `name` lies: a folder, or a file with the suffix .bag."""
    return folder / f"{name}.bag" if storage == "bag" else folder / name


def write_recording(
    path: Path, storage: str, factory: MessageFactory, messages: Iterable[TimedMessage], *, force: bool
) -> None:
    """Writes messages in the order given; the recording appears whole or not at all.

    Raises:
        MayhemError: it cannot be written.
        UsageError: `path` exists and `force` is not set.
    """
    with _writer(path, storage, force=force) as writer:
        connections: dict[str, Connection] = {}
        for timed in messages:
            topic = timed.topic
            if topic not in connections:
                kind = timed.message.__msgtype__
                connections[topic] = writer.add_connection(topic, kind, typestore=factory.typestore)
            writer.write(connections[topic], timed.log_time, factory.serialised(timed.message))


@contextmanager
def _writer(path: Path, storage: str, *, force: bool) -> Iterator[BagWriter | FolderWriter]:
    try:
        if storage == "bag":
            with whole_file(path, force=force) as partial, BagWriter(partial) as writer:
                yield writer
            return
        with whole_folder(path, force=force) as partial:
            # rosbags names the file after its folder: let it be the recording's name, then lift it one level up
            inner = partial / path.name
            with FolderWriter(inner, version=8, storage_plugin=_PLUGINS[storage]) as folder_writer:
                yield folder_writer
            for file in inner.iterdir():
                file.rename(partial / file.name)
            inner.rmdir()
    except sqlite3.Error as error:
        raise MayhemError(f"Cannot write {path} ({error}): free the disk or choose another place.") from error
