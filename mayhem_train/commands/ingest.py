"""`mayhem ingest`: images, depth, clouds, motion, calibrations out of recordings, and the table that pairs them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.markup import escape
from rich.progress import TaskID

from mayhem_ros.errors import UsageError
from mayhem_train.commands.intensity_argument import add_intensity_range
from mayhem_train.commands.path_argument import path_argument
from mayhem_train.commands.recording_arguments import add_distro
from mayhem_train.console import console, progress_bar, warn
from mayhem_train.recordings.ingest.batch import ingest_recordings
from mayhem_train.recordings.ingest.ingestion import IngestJob
from mayhem_train.recordings.ingest.options import FORMS, IngestOptions
from mayhem_train.recordings.ingest.outcome import Outcome
from mayhem_train.recordings.sixteen_bits import AUTO

EXAMPLE = "mayhem ingest drive-1.mcap drive-2.bag --out extracted --colour jpg --clouds ply"

_LONGEST_OFFSET = 1e9  # seconds, thirty years, of which the nanoseconds fit into 64 bits

_HELP = {
    "colour": "colour images; JPEG messages are copied as jpg",
    "depth": "depth images: 16 bit as recorded, float32 in metres, or each as it was recorded",
    "clouds": "point clouds, with all their fields",
    "imu": "inertial measurements; gyroscope and accelerometer merged",
    "poses": "odometry, poses and transforms",
    "camera_info": "camera calibrations",
    "table": "the table that pairs every colour frame with depth, cloud, imu and pose",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "recordings", nargs="+", type=path_argument, metavar="RECORDING", help=".mcap, .db3, .bag or a folder"
    )
    parser.add_argument(
        "--out", type=path_argument, required=True, metavar="DIR", help="gets a folder for every recording"
    )
    for kind, forms in FORMS.items():
        parser.add_argument(
            f"--{kind.replace('_', '-')}", choices=forms, default=forms[0], help=f"{_HELP[kind]} (default: {forms[0]})"
        )
    parser.add_argument("--topics", nargs="+", default=[], metavar="NAME", help="only these (default: all)")
    parser.add_argument(
        "--max-offset",
        type=float,
        default=0.05,
        metavar="SECONDS",
        help="what is further from a colour frame is not paired with it, and no acceleration is interpolated further "
        "from a measured one (default: 0.05)",
    )
    parser.add_argument("--jpeg-quality", type=int, default=95, metavar="Q", help="1 to 100 (default: 95)")
    parser.add_argument("--workers", type=int, metavar="N", help="cores to use (default: all)")
    parser.add_argument("--ray", metavar="ADDRESS", help="work on a Ray cluster (host:port, or auto)")
    add_intensity_range(parser)
    add_distro(parser)
    parser.add_argument("--force", action="store_true", help="replace what was ingested before")


def run(arguments: argparse.Namespace) -> int:
    """Extracts all recordings, says what came of each, and ends with 1 or 2 where one failed."""
    if not abs(arguments.max_offset) <= _LONGEST_OFFSET:
        raise UsageError(f"--max-offset {arguments.max_offset} is no number of seconds up to {_LONGEST_OFFSET:g}.")
    options = IngestOptions(
        **{kind: getattr(arguments, kind) for kind in FORMS},
        topics=tuple(arguments.topics),
        max_offset_ns=round(arguments.max_offset * 1e9),
        jpeg_quality=arguments.jpeg_quality,
        distro=arguments.distro,
        intensity_range=None if arguments.intensity_range == AUTO else arguments.intensity_range,
    )
    with _Bars(len(set(arguments.recordings))) as bars:
        outcomes = ingest_recordings(
            arguments.recordings,
            arguments.out,
            options,
            bars,
            find_range=arguments.intensity_range == AUTO,
            workers=arguments.workers,
            force=arguments.force,
            ray_address=arguments.ray,
        )
    for outcome in outcomes:
        _show(outcome)
    warn(*_few_levels(outcomes))
    return max(map(_exit_code, outcomes), default=0)


def _exit_code(outcome: Outcome) -> int:
    if outcome.error is not None:
        return outcome.error.exit_code
    return int(outcome.ingested is not None and bool(outcome.ingested.failures))


def _show(outcome: Outcome) -> None:
    warn(*outcome.warnings)
    if outcome.error is not None:
        print(f"mayhem ingest: {outcome.error}", file=sys.stderr)
    elif outcome.ingested is not None:
        counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in outcome.ingested.counts.items())
        what = "finished before" if outcome.ingested.was_finished else counts
        console.print(f"{outcome.ingested.folder}: {what}", soft_wrap=True, markup=False, highlight=False)
        for remark in outcome.ingested.remarks:
            console.print(f"  {remark}", soft_wrap=True, markup=False, highlight=False)
        for failure in outcome.ingested.failures:
            print(f"mayhem ingest: {failure}", file=sys.stderr)


def _few_levels(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """A sentence for each topic that has one in any recording."""
    by_topic: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.ingested is not None:
            by_topic = {**outcome.ingested.few_levels, **by_topic}
    return by_topic.values()


class _Bars:
    """One bar for the recordings, and one for each that is worked on."""

    def __init__(self, recordings: int) -> None:
        self._progress = progress_bar()
        self._all = self._progress.add_task("Recordings", total=recordings)
        self._tasks: dict[Path, TaskID] = {}

    def begun(self, job: IngestJob) -> None:
        """Shows the recording's bar."""
        self._tasks[job.path] = self._progress.add_task(escape(job.folder.name), total=None)

    def advanced(self, job: IngestJob, done: int, total: int) -> None:
        """Moves it."""
        self._progress.update(self._tasks[job.path], completed=done, total=total)

    def ended(self, job: IngestJob, outcome: Outcome) -> None:
        """Removes it."""
        if job.path in self._tasks:
            self._progress.remove_task(self._tasks.pop(job.path))
        self._progress.advance(self._all)

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
