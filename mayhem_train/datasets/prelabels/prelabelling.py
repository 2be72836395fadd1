"""A model's predictions on recorded frames as CVAT annotations, the least certain frames first."""

from __future__ import annotations

import heapq
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.console import track
from mayhem_train.datasets.annotations.cvat.writing import write_cvat
from mayhem_train.datasets.annotations.shapes import AnnotatedImage
from mayhem_train.datasets.prelabels.certainty import uncertainty
from mayhem_train.datasets.prelabels.chosen_frames import Place, opened_cameras, read_frames
from mayhem_train.datasets.prelabels.predicted_shapes import Draughtsman
from mayhem_train.outputs import refuse_existing, refuse_existing_folder, whole_folder
from mayhem_train.recordings.guarding import refuse_within_ingested, refuse_within_recordings
from mayhem_train.recordings.locating import find_recordings
from mayhem_train.recordings.sixteen_bits import NEW_DATASET, warn_of_few_levels

MANIFEST = "manifest.jsonl"

_IMAGES = "images"  # what the folder of them says it is of


@dataclass(frozen=True)
class PrelabelledFrame:
    """A frame with what the model sees on it, and how unsure it is (see `uncertainty`)."""

    place: Place
    image: AnnotatedImage
    uncertainty: float


@dataclass(frozen=True)
class Prelabels:
    """Frames with the model's shapes, the least certain first, and how many more could not be decoded."""

    frames: tuple[PrelabelledFrame, ...]
    unreadable: int


def prelabel(
    draughtsman: Draughtsman,
    places: Collection[Place],
    recordings: Path,
    *,
    count: int | None = None,
    batch: int = 1,
    distro: str | None = None,
) -> Prelabels:
    """Runs the model on every frame. One that cannot be decoded is named on stderr and left out.

    Args:
        draughtsman: draws what its model predicts.
        places: the frames.
        recordings: the folder they are in.
        count: give no more frames than this.
        batch: frames a pass of the model, as far as neighbours are of one size.
        distro: for recordings without message definitions.

    Raises:
        UsageError: `count` or `batch` is less than 1.
        MayhemError: there are no frames, two have one name, none can be decoded, or the model fails.
    """
    if count is not None and count < 1:
        raise UsageError(f"The count of frames is {count}: choose 1 or more.")
    if batch < 1:
        raise UsageError(f"The batch is of {batch} frames: choose 1 or more.")
    if not places:
        raise MayhemError("No frame is chosen: choose some first.")
    _refuse_shared_names(places)
    card = draughtsman.model.card
    unreadable = len(places)
    if card.input.intensity_range is None:
        warn_of_few_levels(opened_cameras(places, recordings, distro=distro), NEW_DATASET)

    def predicted() -> Iterator[PrelabelledFrame]:
        nonlocal unreadable
        frames = read_frames(
            track(sorted(places), "prelabelling", total=len(places)),
            recordings,
            distro=distro,
            intensity_range=card.input.intensity_range,
        )
        for group in _batches(frames, batch):
            predictions = draughtsman.model.predict_each(np.stack([pixels for _, pixels in group]))
            for (place, pixels), prediction in zip(group, predictions, strict=True):
                if isinstance(prediction, MayhemError):
                    raise MayhemError(f"{place.name} could not be prelabelled: {prediction}") from prediction
                unreadable -= 1
                height, width = pixels.shape[:2]
                image = AnnotatedImage(place.name, width, height, draughtsman.draw(prediction, width, height))
                doubt = uncertainty(prediction, draughtsman.thresholds, len(card.segmentation_classes))
                yield PrelabelledFrame(place, image, doubt)

    most = len(places) if count is None else count
    ranked = heapq.nsmallest(most, predicted(), key=lambda frame: (-frame.uncertainty, frame.place))
    if not ranked:
        raise MayhemError(f"None of the {len(places)} chosen frames can be decoded: check the recordings.")
    return Prelabels(tuple(ranked), unreadable)


def write_prelabels(
    prelabels: Prelabels,
    draughtsman: Draughtsman,
    out: Path,
    *,
    images: Path | None = None,
    recordings: Path,
    distro: str | None = None,
    force: bool = False,
) -> None:
    """Writes the CVAT file and, where `images` names a folder, the frames' pictures: both or neither.

    The folder holds a PNG a frame and a `manifest.jsonl`, by which CVAT keeps the order of the file where the task's
    sorting method is "predefined"; otherwise CVAT sorts by name.

    Raises:
        UsageError: as `refuse_bad_outputs`.
        MayhemError: something cannot be written.
    """
    refuse_bad_outputs(out, images, recordings, [], force=force)
    with ExitStack() as stack:
        if images is not None:
            folder = stack.enter_context(whole_folder(images, of=_IMAGES, force=force))
            seen_by = draughtsman.model.card.input.intensity_range
            _write_pictures(prelabels.frames, folder, recordings, distro, seen_by)
        write_cvat(out, draughtsman.labels, [frame.image for frame in prelabels.frames], force=force)


def refuse_bad_outputs(
    out: Path, images: Path | None, recordings: Path, inputs: Iterable[Path], *, force: bool
) -> None:
    """Raises UsageError where an output exists and may not be replaced, or would replace another or an input.

    Args:
        out: the CVAT file.
        images: the folder of pictures, if any.
        recordings: the folder of recordings, none of which an output may change.
        inputs: what else is read.
        force: replace what exists.
    """
    for path in (out, images):
        if path is None:
            continue
        for other in (*inputs, recordings, out):
            if other is not path and other.resolve().is_relative_to(path.resolve()):
                raise UsageError(f"{path}, to be written, would replace {other}: choose another place.")
        option = "--out" if path is out else "--images"
        refuse_within_recordings(path, find_recordings(recordings, wanted=()).values(), option)
        refuse_within_ingested(path, option)
    refuse_existing(out, force=force, begins=b"<")
    if images is not None:
        refuse_existing_folder(images, of=_IMAGES, force=force)


def _refuse_shared_names(places: Iterable[Place]) -> None:
    named: dict[str, Place] = {}
    for place in places:
        other = named.setdefault(place.name, place)
        if other != place:
            raise MayhemError(
                f"Frame {place.name} is chosen from {other.topic} and from {place.topic}, but one name stands for one "
                "frame: choose one camera at a time."
            )


def _batches(
    frames: Iterable[tuple[Place, NDArray[np.uint8]]], size: int
) -> Iterator[list[tuple[Place, NDArray[np.uint8]]]]:
    """Neighbours of one shape, at most `size` of them."""
    for _, group in groupby(frames, lambda frame: frame[1].shape):
        members: list[tuple[Place, NDArray[np.uint8]]] = []
        for frame in group:
            members.append(frame)
            if len(members) == size:
                yield members
                members = []
        if members:
            yield members


def _write_pictures(
    frames: Sequence[PrelabelledFrame],
    folder: Path,
    recordings: Path,
    distro: str | None,
    intensity_range: IntensityRange | None,
) -> None:
    places = track(sorted(frame.place for frame in frames), "writing images", total=len(frames))
    for place, pixels in read_frames(places, recordings, distro=distro, intensity_range=intensity_range):
        _, encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        (folder / place.name).write_bytes(encoded.tobytes())
    lines: list[dict[str, object]] = [{"version": "1.1"}, {"type": "images"}]
    for frame in frames:
        name, image = Path(frame.image.name), frame.image
        lines.append({"name": name.stem, "extension": name.suffix, "width": image.width, "height": image.height})
    (folder / MANIFEST).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
