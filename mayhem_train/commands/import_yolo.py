"""`mayhem import-yolo`: folders of YOLO label files become one dataset index."""

from __future__ import annotations

import argparse
from pathlib import Path

from mayhem_ros.errors import UsageError
from mayhem_train.commands.import_arguments import add_import_arguments, add_video_recording, run_import
from mayhem_train.commands.path_argument import path_argument
from mayhem_train.datasets.annotations.classes import read_class_map
from mayhem_train.datasets.annotations.faults import Faults
from mayhem_train.datasets.annotations.recorded_frames import RecordedFrames
from mayhem_train.datasets.annotations.shapes import AnnotationFile
from mayhem_train.datasets.annotations.yolo import label_files, read_yolo
from mayhem_train.datasets.annotations.yolo_description import read_description
from mayhem_train.outputs import refuse_inputs_within

EXAMPLE = "mayhem import-yolo labels/ --names data.yaml --recordings recordings/ --out index.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "files", nargs="+", type=path_argument, metavar="DIR", help="folders of <recording>-<index>.txt files"
    )
    parser.add_argument(
        "--names",
        type=path_argument,
        required=True,
        metavar="DATA.yaml",
        help="class names: data.yaml, classes.txt or obj.names",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        metavar="F",
        help="lines with a confidence, as predictions have one, are taken from this on and without it (0: all)",
    )
    add_video_recording(parser)
    add_import_arguments(parser)
    # In YOLO a frame that nobody looked at has no label file, and one that shows nothing an empty one.
    parser.set_defaults(empty_means_empty=True)


def run(arguments: argparse.Namespace) -> int:
    """Does the work and returns the exit code."""
    labels = (path for folder in arguments.files for path in label_files(folder))
    refuse_inputs_within(arguments.out, [arguments.names, *labels])
    if arguments.min_confidence is not None and not 0 <= arguments.min_confidence <= 1:
        raise UsageError(f"--min-confidence is {arguments.min_confidence:g}: choose a value from 0 to 1.")
    description = read_description(arguments.names)
    classes = None if arguments.classes is None else read_class_map(arguments.classes)

    def read(folder: Path, frames: RecordedFrames, faults: Faults) -> AnnotationFile:
        return read_yolo(
            folder, description, frames, classes=classes, least_confidence=arguments.min_confidence, faults=faults
        )

    return run_import(arguments, read, video=arguments.video_recording)
