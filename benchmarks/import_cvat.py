"""Times the import of 2,000 annotated images from CVAT, XML to index file, and their export, index file to XML.

    python benchmarks/import_cvat.py [--images 2000] [--out import_cvat.json]

Each image has five boxes with an attribute, two polygons of 30 points, and every fourth a painted floor; the recording
holds as many frames. All is in the page cache. The goal: 2,000 images in at most ten seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from measured import report
from rich.console import Console
from rich.table import Table
from rosbags.rosbag2 import Writer
from rosbags.rosbag2.enums import StoragePlugin
from rosbags.typesys import Stores, get_typestore

from mayhem_train.datasets.annotations.cvat.exporting import export_cvat
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.cvat.writing import write_cvat
from mayhem_train.datasets.annotations.importing import import_annotations
from mayhem_train.datasets.annotations.shapes import AnnotatedImage, BoxShape, MaskShape, PolygonShape, Shape
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.recordings.frame import frame_name

HEIGHT, WIDTH = 480, 640
GOAL_S, GOAL_IMAGES = 10.0, 2000
STEM, TOPIC, TYPE = "drive", "/camera/color/image_raw", "sensor_msgs/msg/Image"
Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=GOAL_IMAGES)
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mayhem-import-cvat-") as name:
        folder = Path(name)
        write_recording(folder / "recordings", arguments.images)
        xml, saved = folder / "labels.xml", folder / "index.json"
        write_cvat(xml, ["car", "person", "road", "kerb", "floor"], annotated(arguments.images))
        seconds: dict[str, float] = {}

        def timed(what: str, work: Callable[[], Result]) -> Result:
            start = time.perf_counter()
            result = work()
            seconds[what] = time.perf_counter() - start
            return result

        file = timed("read the XML", lambda: read_cvat(xml))
        imported = timed(
            "find the frames, convert the shapes", lambda: import_annotations([file], folder / "recordings")
        )
        timed("write the index", lambda: imported.index.save(saved))
        index = timed("load the index", lambda: DatasetIndex.load(saved))
        (again,) = timed("export to XML", lambda: export_cvat(index, folder / "out"))
        assert again.read_bytes() == xml.read_bytes()
        assert len(index.images) == arguments.images
        sizes = {"XML": xml.stat().st_size, "index": saved.stat().st_size}
    importing = sum(list(seconds.values())[:3])
    figures = {
        "images": arguments.images,
        "seconds": {what: round(value, 3) for what, value in seconds.items()},
        "import_seconds": round(importing, 3),
        "share_of_goal": round(importing / (GOAL_S * arguments.images / GOAL_IMAGES), 3),
        "megabytes": {what: round(size / 1e6, 2) for what, size in sizes.items()},
    }
    table = Table("step", "seconds")
    for what, value in seconds.items():
        table.add_row(what, f"{value:.2f}")
    table.add_section()
    table.add_row("import in all", f"{importing:.2f}")
    Console().print(table)
    report(figures, arguments.out)


def annotated(count: int) -> Iterator[AnnotatedImage]:
    """Boxes as CVAT rounds them, polygons about as large as a lane, a floor with a ragged edge."""
    generator = np.random.default_rng(0)
    for number in range(count):
        shapes: list[Shape] = []
        for place in range(5):
            x, y, width, height = generator.uniform((0, 0, 20, 20), (500, 400, 140, 80)).round(2).tolist()
            box = round(x, 2), round(y, 2), round(x + width, 2), round(y + height, 2)
            label = "car" if place % 2 else "person"
            shapes.append(BoxShape(label, box, source="manual", attributes=(("moving", "true"),)))
        for label in ("road", "kerb"):
            angles = np.sort(generator.uniform(0, 2 * np.pi, 30))
            radii = generator.uniform(80, 200, 30)
            points = np.stack([320 + radii * np.cos(angles), 240 + radii * np.sin(angles)], axis=1).round(2)
            shapes.append(PolygonShape(label, points, source="manual"))
        if number % 4 == 0:
            edges = np.clip(np.cumsum(generator.integers(-3, 4, 240)) + 100, 1, 300)
            runs = np.stack([edges, np.full(240, 640) - edges], axis=1).ravel()
            shapes.append(MaskShape("floor", runs, (0, 240, 640, 240), -1, source="manual"))
        yield AnnotatedImage(frame_name(STEM, number), WIDTH, HEIGHT, tuple(shapes))


def write_recording(folder: Path, frames: int) -> None:
    """A recording of rgb8 frames: the first one in full size, which the import compares, the others tiny."""
    types = get_typestore(Stores.ROS2_JAZZY)
    folder.mkdir(parents=True)
    with Writer(folder / STEM, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, TYPE, typestore=types)
        for index in range(frames):
            height, width = (HEIGHT, WIDTH) if index == 0 else (6, 8)
            message = types.types[TYPE](
                header=types.types["std_msgs/msg/Header"](
                    stamp=types.types["builtin_interfaces/msg/Time"](sec=index, nanosec=0), frame_id="camera"
                ),
                height=height,
                width=width,
                encoding="rgb8",
                is_bigendian=0,
                step=3 * width,
                data=np.zeros(3 * width * height, np.uint8),
            )
            writer.write(connection, index * 10**9, types.serialize_cdr(message, TYPE))


if __name__ == "__main__":
    main()
