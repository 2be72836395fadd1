"""What the commands that import annotations have in common: their arguments, the index they write, what they say."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.commands.intensity_argument import add_intensity_range
from mayhem_train.commands.path_argument import path_argument
from mayhem_train.commands.recording_arguments import add_distro
from mayhem_train.console import console, error_console
from mayhem_train.datasets.annotations.classes import read_class_map
from mayhem_train.datasets.annotations.faults import Faults, NothingLabelledError
from mayhem_train.datasets.annotations.importing import ImportedDataset, import_annotations
from mayhem_train.datasets.annotations.recorded_frames import RecordedFrames
from mayhem_train.datasets.annotations.shapes import AnnotationFile
from mayhem_train.datasets.description.summary import shown_classes, summarise
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.datasets.splits.split_file import read_split_file
from mayhem_train.datasets.splits.splitting import SplitPlan
from mayhem_train.datasets.splits.time_blocks import parse_block
from mayhem_train.outputs import refuse_existing, refuse_inputs_within
from mayhem_train.recordings.frame import one_spelling
from mayhem_train.recordings.guarding import refuse_within_ingested, refuse_within_recordings
from mayhem_train.recordings.locating import find_recordings


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what every import needs beside its annotation files, which are `files`."""
    parser.add_argument(
        "--recordings", type=path_argument, required=True, metavar="DIR", help="folder the frames came from"
    )
    parser.add_argument(
        "--out", type=path_argument, required=True, metavar="INDEX.json", help="the dataset index to write"
    )
    parser.add_argument(
        "--classes",
        type=path_argument,
        metavar="CLASSES.yaml",
        help="things, surfaces, rename, ignore; without it the format says which is which (docs/datasets.md)",
    )
    _add_split_arguments(parser)
    parser.add_argument("--topic", metavar="NAME", help="the image topic, where recordings have several")
    add_intensity_range(parser)
    add_distro(parser)
    parser.add_argument(
        "--images",
        type=path_argument,
        metavar="DIR",
        help="folder of extracted images named by their frames; the index then says where each one is",
    )
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
    parser.add_argument(
        "--skip-faulty",
        action="store_true",
        help="leave out what cannot be, counted by kind, rather than refuse all of it",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing index")


def add_video_recording(parser: argparse.ArgumentParser) -> None:
    """Declares --video-recording for formats in which images of CVAT's videos have no names of their own."""
    parser.add_argument(
        "--video-recording",
        metavar="STEM",
        help="the recording that images called frame_000000.png, as CVAT names those of a video, are frames of",
    )


def run_import(
    arguments: argparse.Namespace,
    read: Callable[[Path, RecordedFrames, Faults], AnnotationFile],
    *,
    video: str | None = None,
) -> int:
    """Reads each of `arguments.files`, writes the index, prints what it holds, and returns the exit code.

    What cannot be is gathered over all files, named and listed beside the index, which is then only written where it
    was asked to do without.
    """
    others = [path for path in (arguments.classes, arguments.images, arguments.split_file) if path is not None]
    refuse_inputs_within(arguments.out, [*arguments.files, *others, arguments.recordings])
    refuse_within_recordings(arguments.out, find_recordings(arguments.recordings, wanted=()).values())
    refuse_within_ingested(arguments.out)
    refuse_existing(arguments.out, force=arguments.force, begins=b"{")
    plan = _split_plan(arguments)
    faults, listed_in = Faults(gather=True), arguments.out.with_suffix(".faults.log")
    frames = RecordedFrames(arguments.recordings, topic=arguments.topic, distro=arguments.distro, video=video)
    try:
        imported = _imported(arguments, lambda path: read(path, frames, faults), plan, faults)
    except UsageError:
        raise
    except MayhemError as error:
        if not faults.found:
            raise
        if not isinstance(error, NothingLabelledError):
            faults.add(error)
        faults.write(listed_in)
        raise faults.refusal(listed_in, without=arguments.skip_faulty) from error
    faults.write(listed_in)
    if faults.found and not arguments.skip_faulty:
        raise faults.refusal(listed_in)
    imported.index.save(arguments.out, force=arguments.force)
    console.print(_table(imported.index))
    for line in imported.counts.sentences():
        console.print(line, soft_wrap=True)
    if faults.found:
        console.print(f"left out as faulty (all are listed in {listed_in}):", soft_wrap=True, markup=False)
        for line in faults.by_kind():
            console.print(f"  {line}", soft_wrap=True, markup=False)
    carried = set(imported.labelled_splits) - {"train"} and not arguments.labelled_splits
    if carried and (imported.moved or plan == SplitPlan()):
        splits = ", ".join(f"{split} {count}" for split, count in sorted(imported.labelled_splits.items()))
        moved = "1 frame is" if imported.moved == 1 else f"{imported.moved or 'no'} frames are"
        console.print(
            f"the labels carry splits of their own ({splits}), and {moved} in another one here: pass "
            "--labelled-splits to take them",
            soft_wrap=True,
        )
    missing = sum(image.file_name is None for image in imported.index.images)
    if arguments.images is not None and missing:
        what = "1 image is" if missing == 1 else f"{missing} images are"
        console.print(f"{what} not in {arguments.images}", soft_wrap=True, markup=False)
    for warning in _one_sided(imported.index):
        error_console.print(f"Warning: {warning}", soft_wrap=True, markup=False)
    if not imported.index.split("train").images:
        error_console.print(
            "Warning: no frame is left to train on, so this index only serves to judge a model.", soft_wrap=True
        )
    console.print(f"wrote {arguments.out}", soft_wrap=True, markup=False)
    return 0


def _imported(
    arguments: argparse.Namespace,
    read: Callable[[Path], AnnotationFile],
    plan: SplitPlan,
    faults: Faults,
) -> ImportedDataset:
    files = []
    paths = sorted(set(arguments.files))
    for path in paths:
        with faults.noting() if len(paths) > 1 else nullcontext():
            files.append(read(path))
    return import_annotations(
        files,
        arguments.recordings,
        classes=None if arguments.classes is None else read_class_map(arguments.classes),
        topic=arguments.topic,
        distro=arguments.distro,
        images=arguments.images,
        empty_means_empty=arguments.empty_means_empty,
        traced_polygons=arguments.traced_polygons,
        intensity_range=arguments.intensity_range,
        plan=plan,
        faults=faults,
    )


def _add_split_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--val", nargs="+", default=[], metavar="STEM", help="recordings for validation")
    parser.add_argument("--test", nargs="+", default=[], metavar="STEM", help="recordings for testing")
    for split, purpose in (("val", "validation"), ("test", "testing")):
        parser.add_argument(
            f"--{split}-block",
            nargs="+",
            default=[],
            metavar="STEM:START:STOP",
            help=f"stretches of recordings for {purpose}, in frames (drive-1:300:600) or seconds (drive-1:20s:35s)",
        )
    parser.add_argument(
        "--val-fraction",
        type=float,
        metavar="F",
        help="where --val and --val-block name none: share of the other frames for validation (0.2)",
    )
    parser.add_argument(
        "--split",
        choices=("recording", "time"),
        default="recording",
        help="that share is the last recordings, of a single one its end (default), or the end of every recording",
    )
    parser.add_argument(
        "--gap",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="leave frames unused that lie less than this from one of a later split in their recording (0)",
    )
    parser.add_argument(
        "--split-file", type=path_argument, metavar="FILE", help="YAML or CSV that says every frame's split"
    )
    parser.add_argument(
        "--labelled-splits",
        action="store_true",
        help="every frame's split is what the labels say: folders and lists of train, val and test, CVAT's subsets",
    )


def _split_plan(arguments: argparse.Namespace) -> SplitPlan:
    return SplitPlan(
        validation=tuple(map(one_spelling, arguments.val)),
        test=tuple(map(one_spelling, arguments.test)),
        validation_blocks=tuple(parse_block(text) for text in arguments.val_block),
        test_blocks=tuple(parse_block(text) for text in arguments.test_block),
        validation_fraction=arguments.val_fraction,
        by=arguments.split,
        gap_s=arguments.gap,
        file=None if arguments.split_file is None else read_split_file(arguments.split_file),
        labelled=arguments.labelled_splits,
    )


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


def _one_sided(index: DatasetIndex) -> list[str]:
    """A sentence for every recording whose frames all lack a kind of label that others have."""
    sentences = []
    for kind, wanted in (("box", index.things), ("surface", index.surfaces)):
        ids = {category.id for category in wanted}
        frames: Counter[str] = Counter()
        labelled: Counter[str] = Counter()
        for image in index.images:
            frames[image.recording] += 1
            labelled[image.recording] += bool(ids & shown_classes(image))
        sentences += [
            f"no labelled frame of {recording} ({count}) has a {kind}, so training takes all of it for background: "
            "label it, or leave the recording out."
            for recording, count in sorted(frames.items())
            if ids and not labelled[recording]
        ]
    return sentences
