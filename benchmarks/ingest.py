"""Times an ingest of one drive on one core, and what it consists of: reading, decoding, encoding and writing.

    python benchmarks/ingest.py [--frames 100] [--out ingest.json]

The drive is a synthetic one, 640x480, raw and as JPEG; its colour images alone are extracted. All is in the page cache.
"share" is the time of the codec alone (OpenCV decoding and encoding of the same frames) in that of the whole ingest,
so that 1 would mean an ingest that costs nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from measured import report
from rich.console import Console
from rich.table import Table

from mayhem_train.recordings.ingest.images import ColourExtractor
from mayhem_train.recordings.ingest.ingestion import IngestJob, ingest_recording
from mayhem_train.recordings.ingest.options import IngestOptions
from mayhem_train.recordings.recording import Recording
from mayhem_train.recordings.warehouse.synthesis import synthesise

COLOUR_ALONE = dict.fromkeys(("depth", "clouds", "imu", "poses", "camera_info", "table"), "none")
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="mayhem-ingest-") as name:
        folder = Path(name)
        drives = {}
        for form, compressed in (("raw", False), ("JPEG", True)):
            synthesise(folder / form, frames=arguments.frames, seed=1, drives=1, compressed=compressed)
            drives[form] = folder / form / "warehouse-s1-0"
        figures = {
            f"{recorded} to {written.upper()}": time_ingest(drives[recorded], folder / "out", written)
            for recorded, written in (("raw", "png"), ("raw", "jpg"), ("JPEG", "png"), ("JPEG", "jpg"))
        }
        settings = png_settings(drives["raw"])
    table = Table("recorded to written", "frames/s", "ms a frame", "codec alone, ms", "its share")
    for case, figure in figures.items():
        table.add_row(case, *(f"{value:.3g}" for value in figure.values()))
    Console().print(table)
    table = Table("PNG settings", "ms a frame", "kB a frame")
    for case, figure in settings.items():
        table.add_row(case, *(f"{value:.4g}" for value in figure.values()))
    Console().print(table)
    report({"ingest": figures, "png": settings}, arguments.out)


def time_ingest(path: Path, out: Path, form: str) -> dict[str, float]:
    """Rounds of the whole and of the codec alone take turns, so that whatever else the machine does hits both alike."""
    options = IngestOptions(colour=form, **COLOUR_ALONE)
    with Recording(path) as recording:
        topic = recording.image_topic(None)
        messages = [recording.read_message(topic.name, index) for index in range(topic.count)]
    extractor = ColourExtractor(form, options.jpeg_quality)

    def codec() -> None:
        for message in messages:
            extractor.extract(message)

    def whole() -> None:
        ingest_recording(IngestJob(path, out, options, force=True), print)

    times: dict[Callable[[], None], list[float]] = {whole: [], codec: []}
    for _ in range(ROUNDS):
        for work, seconds in times.items():
            start = time.perf_counter()
            work()
            seconds.append((time.perf_counter() - start) / len(messages))
    whole_ms, codec_ms = (1e3 * statistics.median(times[work]) for work in (whole, codec))
    return {
        "frames_per_second": round(1e3 / whole_ms, 1),
        "ms_a_frame": round(whole_ms, 3),
        "codec_ms_a_frame": round(codec_ms, 3),
        "codec_share": round(codec_ms / whole_ms, 3),
    }


def png_settings(path: Path) -> dict[str, dict[str, float]]:
    """What an ingest writes, OpenCV's default, and its smallest."""
    with Recording(path) as recording:
        topic = recording.image_topic(None)
        messages = [recording.read_message(topic.name, index) for index in range(min(topic.count, 20))]
        images = [np.ascontiguousarray(recording.read_image(topic.name, index)) for index in range(len(messages))]
    extractor = ColourExtractor("png", 95)
    encoders: dict[str, Callable[[int], int]] = {
        "of an ingest": lambda index: len(extractor.extract(messages[index]).data),
        "OpenCV's default": lambda index: len(cv2.imencode(".png", images[index])[1]),
        "level 9": lambda index: len(cv2.imencode(".png", images[index], [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]),
    }
    times: dict[str, list[float]] = {case: [] for case in encoders}
    sizes: dict[str, list[int]] = {case: [] for case in encoders}
    for index in range(len(messages)):
        for case, encode in encoders.items():
            start = time.perf_counter()
            sizes[case].append(encode(index))
            times[case].append(time.perf_counter() - start)
    return {
        case: {
            "ms_a_frame": round(1e3 * statistics.median(times[case]), 3),
            "kb_a_frame": round(statistics.mean(sizes[case]) / 1e3, 1),
        }
        for case in encoders
    }


if __name__ == "__main__":
    main()
