"""Times opening a recording and listing its frames with their stamps, the first time and with the index kept of it.

    python benchmarks/frame_index.py [--images 2000] [--out frame_index.json]

A drive of JPEG images and 20 times as many IMU messages, whole and without the index at its end. All is in the page
cache, so what is saved on a disk is more.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measured import report
from rich.console import Console
from rich.table import Table
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.rosbag2.enums import StoragePlugin
from rosbags.typesys import Stores, get_typestore

from mayhem_train.recordings.recording import Recording

CAMERA, IMU = "/camera/image/compressed", "/imu"
TYPES = {CAMERA: "sensor_msgs/msg/CompressedImage", IMU: "sensor_msgs/msg/Imu"}
IMU_PER_IMAGE = 20
IMAGE_BYTES = 40_000
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    figures = {}
    table = Table("source", "first, ms", "then, ms", "times faster")
    with tempfile.TemporaryDirectory(prefix="mayhem-frame-index-") as name:
        folder = Path(name)
        os.environ["MAYHEM_CACHE"] = str(folder / "cache")
        for form in ("mcap", "sqlite3", "ros1"):
            whole = write(folder, form, arguments.images)
            cut = Path(shutil.copy(whole, folder / f"cut-{whole.name}"))
            os.truncate(cut, whole.stat().st_size - 50_000)
            for label, path in ((form, whole), (f"{form}, cut off", cut)):
                first, then = [], []
                for _ in range(REPEATS):
                    shutil.rmtree(folder / "cache", ignore_errors=True)
                    first.append(open_and_list(path))
                    then.append(open_and_list(path))
                figures[label] = {
                    "first_ms": round(statistics.median(first), 1),
                    "then_ms": round(statistics.median(then), 1),
                    "times_faster": round(statistics.median(first) / statistics.median(then), 1),
                }
                table.add_row(label, *(str(value) for value in figures[label].values()))
    Console().print(table)
    report(figures, arguments.out)


def open_and_list(path: Path) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    with Recording(path) as recording:
        assert sum(1 for _ in recording.frames(CAMERA)) > 0
    return (time.perf_counter() - start) * 1e3


def write(folder: Path, form: str, images: int) -> Path:
    """The bare file of a drive."""
    ros1 = form == "ros1"
    types = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
    path = folder / ("ros1.bag" if ros1 else form)
    plugin = StoragePlugin.MCAP if form == "mcap" else StoragePlugin.SQLITE3
    writer: Any = Ros1Writer(path) if ros1 else Ros2Writer(path, version=9, storage_plugin=plugin)
    serialise = types.serialize_ros1 if ros1 else types.serialize_cdr
    data = {name: bytes(serialise(_message(types, kind), kind)) for name, kind in TYPES.items()}
    with writer:
        connections = {name: writer.add_connection(name, kind, typestore=types) for name, kind in TYPES.items()}
        for index in range(images):
            for step in range(IMU_PER_IMAGE):
                writer.write(connections[IMU], (index * IMU_PER_IMAGE + step) * 10**7, data[IMU])
            writer.write(connections[CAMERA], index * IMU_PER_IMAGE * 10**7, data[CAMERA])
    return path if ros1 else next(file for file in path.iterdir() if file.suffix != ".yaml")


def _message(types: Any, kind: str) -> Any:
    stamp = types.types["builtin_interfaces/msg/Time"](sec=1, nanosec=0)
    sequence = {"seq": 0} if "seq" in types.types["std_msgs/msg/Header"].__dataclass_fields__ else {}
    header = types.types["std_msgs/msg/Header"](stamp=stamp, frame_id="robot", **sequence)
    if kind == TYPES[CAMERA]:
        return types.types[kind](header=header, format="jpeg", data=np.zeros(IMAGE_BYTES, np.uint8))
    vector, quaternion = types.types["geometry_msgs/msg/Vector3"], types.types["geometry_msgs/msg/Quaternion"]
    return types.types[kind](
        header=header,
        orientation=quaternion(x=0.0, y=0.0, z=0.0, w=1.0),
        orientation_covariance=np.zeros(9),
        angular_velocity=vector(x=0.0, y=0.0, z=0.0),
        angular_velocity_covariance=np.zeros(9),
        linear_acceleration=vector(x=0.0, y=0.0, z=9.81),
        linear_acceleration_covariance=np.zeros(9),
    )


if __name__ == "__main__":
    main()
