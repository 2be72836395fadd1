"""`mayhem import-cvat`: CVAT annotation files become one dataset index."""

from __future__ import annotations

import argparse
from pathlib import Path

from mayhem_train.commands.import_arguments import add_import_arguments, run_import
from mayhem_train.datasets.cvat.reading import read_cvat

EXAMPLE = "mayhem import-cvat annotations/*.xml --recordings recordings/ --out index.json --val drive-3"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.xml", help='"CVAT for images 1.1" exports')
    add_import_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Does the work and returns the exit code."""
    return run_import(arguments, read_cvat)
