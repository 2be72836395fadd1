"""Times one random 640x480 frame out of each recording format against decoding the same frame from a PNG.

    python benchmarks/random_access.py [--frames 400] [--out random_access.json]

The pictures are smoothed noise, which PNG compresses about as well as it does a camera's. All is in the page cache.
Chunks of one frame are what rosbag2 writes by default; their checksums are verified at each read.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from measured import report
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from mayhem_train.recordings.recording import Recording

HEIGHT, WIDTH = 480, 640
TOPIC, TYPE = "/camera/color/image_raw", "sensor_msgs/msg/Image"
FORMATS = ("mcap", "mcap, zstd chunks", "mcap, zstd chunks of one frame", "sqlite3", "ros1")
ROSBAG2_CHUNK = 786_432  # bytes at which rosbag2 ends a chunk: after one of these frames; rosbags ends it after two


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--reads", type=int, default=200)
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    order = np.random.default_rng(0).integers(0, arguments.frames, arguments.reads).tolist()
    with tempfile.TemporaryDirectory(prefix="mayhem-random-access-") as name:
        folder = Path(name)
        for index in range(arguments.frames):
            cv2.imwrite(str(folder / f"{index:06d}.png"), picture(index))
        recordings = {form: Recording(write(folder, form, arguments.frames)) for form in FORMATS}
        readers: dict[str, Callable[[int], Any]] = {
            "PNG": lambda index: decode_png(folder / f"{index:06d}.png"),
            **{form: partial(recording.read_image, TOPIC) for form, recording in recordings.items()},
        }
        for read in readers.values():
            assert np.array_equal(read(1), picture(1)[..., ::-1])
        times: dict[str, list[float]] = {form: [] for form in readers}
        for index in order:  # the formats take turns, so that whatever else the machine does hits all alike
            for form, read in readers.items():
                start = time.perf_counter()
                read(index)
                times[form].append((time.perf_counter() - start) * 1e3)
        for recording in recordings.values():
            recording.close()
    medians = {form: statistics.median(values) for form, values in times.items()}
    figures = {
        form: {"median_ms": round(ms, 3), "times_faster_than_png": round(medians["PNG"] / ms, 2)}
        for form, ms in medians.items()
    }
    table = Table("source", "median ms a frame", "times faster than PNG")
    for form, figure in figures.items():
        table.add_row(form, f"{figure['median_ms']:.2f}", f"{figure['times_faster_than_png']:.1f}")
    Console().print(table)
    report(figures, arguments.out)


def decode_png(path: Path) -> NDArray[np.uint8]:
    """uint8 [480, 640, 3] RGB."""
    image = cv2.imread(str(path))
    assert image is not None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def picture(index: int) -> NDArray[np.uint8]:
    """uint8 [480, 640, 3] BGR."""
    noise = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)


def write(folder: Path, form: str, frames: int) -> Path:
    """A recording of the pictures as raw rgb8 messages."""
    ros1 = form == "ros1"
    types = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
    path = folder / form.replace(", ", "-").replace(" ", "-")
    writer: Any
    if form.endswith("one frame"):
        return write_mcap(path.with_suffix(".mcap"), types, frames)
    if ros1:
        path = path.with_suffix(".bag")
        writer = Ros1Writer(path)
    else:
        plugin = StoragePlugin.SQLITE3 if form == "sqlite3" else StoragePlugin.MCAP
        writer = Ros2Writer(path, version=9, storage_plugin=plugin)
        if "zstd" in form:
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(TOPIC, TYPE, typestore=types)
        for index in range(frames):
            sequence = {"seq": index} if ros1 else {}
            image = message(types, index, sequence)
            data = types.serialize_ros1(image, TYPE) if ros1 else types.serialize_cdr(image, TYPE)
            writer.write(connection, index * 10**9, data)
    return path


def write_mcap(path: Path, types: Typestore, frames: int) -> Path:
    """As rosbag2's own writer does it: a chunk ends with the message that makes it large enough, and has a checksum."""
    with path.open("wb") as stream:
        writer = McapWriter(stream, chunk_size=ROSBAG2_CHUNK, compression=CompressionType.ZSTD)
        writer.start(profile="ros2", library="benchmark")
        definition = types.generate_msgdef(TYPE, ros_version=2)[0].encode()
        channel = writer.register_channel(TOPIC, "cdr", writer.register_schema(TYPE, "ros2msg", definition))
        for index in range(frames):
            data = bytes(types.serialize_cdr(message(types, index, {}), TYPE))
            writer.add_message(channel, index * 10**9, data, index * 10**9)
        writer.finish()
    return path


def message(types: Typestore, index: int, sequence: dict[str, int]) -> Any:
    """The picture as a raw rgb8 message."""
    stamp = types.types["builtin_interfaces/msg/Time"](sec=index, nanosec=0)
    return types.types[TYPE](
        header=types.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera", **sequence),
        height=HEIGHT,
        width=WIDTH,
        encoding="rgb8",
        is_bigendian=0,
        step=WIDTH * 3,
        data=np.ascontiguousarray(picture(index)[..., ::-1]).reshape(-1),
    )


if __name__ == "__main__":
    main()
