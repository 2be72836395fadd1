"""What the commands that import annotations have in common: their arguments, the index they write, what they say."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from mayhem_train.console import console
from mayhem_train.datasets.classes import read_class_map
from mayhem_train.datasets.importing import ImportCounts, import_annotations
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.datasets.shapes import AnnotationFile
from mayhem_train.datasets.summary import summarise
from mayhem_train.outputs import refuse_existing, refuse_inputs_within


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what every import needs beside its annotation files, which are `files`."""
    parser.add_argument("--recordings", type=Path, required=True, metavar="DIR", help="folder the frames came from")
    parser.add_argument("--out", type=Path, required=True, metavar="INDEX.json", help="the dataset index to write")
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="CLASSES.yaml",
        help="things, surfaces, rename, ignore; without it labels drawn as boxes are things, all others surfaces",
    )
    parser.add_argument("--val", nargs="+", default=[], metavar="STEM", help="recordings for validation")
    parser.add_argument("--test", nargs="+", default=[], metavar="STEM", help="recordings for testing")
    parser.add_argument(
        "--val-fraction",
        type=float,
        default=0.2,
        metavar="F",
        help="without --val: share of frames for validation, the last recordings or the end of the only one (0.2)",
    )
    parser.add_argument("--topic", metavar="NAME", help="the image topic, where recordings have several")
    parser.add_argument(
        "--empty-means-empty",
        action="store_true",
        help="an image listed without shapes shows nothing (otherwise it counts as unlabelled and is left out)",
    )
    parser.add_argument(
        "--traced-polygons",
        action="store_true",
        help="polygon points are pixel indices, as contour tracing (cv2.findContours) writes them",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing index")


def run_import(arguments: argparse.Namespace, read: Callable[[Path], AnnotationFile]) -> int:
    """Reads each of `arguments.files`, writes the index, prints what it holds, and returns the exit code."""
    refuse_existing(arguments.out, force=arguments.force)
    classes: Iterable[Path] = [] if arguments.classes is None else [arguments.classes]
    refuse_inputs_within(arguments.out, [*arguments.files, *classes, arguments.recordings])
    imported = import_annotations(
        [read(path) for path in sorted(set(arguments.files))],
        arguments.recordings,
        classes=None if arguments.classes is None else read_class_map(arguments.classes),
        topic=arguments.topic,
        empty_means_empty=arguments.empty_means_empty,
        traced_polygons=arguments.traced_polygons,
        validation=arguments.val,
        test=arguments.test,
        validation_fraction=arguments.val_fraction,
    )
    imported.index.save(arguments.out, force=arguments.force)
    console.print(_table(imported.index))
    for line in _remarks(imported.counts):
        console.print(line)
    console.print(f"wrote {arguments.out}", soft_wrap=True, markup=False)
    return 0


def _table(index: DatasetIndex) -> Table:
    parts = summarise(index)
    table = Table("")
    for part in parts:
        table.add_column(escape(part.split), justify="right", overflow="fold")
    table.add_row("recordings", *(escape("\n".join(part.recordings)) for part in parts))
    table.add_row("images", *(str(part.images) for part in parts), end_section=True)
    for name in (category.name for category in index.things):
        table.add_row(escape(f"{name}, boxes"), *(str(part.boxes[name]) for part in parts))
    for name in (category.name for category in index.surfaces):
        table.add_row(escape(f"{name}, % of pixels"), *(f"{100 * part.surface_shares[name]:.1f}" for part in parts))
    return table


def _remarks(counts: ImportCounts) -> list[str]:
    remarks = {
        "images without shapes left out as unlabelled": counts.unlabelled,
        "boxes clipped at the image's border": counts.clipped,
        "boxes outside their image dropped": counts.dropped,
        "surfaces without a visible pixel dropped": counts.invisible,
    }
    return [f"{count} {what}" for what, count in remarks.items() if count]
