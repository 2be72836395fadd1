"""16-bit cameras of recordings: the intensity range that suits them, and a word where none is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.image_decoding import sixteen_bit_samples
from mayhem_ros.intensity_range import IntensityRange, SampleCounts
from mayhem_train.console import error_console
from mayhem_train.recordings.depth import is_depth_message, is_image_message
from mayhem_train.recordings.recording import Recording

AUTO: Literal["auto"] = "auto"
"""In the place of a range: the one that is found."""

AskedRange = IntensityRange | Literal["auto"] | None
Camera = tuple[Recording, str]
"""A recording and one of its image topics."""

FIRST_COMMAND = "pass --intensity-range {range}, or auto, to prune, ingest and the imports"
"""What to do about few grey levels where the pictures are chosen, and where a dataset or a model has none."""
NEW_DATASET = "import the labels with --intensity-range {range}, or auto, and train on them"

# The ends of a range move little with more frames, and each costs a few milliseconds.
_FRAMES_FOR_A_RANGE = 100
_FRAMES_OF_A_RECORDING = 20
_FRAMES_FOR_A_WORD = 5


def found_range(cameras: Iterable[Camera]) -> IntensityRange:
    """The range of 16-bit cameras: what all samples of frames spread over each recording lie in, but a thousandth.

    Cameras of another kind are passed over, and so are frames that cannot be read or show one value only.

    Raises:
        UsageError: none of them is a 16-bit camera.
    """
    cameras = list(cameras)
    counts = SampleCounts()
    of_each = max(_FRAMES_OF_A_RECORDING, _FRAMES_FOR_A_RANGE // max(len(cameras), 1))
    for recording, topic in cameras:
        with recording:
            for samples in _samples(recording, topic, of_each):
                counts.add(samples)
    found = counts.found_range()
    if found is None:
        named = ", ".join(f"{topic} of {recording.path}" for recording, topic in cameras[:3]) or "any camera"
        more = f" and {len(cameras) - 3} more" if len(cameras) > 3 else ""
        raise UsageError(
            f"--intensity-range auto found no 16-bit image that shows anything on {named}{more}: leave it out, or name "
            "LOW and HIGH (16UC1 is depth, unless its topic is named)."
        )
    return found


def chosen_range(asked: AskedRange, cameras: Iterable[Camera]) -> IntensityRange | None:
    """The range that is asked for, found where that is "auto"; a warning where none is and few grey levels are left.

    Raises:
        UsageError: as `found_range`.
    """
    if asked == AUTO:
        found = found_range(cameras)
        _say(f"16-bit images are scaled by the range {found}, which --intensity-range auto found.")
        return found
    if asked is None:
        warn_of_few_levels(cameras)
    return asked


def warn_of_few_levels(cameras: Iterable[Camera], remedy: str = FIRST_COMMAND) -> None:
    """A warning for each topic of which a 16-bit camera uses few grey levels at full range."""
    told: set[str] = set()
    for recording, topic in cameras:
        if topic in told:
            continue
        with recording:
            sentence = few_levels(recording, topic, remedy)
        if sentence is not None:
            told.add(topic)
            _say(f"Warning: {sentence}")


def is_sixteen_bit(recording: Recording, topic: str) -> bool:
    """Whether an intensity range is for the camera on a topic."""
    return next(_samples(recording, topic, 1), None) is not None


def few_levels(recording: Recording, topic: str, remedy: str = FIRST_COMMAND) -> str | None:
    """A sentence where a 16-bit camera uses few grey levels at full range; None where it does not, or is none."""
    if recording.is_depth(recording.topic(topic)):
        return None
    counts = SampleCounts()
    for samples in _samples(recording, topic, _FRAMES_FOR_A_WORD):
        counts.add(samples)
    found, said = counts.found_range(), counts.few_levels()
    if found is None or said is None:
        return None
    return f"{topic} of {recording.path} {said}: {remedy.format(range=f'{found.low} {found.high}')}."


def _samples(recording: Recording, topic: str, count: int) -> Iterator[NDArray[np.uint16]]:
    """The samples of frames spread over a topic; none where the first one that can be read is no 16-bit image."""
    total = recording.topic(topic).count
    count = min(count, total)
    for index in (number * total // count for number in range(count)):
        try:
            message = recording.read_message(topic, index)
            is_grey = is_image_message(message) and not is_depth_message(message, topic, is_ranged=True)
            samples = sixteen_bit_samples(message) if is_grey else None
        except MayhemError:
            continue  # whoever reads all of them says so
        if samples is None:
            return
        yield samples


def _say(line: str) -> None:
    error_console.print(line, markup=False, highlight=False, soft_wrap=True)
