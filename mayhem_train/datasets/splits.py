"""Who trains and who judges: splits by whole recordings or by one block of time, never by shuffled neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mayhem_ros.errors import UsageError

Frames = Mapping[str, Sequence[int]]


def split_frames(
    frames: Frames,
    *,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    validation_fraction: float = 0.2,
) -> dict[tuple[str, int], str]:
    """Assigns every (recording, frame index) to "train", "val" or "test".

    Recordings named in `test` and `validation` go there whole. Where `validation` names none, the rule is, among the
    recordings that are left:

    - several: from the last by name backwards, whole recordings go to validation as long as they hold together at most
      `validation_fraction` of the frames; the last one always goes, the first one never does;
    - a single one: the last `validation_fraction` of its frames, one block of time, at least one frame of several.

    A `validation_fraction` of 0 leaves all to training.

    Raises:
        UsageError: a name is no labelled recording or is named twice, or the fraction is not in [0, 1).
    """
    if not 0 <= validation_fraction < 1:
        raise UsageError(f"--val-fraction is {validation_fraction:g}: choose a value from 0 to below 1.")
    named = [*validation, *test]
    for recording in named:
        if recording not in frames:
            known = ", ".join(sorted(frames))
            raise UsageError(f"No labelled recording is called {recording!r}: choose among {known}.")
        if named.count(recording) > 1:
            raise UsageError(f"Recording {recording!r} is named twice for validation or test: name it once.")
    splits = dict.fromkeys(test, "test") | dict.fromkeys(validation, "val")
    rest = sorted(recording for recording in frames if recording not in splits)
    if validation or validation_fraction == 0:
        last: set[str] = set()
    elif len(rest) == 1:
        return _whole(frames, splits) | _time_block(rest[0], frames[rest[0]], validation_fraction)
    else:
        last = _last_recordings(rest, frames, validation_fraction)
    return _whole(frames, splits | {recording: "val" if recording in last else "train" for recording in rest})


def _whole(frames: Frames, splits: Mapping[str, str]) -> dict[tuple[str, int], str]:
    return {(recording, index): split for recording, split in splits.items() for index in frames[recording]}


def _last_recordings(recordings: Sequence[str], frames: Frames, fraction: float) -> set[str]:
    allowed = fraction * sum(len(frames[recording]) for recording in recordings)
    chosen: set[str] = set()
    count = 0
    for recording in reversed(recordings[1:]):
        count += len(frames[recording])
        if chosen and count > allowed:
            break
        chosen.add(recording)
    return chosen


def _time_block(recording: str, indices: Sequence[int], fraction: float) -> dict[tuple[str, int], str]:
    ordered = sorted(indices)
    count = max(1, round(fraction * len(ordered))) if len(ordered) > 1 else 0
    first = len(ordered) - count
    return {(recording, index): "val" if place >= first else "train" for place, index in enumerate(ordered)}
