"""`mayhem import-cvat`: CVAT annotation files become one dataset index."""

from __future__ import annotations

import argparse
from pathlib import Path

from mayhem_ros.errors import UsageError
from mayhem_train.commands.import_arguments import add_import_arguments, run_import
from mayhem_train.commands.path_argument import path_argument
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.faults import Faults
from mayhem_train.datasets.annotations.recorded_frames import RecordedFrames
from mayhem_train.datasets.annotations.shapes import AnnotationFile

EXAMPLE = "mayhem import-cvat annotations/*.xml --recordings recordings/ --out index.json --val drive-3"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "files",
        nargs="+",
        type=path_argument,
        metavar="FILE",
        help='"CVAT for images 1.1" or "CVAT for video 1.1", XML or zip as exported',
    )
    parser.add_argument(
        "--video-recording",
        nargs="+",
        default=[],
        metavar="[NAME=]STEM",
        help="the recording a video was made of, where they differ in name; NAME: the video, the task or the file",
    )
    add_import_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Does the work and returns the exit code."""
    recordings: dict[str, str] = {}
    for said in arguments.video_recording:
        name, _, stem = said.rpartition("=")
        if not stem or name in recordings:
            raise UsageError(f"--video-recording {said} is no [NAME=]STEM, or says again what others said: correct it.")
        recordings[name] = stem

    def read(path: Path, frames: RecordedFrames, faults: Faults) -> AnnotationFile:
        return read_cvat(path, recordings, frames=frames, faults=faults)

    return run_import(arguments, read)
