"""How long a training step of 100 ms waits for its batch of 8, fed from raw and from JPEG recordings of 640x480.

    python benchmarks/loader.py [--steps 60] [--workers 1 2] [--out loader.json]

The default training transform makes 288x384 of frames of smoothed noise with boxes and a surface. The step sleeps, as
the main process does while a GPU computes; the workers then have the cores. Recordings are in the page cache.
"unhindered" is the loader alone, asked for batch after batch.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measured import report
from numpy.typing import NDArray
from pycocotools import mask as rle_codec
from rich.console import Console
from rich.table import Table
from rosbags.rosbag2 import Writer
from rosbags.rosbag2.enums import StoragePlugin
from rosbags.typesys import Stores, get_typestore

from mayhem_train.datasets.datamodule import PerceptionDataModule
from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex, LabelledImage, SurfaceLabel
from mayhem_train.datasets.samples import Batch

HEIGHT, WIDTH = 480, 640
TOPIC = "/camera/color"
FORMATS = ("raw", "jpeg")
STEP_S, BATCH, WARM_UP = 0.1, 8, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="mayhem-loader-") as name:
        for form in FORMATS:
            folder = Path(name) / form
            write(folder, form, arguments.frames)
            for workers in arguments.workers:
                figures[f"{form}, {workers} workers"] = measure(folder, workers, arguments.steps)
    table = Table("recording, workers", "images/s unhindered", "wait, median ms", "p95 ms", "% of the step")
    for label, figure in figures.items():
        table.add_row(
            label,
            f"{figure['images_per_s']:.0f}",
            f"{figure['wait_median_ms']:.2f}",
            f"{figure['wait_p95_ms']:.2f}",
            f"{100 * figure['wait_share_of_step']:.1f}",
        )
    Console().print(table)
    result = {"step_ms": 1e3 * STEP_S, "batch": BATCH, "cores": os.cpu_count(), "figures": figures}
    report(result, arguments.out)


def measure(folder: Path, workers: int, steps: int) -> dict[str, float]:
    """The waits before steps that follow one another, and the images a second of a loader that is only asked."""
    data = PerceptionDataModule(str(folder / "index.json"), str(folder), batch_size=BATCH, workers=workers)
    data.setup("fit")
    batches = endless(data)
    for _ in range(WARM_UP):
        next(batches)
        time.sleep(STEP_S)
    waits = []
    for _ in range(steps):
        start = time.perf_counter()
        next(batches)
        waits.append(time.perf_counter() - start)
        time.sleep(STEP_S)
    for _ in range(WARM_UP):  # what was prefetched during the last steps does not count
        next(batches)
    start = time.perf_counter()
    for _ in range(steps):
        next(batches)
    images_per_s = steps * BATCH / (time.perf_counter() - start)
    median, p95 = np.percentile(waits, [50, 95])
    return {
        "images_per_s": round(images_per_s, 1),
        "wait_median_ms": round(1e3 * float(median), 3),
        "wait_p95_ms": round(1e3 * float(p95), 3),
        "wait_share_of_step": round(float(np.mean(waits)) / STEP_S, 4),
    }


def endless(data: PerceptionDataModule) -> Iterator[Batch]:
    """Epoch after epoch by the same workers, as a training run asks for them."""
    loader = data.train_dataloader()
    while True:
        yield from loader  # type: ignore[misc]


def picture(index: int) -> NDArray[np.uint8]:
    """uint8 [480, 640, 3] BGR; JPEG makes 110 kB of it, more than of most cameras'."""
    noise = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX), np.uint8)


def write(folder: Path, form: str, frames: int) -> None:
    """One MCAP recording and an index with three boxes and a floor on every frame."""
    folder.mkdir(parents=True)
    types = get_typestore(Stores.ROS2_JAZZY)
    kind = f"sensor_msgs/msg/{'Image' if form == 'raw' else 'CompressedImage'}"
    with Writer(folder / "drive", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, kind, typestore=types)
        for index in range(frames):
            stamp = types.types["builtin_interfaces/msg/Time"](sec=index, nanosec=0)
            header = types.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
            bgr = picture(index)
            if form == "raw":
                message = types.types[kind](
                    header=header,
                    height=HEIGHT,
                    width=WIDTH,
                    encoding="rgb8",
                    is_bigendian=0,
                    step=WIDTH * 3,
                    data=np.ascontiguousarray(bgr[..., ::-1]).reshape(-1),
                )
            else:
                data = np.asarray(cv2.imencode(".jpg", bgr)[1], np.uint8).reshape(-1)
                message = types.types[kind](header=header, format="jpeg", data=data)
            writer.write(connection, index * 10**9, types.serialize_cdr(message, kind))
    categories = (Category(1, "person", True), Category(2, "floor", False))
    images = [labelled(index, "val" if index == 0 else "train") for index in range(frames)]
    DatasetIndex(categories, tuple(images)).save(folder / "index.json")


def labelled(index: int, split: str) -> LabelledImage:
    """A frame with three boxes and, below a horizon of its own, floor around two obstacles."""
    generator = np.random.default_rng(index)
    corners = generator.uniform(0, (500, 350), (3, 2))
    boxes = tuple(BoxLabel(1, (x, y, x + 90, y + 120)) for x, y in corners.tolist())
    floor = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    floor[int(generator.integers(150, 250)) :] = 1
    for x, y in generator.integers(200, 400, (2, 2)).tolist():
        floor[y : y + 60, x : x + 80] = 0
    rle = rle_codec.encode(floor)
    surface = SurfaceLabel(2, {"size": list(rle["size"]), "counts": rle["counts"].decode()})
    return LabelledImage(
        index + 1, WIDTH, HEIGHT, "drive", TOPIC, index, index * 10**9, index * 10**9, split, boxes, (surface,)
    )


if __name__ == "__main__":
    main()
