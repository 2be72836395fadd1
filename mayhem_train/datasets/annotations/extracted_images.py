"""Image files that were extracted from recordings, found again by the names of their frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.intensity_range import FULL_RANGE, IntensityRange
from mayhem_train.recordings.frame import Frame, parse_frame_name
from mayhem_train.recordings.ingest.claim import read_manifest
from mayhem_train.recordings.ingest.places import topic_place
from mayhem_train.recordings.pruning.exporting import exported_range

_DEPTH = "depth"  # where `mayhem ingest` puts depth images, which have the names of their own topic's frames


def find_images(folder: Path, frames: Iterable[Frame]) -> dict[Frame, str]:
    """For each of these frames that has a file in `folder` or below: where, as a/b.png.

    Of several files of one name the one counts that lies in its topic's folder, as `mayhem ingest` lays them out.
    Depth images there do not count, nor do folders whose names begin with a dot, so half-written ones; links to folders
    are not followed.

    Raises:
        MayhemError: there is no such folder, or two files in it may be the same frame.
    """
    if not folder.is_dir():
        raise MayhemError(f"There is no folder {folder}: name the one that holds the extracted images.")
    wanted = {(frame.recording, frame.index): frame for frame in frames}
    found: dict[Frame, list[Path]] = {}
    for path in _files(folder):
        try:
            frame = wanted.get(parse_frame_name(path.name))
        except MayhemError:
            continue  # something else that lies there
        if frame is not None and path.parent.parent.name != _DEPTH:
            found.setdefault(frame, []).append(path)
    return {frame: _the_one(paths, frame).relative_to(folder).as_posix() for frame, paths in found.items()}


def refuse_other_range(path: Path, intensity_range: IntensityRange | None) -> None:
    """Refuses an extracted image of a 16-bit camera that was scaled by another range than the dataset's.

    `mayhem ingest` says the range in its manifest, `mayhem prune --export` in the image; of others nothing is known.

    Raises:
        UsageError: it was scaled by another range, or by none.
        MayhemError: the image or the manifest cannot be read.
    """
    was_exported, stated = exported_range(path)
    manifest = None if was_exported or len(path.parents) < 3 else read_manifest(path.parents[2])
    if manifest is not None:
        numbers = manifest["parameters"].get("intensity_range")
        stated = None if numbers is None else IntensityRange.of(numbers)
    if (was_exported or manifest is not None) and stated != intensity_range:
        remedy = "" if stated is None else f"pass --intensity-range {stated.low} {stated.high}, or "
        raise UsageError(
            f"{path} shows the samples {stated or FULL_RANGE} of its 16-bit camera, but the index would say "
            f"{intensity_range or FULL_RANGE}: {remedy}extract the images again by the same range."
        )


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, file) for file in sorted(files))


def _the_one(paths: list[Path], frame: Frame) -> Path:
    own = [path for path in paths if path.parent.name == topic_place(frame.topic)]
    chosen = own or paths
    if len(chosen) > 1:
        raise MayhemError(
            f"{chosen[0]} and {chosen[1]} are both called as the frame {frame.name}: name a folder that holds it once."
        )
    return chosen[0]
