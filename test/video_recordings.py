"""Recordings of video cameras: a known scene, encoded by PyAV, in the messages of the drivers that send video."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

TOPIC = "/camera/video"
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
WIDTH, HEIGHT = 160, 120

COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
FFMPEG_PACKET = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
COMPRESSED_VIDEO = "foxglove_msgs/msg/CompressedVideo"

DEFINITIONS = {
    FFMPEG_PACKET: "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\n"
    "bool is_bigendian\nuint8[] data\n",
    COMPRESSED_VIDEO: "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n",
}
ROS2 = get_typestore(Stores.ROS2_JAZZY)
ROS1 = get_typestore(Stores.ROS1_NOETIC)
for name, text in DEFINITIONS.items():
    ROS2.register(get_types_from_msg(text, name))
    ROS1.register(get_types_from_msg(text.replace("builtin_interfaces/Time", "time"), name))

ENCODERS = {
    "h264": "libx264",
    "hevc": "libx265",
    "av1": "libsvtav1",
    "vp9": "libvpx-vp9",
    "vp8": "libvpx",
    "mjpeg": "mjpeg",
}


def scene(index: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 [height, width, 3] RGB: a smooth ground on which a square moves, so that every frame differs."""
    rows, columns = np.mgrid[0:height, 0:width]
    ground = np.stack([60 + columns * 0.8, 40 + rows * 1.2, 200 - (rows + columns) * 0.5], -1).clip(0, 255)
    picture = cv2.GaussianBlur(ground.astype(np.uint8), (0, 0), 3)
    left = 4 + index * 27 % (width - 70)
    cv2.rectangle(picture, (left, 30), (left + 60, 90), (220, 30 + index * 50 % 200, 40), -1)
    return picture


def encode(
    codec: str = "h264",
    frames: int = 12,
    key_distance: int = 5,
    *,
    b_frames: int = 0,
    options: dict[str, str] | None = None,
    colour: tuple[int, int] | None = None,
    pictures: Sequence[np.ndarray] | None = None,
) -> list[tuple[int, bytes]]:
    """(number of the picture, packet) in the order in which the encoder gives them; `colour` is matrix and range."""
    import av

    pictures = pictures if pictures is not None else [scene(index) for index in range(frames)]
    height, width = pictures[0].shape[:2]
    encoder = av.CodecContext.create(ENCODERS[codec], "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p" if codec == "mjpeg" else "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(10), Fraction(1, 10)
    encoder.gop_size, encoder.max_b_frames = key_distance, b_frames
    encoder.thread_count = 1
    chosen = dict(options or {})
    if codec == "av1":
        chosen = {"preset": "10", "crf": "15", **chosen}
    if codec in ("h264", "hevc"):
        chosen.setdefault("preset", "fast")
        chosen.setdefault("crf", "10")
        if not b_frames:
            chosen.setdefault("tune", "zerolatency")
        name = "x264-params" if codec == "h264" else "x265-params"
        usual = "scenecut=0:b-adapt=0" + ("" if codec == "h264" else ":log-level=none:pools=none:frame-threads=1")
        chosen[name] = f"{usual}:{chosen[name]}" if name in chosen else usual
    encoder.options = chosen
    if colour is not None:
        encoder.colorspace, encoder.color_range = colour
    packets = []
    for index, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        if colour is None:
            frame = frame.reformat(format=encoder.pix_fmt)
        else:
            frame = frame.reformat(format="yuv420p", dst_colorspace=colour[0], dst_color_range=colour[1])
            frame.colorspace, frame.color_range = colour
        frame.pts = index
        packets += [(packet.pts, bytes(packet)) for packet in encoder.encode(frame)]
    return packets + [(packet.pts, bytes(packet)) for packet in encoder.encode(None)]


def units(data: bytes) -> list[bytes]:
    """The units of a packet with start codes."""
    return [unit for unit in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]


def joined(parts: Sequence[bytes]) -> bytes:
    return b"".join(b"\0\0\0\1" + part for part in parts)


def with_lengths(data: bytes) -> bytes:
    """A packet with the units' lengths instead of start codes (AVCC)."""
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units(data))


def message(types: Any, kind: str, said: str, index: int, data: bytes) -> Any:
    stamp_ns = START_NS + index * PERIOD_NS - 5_000_000
    stamp = types.types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    sequence = {"seq": index} if types is ROS1 else {}
    header = types.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera", **sequence)
    array = np.frombuffer(data, np.uint8)
    if kind == COMPRESSED_IMAGE:
        return types.types[kind](header=header, format=said, data=array)
    if kind == COMPRESSED_VIDEO:
        return types.types[kind](timestamp=stamp, frame_id="camera", data=array, format=said)
    return types.types[kind](
        header=header,
        width=WIDTH,
        height=HEIGHT,
        encoding=said,
        pts=index,
        flags=1,  # says of every packet that it is a key frame, as some encoders do
        is_bigendian=False,
        data=array,
    )


def record(
    path: Path, packets: Sequence[bytes], kind: str = COMPRESSED_IMAGE, said: str = "h264", *, form: str = "mcap"
) -> Path:
    """A recording of the packets, one a message; `form` is mcap, db3, "db3 without definitions" or bag."""
    if form == "bag":
        path = path.with_suffix(".bag")
        with Ros1Writer(path) as writer:
            connection = writer.add_connection(TOPIC, kind, typestore=ROS1)
            for index, data in enumerate(packets):
                made = ROS1.serialize_ros1(message(ROS1, kind, said, index, data), kind)
                writer.write(connection, START_NS + index * PERIOD_NS, made)
        return path
    plugin = StoragePlugin.SQLITE3 if form.startswith("db3") else StoragePlugin.MCAP
    version = 8 if form.endswith("without definitions") else 9
    with Ros2Writer(path, version=version, storage_plugin=plugin) as writer:
        connection = writer.add_connection(TOPIC, kind, typestore=ROS2)
        for index, data in enumerate(packets):
            made = ROS2.serialize_cdr(message(ROS2, kind, said, index, data), kind)
            writer.write(connection, START_NS + index * PERIOD_NS, made)
    return path


def recorded(path: Path, codec: str = "h264", frames: int = 12, key_distance: int = 5, **options: Any) -> Path:
    """A recording of the scene as a driver that publishes H.264 or H.265 in CompressedImage makes it."""
    packets = [data for _, data in encode(codec, frames, key_distance, **options)]
    return record(path, packets, said=codec)


def error(picture: np.ndarray, expected: np.ndarray) -> float:
    """The mean difference of two pictures' samples."""
    assert picture.shape == expected.shape
    return float(np.abs(picture.astype(int) - expected).mean())


def jpeg(picture: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
