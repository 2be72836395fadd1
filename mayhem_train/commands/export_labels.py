"""`mayhem export-labels`: a dataset index becomes CVAT or COCO annotations."""

from __future__ import annotations

import argparse

from mayhem_ros.errors import UsageError
from mayhem_train.commands.path_argument import path_argument
from mayhem_train.console import console
from mayhem_train.datasets.annotations.coco import export_coco
from mayhem_train.datasets.annotations.cvat.exporting import LABELS, export_cvat
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.outputs import refuse_existing, refuse_existing_folder, refuse_inputs_within
from mayhem_train.recordings.guarding import refuse_within_ingested

EXAMPLE = "mayhem export-labels index.json --format coco --out coco.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("index", type=path_argument, metavar="INDEX.json", help="the dataset index")
    parser.add_argument("--format", choices=("cvat", "coco"), required=True, help="what to write")
    parser.add_argument(
        "--out", type=path_argument, required=True, help="the JSON file to write, with cvat the folder of XML files"
    )
    parser.add_argument(
        "--surfaces", choices=("rle", "polygon"), help="with coco: masks as run lengths (default) or exact polygons"
    )
    parser.add_argument("--force", action="store_true", help="replace what exists")


def run(arguments: argparse.Namespace) -> int:
    """Does the work and returns the exit code."""
    refuse_inputs_within(arguments.out, [arguments.index])
    refuse_within_ingested(arguments.out)
    if arguments.format == "cvat":
        refuse_existing_folder(arguments.out, of=LABELS, force=arguments.force)
        if arguments.surfaces is not None:
            raise UsageError("--surfaces is for COCO, as CVAT gets every shape as it was drawn: leave it out.")
        written = export_cvat(DatasetIndex.load(arguments.index), arguments.out, force=arguments.force)
    else:
        refuse_existing(arguments.out, force=arguments.force, begins=b"{")
        polygons = arguments.surfaces == "polygon"
        export_coco(DatasetIndex.load(arguments.index), arguments.out, polygons=polygons, force=arguments.force)
        written = (arguments.out,)
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True, markup=False, highlight=False)
    return 0
