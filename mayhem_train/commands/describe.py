"""`mayhem describe`: what a dataset holds, as tables, JSON, CSV and plots, and what leaks between its splits."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import combinations

from rich.markup import escape
from rich.table import Table

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.commands.path_argument import path_argument
from mayhem_train.commands.recording_arguments import add_distro
from mayhem_train.console import console, error_console
from mayhem_train.datasets.description.description import Description, describe
from mayhem_train.datasets.description.leakage import find_near_duplicates, find_time_neighbours
from mayhem_train.datasets.description.summary import SplitSummary
from mayhem_train.datasets.frame_reader import FrameReader
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.datasets.splits.splitting import UNUSED
from mayhem_train.outputs import refuse_existing_folder, refuse_inputs_within, whole_folder
from mayhem_train.recordings.guarding import refuse_within_ingested, refuse_within_recordings
from mayhem_train.recordings.locating import find_recordings

EXAMPLE = "mayhem describe index.json --recordings recordings/ --out description/"

_DESCRIPTION = "description"  # what the folder says it is of

# The terminal shows so much of each list; --json and --out have the whole.
_CLASSES_OF_A_MATRIX = 8
_PAIRS = 12
_LEAKS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("index", type=path_argument, metavar="INDEX.json", help="the dataset index")
    parser.add_argument(
        "--recordings", type=path_argument, metavar="DIR", help="look for near-duplicates across splits there"
    )
    parser.add_argument(
        "--images", type=path_argument, metavar="DIR", help="likewise, in the folder of extracted images"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=0.7,
        metavar="S",
        help="similarity from which two frames are near-duplicates, as `mayhem prune` measures it (0.7)",
    )
    parser.add_argument(
        "--gap",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="warn where one recording is in two splits with less time between (1.0)",
    )
    parser.add_argument(
        "--fail-on-leakage",
        action="store_true",
        help="end with exit code 1 where anything leaks or could not be compared",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    parser.add_argument("--out", type=path_argument, metavar="DIR", help="also write plots, CSV and JSON there")
    parser.add_argument("--force", action="store_true", help="replace what --out holds")
    add_distro(parser)


def run(arguments: argparse.Namespace) -> int:
    """Describes the dataset and returns the exit code."""
    if not 0 < arguments.limit <= 1:
        raise UsageError(f"--limit is {arguments.limit:g}: choose a similarity above 0, at most 1.")
    if not arguments.gap >= 0:
        raise UsageError(f"--gap is {arguments.gap:g}: choose seconds from 0.")
    folders = [path for path in (arguments.recordings, arguments.images) if path is not None]
    if arguments.out is not None:
        if arguments.recordings is not None:
            refuse_within_recordings(arguments.out, find_recordings(arguments.recordings, wanted=()).values())
        refuse_within_ingested(arguments.out)
        refuse_inputs_within(arguments.out, [arguments.index, *folders])
        refuse_existing_folder(arguments.out, of=_DESCRIPTION, force=arguments.force)
    index = DatasetIndex.load(arguments.index)
    if not index.images:
        raise MayhemError(f"{arguments.index} lists no images: import annotations into it first.")
    description = replace(describe(index), neighbours=find_time_neighbours(index, arguments.gap))
    if folders:
        reader = FrameReader(
            index.images, arguments.recordings, arguments.images, arguments.distro, index.intensity_range
        )
        description = replace(description, duplicates=find_near_duplicates(index, reader, arguments.limit))
    if arguments.out is not None:
        from mayhem_train.datasets.description.plots import write_plots  # matplotlib is slow to import

        with whole_folder(arguments.out, of=_DESCRIPTION, force=arguments.force) as partial:
            description.write(partial)
            write_plots(description, partial)
    if arguments.json:
        print(json.dumps(description.to_json(), indent=2))
    else:
        _show(description)
    _warn(description, arguments)
    if arguments.out is not None:
        error_console.print(f"wrote {arguments.out}", soft_wrap=True, markup=False, highlight=False)
    unread = description.duplicates is not None and bool(description.duplicates.unreadable)
    return 1 if arguments.fail_on_leakage and (description.leaks or unread) else 0


def _show(description: Description) -> None:
    console.print(_overview(description))
    for split in description.splits:
        console.print(f"\n{split.split}", markup=False, highlight=False)
        console.print(_split_table(split, description))
    if len(description.classes) > _CLASSES_OF_A_MATRIX:
        _show_frequent_pairs(description)
    elif len(description.classes) > 1:
        console.print("\nimages that show both")
        console.print(_matrix(description))


def _overview(description: Description) -> Table:
    table = Table("split", "images", "without any label", "recordings")
    for split in description.splits:
        recordings = escape("\n".join(split.recordings))
        table.add_row(escape(split.split), str(split.images), str(split.empty), recordings)
    return table


def _split_table(split: SplitSummary, description: Description) -> Table:
    table = Table()
    table.add_column("class", overflow="fold")
    for heading in ("images", "boxes", "small", "medium", "large", "% of pixels"):
        table.add_column(heading, justify="right")
    for name, kind in description.classes:
        if kind == "thing":
            size, crowds = split.sizes[name], split.crowds[name]
            boxes = f"{split.boxes[name]}" + (f" + {_counted(crowds, 'crowd')}" if crowds else "")
            numbers = [str(split.images_with_thing[name]), boxes, *map(str, (size.small, size.medium, size.large)), ""]
        else:
            share = f"{100 * split.surface_shares[name]:.1f}"
            numbers = [str(split.images_with_surface[name]), "", "", "", "", share]
        table.add_row(escape(name), *numbers)
    return table


def _matrix(description: Description) -> Table:
    table = Table()
    table.add_column("", overflow="fold")
    for name, _ in description.classes:
        table.add_column(escape(name), justify="right", overflow="fold")
    for (name, _), row in zip(description.classes, description.cooccurrence.tolist(), strict=True):
        table.add_row(escape(name), *map(str, row))
    return table


def _show_frequent_pairs(description: Description) -> None:
    counts = description.cooccurrence
    pairs = [(int(counts[a, b]), a, b) for a, b in combinations(range(len(counts)), 2) if counts[a, b]]
    shown = sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:_PAIRS]
    console.print(f"\nmost often seen together ({len(shown)} of {_counted(len(pairs), 'pair')})", highlight=False)
    table = Table()
    for heading in ("class", "with", "images"):
        table.add_column(heading, justify="right" if heading == "images" else "left", overflow="fold")
    for count, a, b in shown:
        table.add_row(escape(description.classes[a][0]), escape(description.classes[b][0]), str(count))
    console.print(table)


def _warn(description: Description, arguments: argparse.Namespace) -> None:
    """On stderr, worst first, so that stdout stays what was asked for."""

    def say(line: str) -> None:
        error_console.print(line, markup=False, highlight=False, soft_wrap=True)

    for near in description.neighbours:
        say(
            f"Warning: {_counted(near.frames, 'frame')} of {near.recording} in {near.split} within {arguments.gap:g} s "
            f"of one in {near.other_split}, {near.frame} only {near.seconds:.3f} s from {near.other}: leave a gap."
        )
    if description.duplicates is None:
        return
    for unreadable in description.duplicates.unreadable[:_LEAKS]:
        say(f"Not compared: {unreadable.reason}")
    pairs = description.duplicates.pairs
    compared = description.duplicates.frames
    if not pairs:
        splits = [split.split for split in description.splits if split.split != UNUSED]
        if compared:
            say(f"No near-duplicates across splits among {_counted(compared, 'frame')}.")
        elif len(splits) < 2:
            say(f"Nothing was compared: there is no split beside {splits[0] if splits else UNUSED}.")
        else:
            say("Nothing was compared: fewer than two splits have frames that could be read.")
        return
    say(f"Warning: {_counted(len(pairs), 'frame')} with a near-duplicate in another split:")
    for pair in pairs[:_LEAKS]:
        say(f"  {pair.similarity:.3f}  {pair.frame} ({pair.split})  {pair.other} ({pair.other_split})")
    if len(pairs) > _LEAKS:
        say(f"  and {len(pairs) - _LEAKS} more (--json and --out list them all)")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
