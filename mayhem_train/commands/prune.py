"""`mayhem prune`: one frame of each run of near-duplicates, with an audit of every decision."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from mayhem_ros.errors import UsageError
from mayhem_train.commands.intensity_argument import add_intensity_range
from mayhem_train.commands.path_argument import path_argument
from mayhem_train.commands.recording_arguments import add_distro
from mayhem_train.console import console
from mayhem_train.recordings.flawed_images import flawed_images, listed_flaws
from mayhem_train.recordings.pruning.exporting import FORMATS
from mayhem_train.recordings.pruning.kept_frames import AuditRow
from mayhem_train.recordings.pruning.pruning import prune
from mayhem_train.recordings.pruning.selection import PruneSettings

EXAMPLE = "mayhem prune drive-1.mcap drive-2.bag --limit 0.7 --out kept.json --export for-cvat"

_NAMED = 3  # flawed images, a recording; the audit names all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "recordings", nargs="+", type=path_argument, metavar="RECORDING", help=".mcap, .db3, .bag or a folder"
    )
    parser.add_argument(
        "--out", type=path_argument, required=True, metavar="KEPT.json", help="the kept frames and the audit"
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=0.7,
        help="keep a frame when its similarity to the last kept one is below, 0 to 1 (default: 0.7)",
    )
    parser.add_argument("--export", type=path_argument, metavar="DIR", help="also write the kept images to this folder")
    parser.add_argument("--image-format", choices=FORMATS, default="png", help="of the exported images (default: png)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="look at every Nth frame only (default: 1)")
    parser.add_argument(
        "--start",
        type=float,
        default=0.0,
        metavar="S",
        help="seconds from the recording's start, included (default: 0)",
    )
    parser.add_argument("--stop", type=float, metavar="S", help="seconds from the recording's start, not included")
    parser.add_argument("--max-frames", type=int, metavar="N", help="leave each recording after N kept frames")
    parser.add_argument("--topic", metavar="NAME", help="the image topic, where recordings have several")
    add_intensity_range(parser)
    add_distro(parser)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="recordings at a time (default: 1)")
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace an existing file, and exported images; remove those no longer kept",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prunes, says what was kept, and ends with 1 where a recording could not be pruned."""
    if arguments.workers < 1:
        raise UsageError(f"--workers {arguments.workers} would do nothing: ask for at least 1.")
    settings = PruneSettings(
        limit=arguments.limit,
        every=arguments.every,
        start=arguments.start,
        stop=arguments.stop,
        max_frames=arguments.max_frames,
    )
    pruned = prune(
        arguments.recordings,
        arguments.out,
        settings,
        intensity_range=arguments.intensity_range,
        topic=arguments.topic,
        distro=arguments.distro,
        export=arguments.export,
        image_format=arguments.image_format,
        workers=arguments.workers,
        force=arguments.force,
    )
    console.print(_table(pruned.rows))
    if pruned.was_there:
        _say(f"{arguments.out} is already there, made from these recordings with these settings")
    else:
        resumed = f" ({pruned.resumed} frames decided by a run that was stopped)" if pruned.resumed else ""
        _say(f"wrote {arguments.out}{resumed}")
    stampless = sum(row.kept and row.stamp_ns is None for row in pruned.rows)
    if stampless:
        _say(f"{stampless} kept frames have no stamp that can be read: stamp_ns of them is null")
    for line in _flawed(pruned.rows):
        _say(line)
    if arguments.export is not None:
        there = len(pruned.kept) - pruned.exported
        _say(f"wrote {pruned.exported} images to {arguments.export}, {there} were already there")
        if pruned.stale:
            images = "1 image" if pruned.stale == 1 else f"{pruned.stale} images"
            print(
                f"Warning: {images} of an earlier export in {arguments.export} would not be written now: pass --force "
                "to remove them.",
                file=sys.stderr,
            )
    for failure in pruned.failures:
        print(f"mayhem prune: {failure}", file=sys.stderr)
    return 1 if pruned.failures else 0


def _table(rows: Sequence[AuditRow]) -> Table:
    """Counts by recording: frames kept without a score, other than the first, could not be compared."""
    table = Table("recording", *("frames", "kept", "%", "not\ncomparable", "not\ndecodable", "flawed"))
    for column in table.columns[1:]:
        column.justify = "right"
    for recording in dict.fromkeys(row.recording for row in rows):
        own = [row for row in rows if row.recording == recording]
        kept = sum(row.kept for row in own)
        table.add_row(
            Text(recording, overflow="fold"),
            str(len(own)),
            str(kept),
            f"{100 * kept / len(own):.1f}",
            str(sum(row.kept and row.score is None and row.reference is not None for row in own)),
            str(sum(row.score is None and not row.kept for row in own)),
            str(sum(row.flaw is not None for row in own)),
        )
    return table


def _flawed(rows: Sequence[AuditRow]) -> Iterator[str]:
    """A line for each recording with images that are not as they should be, but gave a picture."""
    for recording in dict.fromkeys(row.recording for row in rows):
        own = [(row.name, row.flaw) for row in rows if row.recording == recording and row.flaw is not None]
        if own:
            yield f"{flawed_images(len(own))}: {listed_flaws(own, _NAMED)}"


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)
