"""Times pruning against scikit-image on the same decoded frames, from a raw recording to kept.json, and its memory.

    python benchmarks/prune.py [--frames 400] [--out prune.json]

Everything runs on one core. Comparisons take turns with scikit-image's on synthetic 640x480 drives and, where they are
found (environment variable MAYHEM_DATA or ../shared/data beside the checkout), on real ones; every decision must be
equal. Files are in the page cache, compiled code is loaded before the clock starts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measured import report
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rosbags.rosbag2 import Writer
from rosbags.rosbag2.enums import StoragePlugin
from rosbags.typesys import Stores, get_typestore
from skimage.metrics import normalized_root_mse, structural_similarity

from mayhem_train.recordings.pruning.pruning import prune
from mayhem_train.recordings.pruning.selection import PruneSettings
from mayhem_train.recordings.pruning.similarity import Reference, similarity, to_grey
from mayhem_train.recordings.recording import Recording
from mayhem_train.recordings.warehouse.synthesis import synthesise

HEIGHT, WIDTH = 480, 640
LIMIT = 0.7
TYPES = get_typestore(Stores.ROS2_JAZZY)
DATA = Path(os.environ.get("MAYHEM_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "camvid"
REAL = ("camvid-0001TP", "camvid-0006R0.bag", "camvid-0016E5", "camvid-0016E5-val")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=400, help="of the raw recording")
    parser.add_argument("--many", type=int, default=20_000, help="frames of the recording that memory is measured on")
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    similarity(np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8))
    with tempfile.TemporaryDirectory(prefix="mayhem-prune-") as name:
        folder = Path(name)
        drives = [drive.recording for drive in synthesise(folder / "synthetic", frames=60, seed=7, drives=1)]
        drives += [DATA / drive for drive in REAL if (DATA / drive).exists()]
        comparisons = [compare(drive) for drive in drives]
        pipeline = time_pipeline(folder, arguments.frames)
        memory = measure_memory(folder, arguments.many)
    console = Console()
    if len(drives) == 1:
        console.print(f"no real drives at {DATA}")
    table = Table("drive", "frames", "kept", "ms", "scikit-\nimage ms", "times\nfaster", "largest\ndifference")
    for row in comparisons:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)
    console.print(f"raw {WIDTH}x{HEIGHT} MCAP to kept.json on one core: {pipeline['frames_per_second']} frames/s")
    console.print(f"{memory['frames']} frames: resident memory grew by at most {memory['growth_mb']} MB")
    figures = {"comparison": comparisons, "pipeline": pipeline, "memory": memory}
    report(figures, arguments.out)


def compare(path: Path) -> dict[str, Any]:
    """The same frames pruned by both, in turns; medians of a comparison's time."""
    with Recording(path) as recording:
        topic = recording.image_topic(None)
        greys = [to_grey(recording.read_image(topic.name, index)) for index in range(topic.count)]
    own_times, other_times, differences, kept = [], [], [], 1
    reference, last = Reference(greys[0]), greys[0]
    for grey in greys[1:]:
        own_time, (own, reference) = timed(partial(decide, reference, grey))
        other_time, other = timed(partial(scikit_image, last, grey))
        own_times.append(own_time)
        other_times.append(other_time)
        differences.append(abs(own - other))
        assert (own < LIMIT) == (other < LIMIT), f"{path}: {own} and {other} decide differently"
        if other < LIMIT:
            kept += 1
            last = grey
    own_ms, other_ms = statistics.median(own_times) * 1e3, statistics.median(other_times) * 1e3
    return {
        "drive": f"{recording.stem}, {greys[0].shape[1]}x{greys[0].shape[0]}",
        "frames": len(greys),
        "kept": kept,
        "ms": round(own_ms, 3),
        "scikit_image_ms": round(other_ms, 2),
        "times_faster": round(other_ms / own_ms, 1),
        "largest_difference": float(f"{max(differences):.1e}"),
    }


def decide(reference: Reference, grey: NDArray[np.uint8]) -> tuple[float, Reference]:
    """The score, and what the next frame is compared with."""
    score = reference.similarity(grey)
    return score, Reference(grey) if score < LIMIT else reference


def scikit_image(reference: NDArray[np.uint8], image: NDArray[np.uint8]) -> float:
    ssim = structural_similarity(reference, image, win_size=111)
    return float(0.4 * ssim + 0.6 * (1 - normalized_root_mse(reference, image)))


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def time_pipeline(folder: Path, frames: int) -> dict[str, Any]:
    """Opening the recording to the finished file, the median of five runs."""
    view = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH + 1000, 3), np.uint8), (0, 0), 9)
    view = np.asarray(cv2.normalize(view, None, 0, 255, cv2.NORM_MINMAX), np.uint8)
    pictures = (np.ascontiguousarray(view[:, index % 1000 : index % 1000 + WIDTH]) for index in range(frames))
    recording = write(folder / "raw", "sensor_msgs/msg/Image", map(raw_fields, pictures))
    times = []
    for _ in range(5):
        seconds, pruned = timed(lambda: prune([recording], folder / "raw.json", PruneSettings(LIMIT), force=True))
        times.append(seconds)
    assert len(pruned.rows) == frames
    return {
        "frames": frames,
        "kept": sum(row.kept for row in pruned.rows),
        "frames_per_second": round(frames / statistics.median(times)),
    }


def measure_memory(folder: Path, frames: int) -> dict[str, Any]:
    """How much more a process holds at its peak than before it opens a recording of small JPEG frames."""
    rng = np.random.default_rng(0)
    jpegs = [cv2.imencode(".jpg", rng.integers(0, 256, (120, 160, 3), np.uint8))[1].reshape(-1) for _ in range(20)]
    fields = ({"format": "jpeg", "data": jpegs[index % 20]} for index in range(frames))
    recording = write(folder / "many", "sensor_msgs/msg/CompressedImage", fields)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        growth = pool.apply(memory_growth, (recording, folder / "many.json"))
    return {"frames": frames, "growth_mb": round(growth / 1e6, 1)}


def memory_growth(recording: Path, out: Path) -> int:
    """Bytes; called in a process of its own."""
    similarity(np.zeros((120, 160), np.uint8), np.zeros((120, 160), np.uint8))
    before = resident("VmRSS")
    prune([recording], out, PruneSettings(LIMIT))
    return resident("VmHWM") - before


def resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def raw_fields(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    return {
        "height": HEIGHT,
        "width": WIDTH,
        "encoding": "rgb8",
        "is_bigendian": 0,
        "step": WIDTH * 3,
        "data": pixels.reshape(-1),
    }


def write(path: Path, kind: str, messages: Iterable[dict[str, Any]]) -> Path:
    """An MCAP recording of images with these fields, ten a second."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/camera", kind, typestore=TYPES)
        for index, fields in enumerate(messages):
            time_ns = index * 10**8
            stamp = TYPES.types["builtin_interfaces/msg/Time"](sec=time_ns // 10**9, nanosec=time_ns % 10**9)
            header = TYPES.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
            message = TYPES.types[kind](header=header, **fields)
            writer.write(connection, time_ns, TYPES.serialize_cdr(message, kind))
    return path


if __name__ == "__main__":
    main()
