"""Measures how far resident memory rises while a long recording is read from end to end and at random.

    python benchmarks/memory_over_length.py [--frames 20000] [--out memory_over_length.json]

Each recording is read in a process of its own: what was resident before it is opened is the start, and its peak counts.
Raw images are black but for their first bytes, so that the file has holes, or compresses, where they would lie.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from measured import report
from rich.console import Console
from rich.table import Table
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.rosbag2.enums import StoragePlugin
from rosbags.typesys import Stores, get_typestore

from mayhem_train.recordings.recording import Recording

HEIGHT, WIDTH = 480, 640
TOPIC = "/camera/color/image_raw"
RAW, JPEG = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
FORMATS = {"mcap": RAW, "mcap, zstd chunks": RAW, "sqlite3": JPEG, "ros1": JPEG}
RANDOM_READS = 2000
_PAGE = 2**16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), metavar="FORMAT")
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    figures = {}
    table = Table("source", "type", "messages", "bytes of images", "peak over start, MB")
    with tempfile.TemporaryDirectory(prefix="mayhem-memory-") as name:
        os.environ["MAYHEM_CACHE"] = str(Path(name) / "cache")
        for form in arguments.formats:
            kind = FORMATS[form]
            path = write(Path(name), form, arguments.frames)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rise, content = pool.apply(measure, (path,))
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            figures[form] = {
                "type": kind,
                "frames": arguments.frames,
                "content_bytes": content,
                "rise_mb": round(rise / 1e6, 1),
            }
            table.add_row(form, kind.rpartition("/")[2], str(arguments.frames), f"{content:.3g}", f"{rise / 1e6:.0f}")
    Console().print(table)
    report(figures, arguments.out)


def measure(path: Path) -> tuple[int, int]:
    """How far this process's peak of resident memory rises, and the bytes of the images that went through it."""
    start = resident_bytes()
    content = 0
    with Recording(path) as recording:
        count = recording.topic(TOPIC).count
        for frame in recording.frames(TOPIC):
            content += len(recording.read_message(TOPIC, frame.index).data)
        for index in np.random.default_rng(0).integers(0, count, RANDOM_READS).tolist():
            recording.read_image(TOPIC, index)
        for message in recording.messages([TOPIC]):
            assert message.cdr
    # Linux counts in kB; what was the peak before has no part in it, since imports are done by the start.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - start, content


def resident_bytes() -> int:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def write(folder: Path, form: str, frames: int, height: int = HEIGHT, width: int = WIDTH) -> Path:
    """A recording of that many images."""
    if form.startswith("mcap"):
        return _write_mcap(folder / f"{form.replace(', ', '-').replace(' ', '-')}.mcap", form, frames, height, width)
    ros1 = form == "ros1"
    types = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
    path = folder / ("ros1.bag" if ros1 else "sqlite3")
    writer: Any = Ros1Writer(path) if ros1 else Ros2Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3)
    with writer:
        connection = writer.add_connection(TOPIC, JPEG, typestore=types)
        for index, message in enumerate(_jpegs(types, frames, height, width)):
            data = types.serialize_ros1(message, JPEG) if ros1 else types.serialize_cdr(message, JPEG)
            writer.write(connection, index * 10**8, data)
    return path


def _write_mcap(path: Path, form: str, frames: int, height: int, width: int) -> Path:
    types = get_typestore(Stores.ROS2_JAZZY)
    pixels = np.zeros(height * width * 3, np.uint8)
    message: Any = types.types[RAW](
        header=_header(types, 0),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=width * 3,
        data=pixels,
    )
    with BufferedWriter(_Sparse(path, "wb")) as stream:
        compression = CompressionType.ZSTD if "zstd" in form else CompressionType.NONE
        # The checksums of the data would need a second pass over all the zeros.
        writer = McapWriter(stream, chunk_size=2**20, compression=compression, enable_crcs=False)
        writer.start(profile="ros2", library="benchmark")
        definition = types.generate_msgdef(RAW, ros_version=2)[0].encode()
        channel = writer.register_channel(TOPIC, "cdr", writer.register_schema(RAW, "ros2msg", definition))
        for index in range(frames):
            pixels[:8] = np.frombuffer(index.to_bytes(8, "little"), np.uint8)
            message.header = _header(types, index)
            writer.add_message(channel, index * 10**8, bytes(types.serialize_cdr(message, RAW)), index * 10**8)
        writer.finish()
    return path


def _jpegs(types: Any, frames: int, height: int, width: int) -> Iterator[Any]:
    for index in range(frames):
        pixels = np.full((height, width, 3), index % 256, np.uint8)
        data = np.frombuffer(cv2.imencode(".jpg", pixels)[1].tobytes(), np.uint8)
        yield types.types[JPEG](header=_header(types, index), format="jpeg", data=data)


def _header(types: Any, index: int) -> Any:
    stamp = types.types["builtin_interfaces/msg/Time"](sec=index // 10, nanosec=index % 10 * 10**8)
    sequence = {"seq": index} if "seq" in types.types["std_msgs/msg/Header"].__dataclass_fields__ else {}
    return types.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera", **sequence)


class _Sparse(FileIO):
    """A file that leaves holes where zeros are written."""

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for at in range(0, len(view), _PAGE):
            piece = view[at : at + _PAGE]
            if len(piece) == _PAGE and not np.frombuffer(piece, np.uint8).any():
                self.seek(_PAGE, os.SEEK_CUR)
            else:
                super().write(piece)
        return len(view)


if __name__ == "__main__":
    main()
