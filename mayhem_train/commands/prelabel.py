"""`mayhem prelabel`: a model's predictions as CVAT annotations for people to correct."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mayhem_train.commands.path_argument import path_argument
from mayhem_train.commands.recording_arguments import add_distro

if TYPE_CHECKING:
    from mayhem_train.datasets.prelabels.chosen_frames import Place
    from mayhem_train.datasets.prelabels.prelabelling import Prelabels

EXAMPLE = (
    "mayhem prelabel --model model.onnx --frames kept.json --recordings recordings/ --out for-cvat.xml --count 200"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "--model", type=path_argument, required=True, metavar="MODEL.onnx", help="what `mayhem export` wrote"
    )
    frames = parser.add_mutually_exclusive_group(required=True)
    frames.add_argument("--frames", type=path_argument, metavar="KEPT.json", help="the frames that `mayhem prune` kept")
    frames.add_argument("--every", type=int, metavar="N", help="instead: every Nth frame of all recordings, 1 for all")
    parser.add_argument(
        "--recordings", type=path_argument, required=True, metavar="DIR", help="folder the frames come from"
    )
    parser.add_argument("--out", type=path_argument, required=True, metavar="FILE.xml", help="the CVAT file to write")
    parser.add_argument(
        "--images", type=path_argument, metavar="DIR", help="write the frames' images too, for upload to CVAT"
    )
    parser.add_argument(
        "--exclude", type=path_argument, metavar="INDEX.json", help="leave out frames this index labels already"
    )
    parser.add_argument("--count", type=int, metavar="N", help="the N least certain frames only")
    parser.add_argument(
        "--surfaces",
        choices=("polygon", "mask", "none"),
        default="polygon",
        help="how surfaces are drawn: polygons with holes cut by `background` (default), masks, or not at all",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1.0,
        metavar="PIXELS",
        help="how far a polygon may depart from the mask to save points (1)",
    )
    parser.add_argument(
        "--least-area",
        type=int,
        default=64,
        metavar="PIXELS",
        help="leave out polygons and holes smaller than this (64)",
    )
    parser.add_argument(
        "--score-threshold", type=float, metavar="S", help="draw boxes from this score on (the model card's, by class)"
    )
    parser.add_argument("--topic", metavar="NAME", help="with --every: the image topic, where recordings have several")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="frames a pass of the model (1)")
    parser.add_argument("--provider", default="auto", help="what runs the model: auto, cpu, cuda, tensorrt, openvino")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of a pass; 0: one a core")
    add_distro(parser)
    parser.add_argument("--force", action="store_true", help="replace an existing file and folder of images")


def run(arguments: argparse.Namespace) -> int:
    """Does the work and returns the exit code."""
    from mayhem_ros.errors import UsageError
    from mayhem_ros.onnx_model import OnnxModel
    from mayhem_train.datasets.prelabels.predicted_shapes import Draughtsman
    from mayhem_train.datasets.prelabels.prelabelling import prelabel, refuse_bad_outputs, write_prelabels

    if arguments.topic is not None and arguments.frames is not None:
        raise UsageError("--topic goes with --every, as --frames names each frame's topic: leave it out.")
    inputs = [path for path in (arguments.model, arguments.frames, arguments.exclude) if path is not None]
    refuse_bad_outputs(arguments.out, arguments.images, arguments.recordings, inputs, force=arguments.force)
    draughtsman = Draughtsman(
        OnnxModel(arguments.model, provider=arguments.provider, threads=arguments.threads),
        surfaces=arguments.surfaces,
        score_threshold=arguments.score_threshold,
        tolerance=arguments.tolerance,
        least_area=arguments.least_area,
    )
    asked = _places(arguments)
    places = _without_labelled(asked, arguments.exclude)
    prelabels = prelabel(
        draughtsman,
        places,
        arguments.recordings,
        count=arguments.count,
        batch=arguments.batch,
        distro=arguments.distro,
    )
    write_prelabels(
        prelabels,
        draughtsman,
        arguments.out,
        images=arguments.images,
        recordings=arguments.recordings,
        distro=arguments.distro,
        force=arguments.force,
    )
    _report(arguments, prelabels, len(asked) - len(places), len(places))
    return 0


def _places(arguments: argparse.Namespace) -> list[Place]:
    """The frames that are asked for."""
    from mayhem_train.datasets.prelabels.chosen_frames import every_nth_frame, find_frames

    if arguments.frames is None:
        return every_nth_frame(arguments.recordings, arguments.every, topic=arguments.topic, distro=arguments.distro)
    from mayhem_train.recordings.pruning.kept_frames import read_kept_frames

    return find_frames(read_kept_frames(arguments.frames), arguments.recordings, distro=arguments.distro)


def _without_labelled(places: list[Place], index: Path | None) -> list[Place]:
    """Those that the index does not label."""
    from mayhem_ros.errors import MayhemError
    from mayhem_train.datasets.index import DatasetIndex

    if index is None:
        return places
    labelled = {(image.recording, image.index) for image in DatasetIndex.load(index).images}
    remaining = [place for place in places if (place.recording, place.index) not in labelled]
    if places and not remaining:
        raise MayhemError(f"{index} labels every chosen frame already: choose others.")
    return remaining


def _report(arguments: argparse.Namespace, prelabels: Prelabels, labelled: int, chosen: int) -> None:
    from mayhem_train.console import console
    from mayhem_train.datasets.annotations.shapes import BoxShape

    frames = prelabels.frames
    boxes = sum(isinstance(shape, BoxShape) for frame in frames for shape in frame.image.shapes)
    console.print(
        f"{len(frames)} of {_counted(chosen, 'frame', 'frames')} with {_counted(boxes, 'box', 'boxes')}, "
        f"uncertainty from {frames[0].uncertainty:.3f} down to {frames[-1].uncertainty:.3f}",
        highlight=False,
    )
    if labelled:
        what = _counted(labelled, "frame", "frames")
        console.print(f"{what} labelled in {arguments.exclude} left out", soft_wrap=True, markup=False)
    if prelabels.unreadable:
        what = _counted(prelabels.unreadable, "frame", "frames")
        console.print(f"{what} that cannot be decoded left out", highlight=False)
    for path in (arguments.out, arguments.images):
        if path is not None:
            console.print(f"wrote {path}", soft_wrap=True, markup=False, highlight=False)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
