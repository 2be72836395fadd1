"""Small recordings in every format, written by rosbags' and mcap's own writers, with the messages that went in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

ROS1 = get_typestore(Stores.ROS1_NOETIC)
ROS2 = get_typestore(Stores.ROS2_JAZZY)
START_NS = 1_700_000_000_000_000_000

COLOUR, DEPTH, IMU = "/camera/color/image_raw", "/camera/depth/image_raw", "/imu"
FORMATS = ("mcap", "mcap-zstd", "mcap-lz4", "db3", "bag", "bag-bz2", "bag-lz4")


@dataclass(frozen=True)
class Written:
    """One message to write; `make` builds it out of a distribution's types."""

    topic: str
    type: str
    log_time_ns: int
    make: Callable[[Typestore], Any]

    @property
    def cdr(self) -> bytes:
        """What ROS 2 would have recorded."""
        return bytes(ROS2.serialize_cdr(self.make(ROS2), self.type))


def header(types: Typestore, stamp_ns: int) -> Any:
    time = types.types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    sequence = {"seq": 7} if types is ROS1 else {}
    return types.types["std_msgs/msg/Header"](stamp=time, frame_id="camera", **sequence)


def image(topic: str, log_time_ns: int, stamp_ns: int, pixels: np.ndarray, encoding: str) -> Written:
    def make(types: Typestore) -> Any:
        return types.types["sensor_msgs/msg/Image"](
            header=header(types, stamp_ns),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=np.frombuffer(pixels.tobytes(), np.uint8),
        )

    return Written(topic, "sensor_msgs/msg/Image", log_time_ns, make)


def jpeg(topic: str, log_time_ns: int, data: bytes) -> Written:
    def make(types: Typestore) -> Any:
        return types.types["sensor_msgs/msg/CompressedImage"](
            header=header(types, log_time_ns), format="jpeg", data=np.frombuffer(data, np.uint8)
        )

    return Written(topic, "sensor_msgs/msg/CompressedImage", log_time_ns, make)


def jpeg_bytes(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".jpg", pixels)[1].tobytes())


def imu(log_time_ns: int) -> Written:
    def make(types: Typestore) -> Any:
        vector, quaternion = types.types["geometry_msgs/msg/Vector3"], types.types["geometry_msgs/msg/Quaternion"]
        return types.types["sensor_msgs/msg/Imu"](
            header=header(types, log_time_ns),
            orientation=quaternion(x=0.0, y=0.0, z=0.0, w=1.0),
            orientation_covariance=np.zeros(9),
            angular_velocity=vector(x=log_time_ns % 1000 / 7, y=0.0, z=0.0),
            angular_velocity_covariance=np.zeros(9),
            linear_acceleration=vector(x=0.0, y=0.0, z=9.81),
            linear_acceleration_covariance=np.zeros(9),
        )

    return Written(IMU, "sensor_msgs/msg/Imu", log_time_ns, make)


def colour_pixels(index: int, height: int = 60, width: int = 80) -> np.ndarray:
    """Noise that tells every frame from every other."""
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)


def drive(frames: int = 40) -> list[Written]:
    """Colour, depth and IMU; some log times are out of order, some are equal; stamps are 5 ms before the log time."""
    messages: list[Written] = []
    for index in range(frames):
        log_time = START_NS + index * 100_000_000
        if index % 10 == 5:  # logged before the frame that is written before it
            log_time -= 150_000_000
        if index % 10 == 8:  # logged together with the frame that is written before it
            log_time -= 100_000_000
        messages.append(image(COLOUR, log_time, log_time - 5_000_000, colour_pixels(index), "rgb8"))
        depth = np.full((60, 80), 1000 + index, np.uint16)
        messages.append(image(DEPTH, log_time + 1000, log_time, depth, "16UC1"))
        messages.extend(imu(log_time + 10_000_000 * step) for step in range(3))
    return messages


def in_time_order(messages: Iterable[Written], topic: str | None = None) -> list[Written]:
    """As a recording counts them: by log time, those of one time as they were written."""
    return sorted((m for m in messages if topic in (None, m.topic)), key=lambda m: m.log_time_ns)


def write(
    folder: Path, name: str, form: str, messages: Sequence[Written], topics: Sequence[tuple[str, str]] = ()
) -> Path:
    """Writes a recording called `name`; `topics` (name, type) get a connection even without messages."""
    topics = list(dict.fromkeys([*topics, *((m.topic, m.type) for m in messages)]))
    if form.startswith("bag"):
        return write_bag(folder / f"{name}.bag", form, messages, topics)
    if form in ("mcap-lz4", "mcap-unindexed"):
        return write_mcap(folder / f"{name}.mcap", form, messages, topics)
    plugin = StoragePlugin.SQLITE3 if form == "db3" else StoragePlugin.MCAP
    writer = Ros2Writer(folder / name, version=9, storage_plugin=plugin)
    if form == "mcap-zstd":
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections = {t: writer.add_connection(t, kind, typestore=ROS2) for t, kind in topics}
        for message in messages:
            writer.write(connections[message.topic], message.log_time_ns, message.cdr)
    return folder / name


def write_bag(path: Path, form: str, messages: Sequence[Written], topics: Sequence[tuple[str, str]]) -> Path:
    writer = Ros1Writer(path)
    if form != "bag":
        writer.set_compression(Ros1Writer.CompressionFormat[form.removeprefix("bag-").upper()])
    writer.chunk_threshold = 2**17
    with writer:
        connections = {t: writer.add_connection(t, kind, typestore=ROS1) for t, kind in topics}
        for message in messages:
            data = ROS1.serialize_ros1(message.make(ROS1), message.type)
            writer.write(connections[message.topic], message.log_time_ns, data)
    return path


def write_mcap(path: Path, form: str, messages: Sequence[Written], topics: Sequence[tuple[str, str]]) -> Path:
    """By mcap's own writer: many small chunks with checksums, or neither chunks nor an index."""
    with path.open("wb") as stream:
        writer = McapWriter(
            stream,
            chunk_size=2**17,
            compression=CompressionType.LZ4,
            use_chunking=form == "mcap-lz4",
            index_types=IndexType.ALL if form == "mcap-lz4" else IndexType.NONE,
        )
        writer.start(profile="ros2", library="test")
        channels = {}
        for topic, kind in topics:
            definition = ROS2.generate_msgdef(kind, ros_version=2)[0].encode()
            channels[topic] = writer.register_channel(topic, "cdr", writer.register_schema(kind, "ros2msg", definition))
        for message in messages:
            writer.add_message(channels[message.topic], message.log_time_ns, message.cdr, message.log_time_ns)
        writer.finish()
    return path
