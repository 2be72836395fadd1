"""Times frames of a video in order, shuffled as a training asks for them, and shuffled without what it keeps.

    python benchmarks/video_access.py [--frames 500] [--labelled 1] [--out video_access.json]

The video is 640x480 H.264 of a moving scene at key frames 10, 30 and 250 packets apart. "shuffled, first epoch" decodes
what builds on one key frame when its first frame is asked for and keeps it on the disk; "later epochs" reads what was
kept; "key frame each time" is the same order without that: each frame is decoded from the key frame before it.
--labelled 5 asks for every fifth frame only, as a pruned drive has them. All files are in the page cache.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from measured import report
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mayhem_ros.video_decoder import VideoDecoder
from mayhem_train.recordings.recording import COMPRESSED_IMAGE, Recording

HEIGHT, WIDTH = 480, 640
TOPIC = "/camera/h264"
DISTANCES = (10, 30, 250)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--labelled", type=int, default=1, help="ask for every so-manieth frame")
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    labelled = range(0, arguments.frames, arguments.labelled)
    shuffled = np.random.default_rng(0).permutation(labelled).tolist()
    figures: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="mayhem-video-") as name:
        os.environ["MAYHEM_CACHE"] = f"{name}/cache"
        for distance in DISTANCES:
            path = write(Path(name) / f"every-{distance}", arguments.frames, distance)
            with Recording(path) as recording:
                recording.video(TOPIC)  # its packets are looked at now
                recording.read_image(TOPIC, 0)  # loads the decoder
            some = shuffled[: max(20, len(shuffled) * 10 // distance)]
            figures[f"every {distance}"] = {
                "in order": measure(path, labelled),
                "shuffled, first epoch": measure(path, shuffled, keep=labelled),
                "shuffled, later epochs": measure(path, shuffled, keep=labelled),
                "shuffled, key frame each time": measure(path, some),
            }
    table = Table("key frame", "access", "ms a frame", "packets decoded a frame")
    for distance_name, rows in figures.items():
        for access, figure in rows.items():
            table.add_row(distance_name, access, f"{figure['ms']:.2f}", f"{figure['packets']:.2f}")
    Console().print(table)
    report(figures, arguments.out)


def measure(path: Path, indices: Iterable[int], keep: Iterable[int] = ()) -> dict[str, float]:
    """Milliseconds and packets for each frame asked for."""
    packets = 0
    decode = VideoDecoder.decode

    def counted(self: VideoDecoder, number: int, data: bytes) -> Any:
        nonlocal packets
        packets += 1
        return decode(self, number, data)

    asked = list(indices)
    VideoDecoder.decode = counted  # type: ignore[method-assign]
    try:
        with Recording(path) as recording:
            if keep:
                recording.keep_pictures(TOPIC, list(keep))
            start = time.perf_counter()
            for index in asked:
                recording.read_image(TOPIC, index)
            seconds = time.perf_counter() - start
    finally:
        VideoDecoder.decode = decode  # type: ignore[method-assign]
    return {"ms": round(1e3 * seconds / len(asked), 3), "packets": round(packets / len(asked), 3)}


def picture(index: int) -> NDArray[np.uint8]:
    """uint8 [480, 640, 3] RGB: a window that moves over smoothed noise."""
    left = index * 3 % 600
    return np.ascontiguousarray(wall()[:, left : left + WIDTH])


_WALL: list[NDArray[np.uint8]] = []


def wall() -> NDArray[np.uint8]:
    """uint8 [480, 1240, 3], made once."""
    if not _WALL:
        noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, 1240, 3), np.uint8)
        blurred = cv2.GaussianBlur(noise, (0, 0), 3)
        _WALL.append(np.asarray(cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX), np.uint8))
    return _WALL[0]


def write(path: Path, frames: int, distance: int) -> Path:
    """A recording of the scene as H.264 in CompressedImage, encoded as a driver does it, without delay."""
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.framerate, encoder.time_base, encoder.gop_size = Fraction(30), Fraction(1, 30), distance
    encoder.options = {"tune": "zerolatency", "preset": "veryfast", "x264-params": "scenecut=0"}
    types = get_typestore(Stores.ROS2_JAZZY)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, COMPRESSED_IMAGE, typestore=types)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24").reformat(format="yuv420p")
            frame.pts = index
            for packet in encoder.encode(frame):
                stamp = types.types["builtin_interfaces/msg/Time"](sec=index, nanosec=0)
                header = types.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
                data = np.frombuffer(bytes(packet), np.uint8)
                message = types.types[COMPRESSED_IMAGE](header=header, format="h264", data=data)
                writer.write(connection, index * 10**9, types.serialize_cdr(message, COMPRESSED_IMAGE))
    return path


if __name__ == "__main__":
    main()
