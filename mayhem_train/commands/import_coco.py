"""`mayhem import-coco`: COCO annotation files become one dataset index."""

from __future__ import annotations

import argparse
from pathlib import Path

from mayhem_train.commands.import_arguments import add_import_arguments, add_video_recording, run_import
from mayhem_train.commands.path_argument import path_argument
from mayhem_train.datasets.annotations.classes import read_class_map
from mayhem_train.datasets.annotations.coco import read_coco
from mayhem_train.datasets.annotations.faults import Faults
from mayhem_train.datasets.annotations.recorded_frames import RecordedFrames
from mayhem_train.datasets.annotations.shapes import AnnotationFile

EXAMPLE = "mayhem import-coco instances.json --recordings recordings/ --out index.json --classes classes.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "files",
        nargs="+",
        type=path_argument,
        metavar="FILE.json",
        help="COCO annotations; without --classes categories are things, those with `isthing` 0 surfaces",
    )
    add_video_recording(parser)
    add_import_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Does the work and returns the exit code."""
    classes = None if arguments.classes is None else read_class_map(arguments.classes)

    def read(path: Path, frames: RecordedFrames, faults: Faults) -> AnnotationFile:
        return read_coco(path, classes=classes, frames=frames, faults=faults)

    return run_import(arguments, read, video=arguments.video_recording)
