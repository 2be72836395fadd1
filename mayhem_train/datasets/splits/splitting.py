"""Who trains and who judges: splits by whole recordings or by blocks of time, never by shuffled neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.datasets.splits.split_file import SplitFile
from mayhem_train.datasets.splits.time_blocks import TimeBlock
from mayhem_train.recordings.frame import frame_name

Frames = Mapping[str, Sequence[int]]

# Labelled, but neither trained on nor judged by.
UNUSED = "unused"
# Share of the frames that validates where nobody says another.
FRACTION = 0.2
_ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class SplitPlan:
    """How frames are split; what is named explicitly goes first, then validation gets its share, the rest trains.

    Attributes:
        validation: recordings that validate as a whole.
        test: recordings that test as a whole.
        validation_blocks: stretches of recordings that validate.
        test_blocks: stretches of recordings that test.
        validation_fraction: share of the other frames that validates where neither `validation` nor
            `validation_blocks` say who does; None is a fifth.
        by: where that share comes from: "recording", see `split_frames`; "time", the end of every recording.
        gap_s: frames less than this many seconds from one of a later split in the same recording are left out.
        file: says it all instead of everything above.
        labelled: the labels say it all.
    """

    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    validation_blocks: tuple[TimeBlock, ...] = ()
    test_blocks: tuple[TimeBlock, ...] = ()
    validation_fraction: float | None = None
    by: Literal["recording", "time"] = "recording"
    gap_s: float = 0.0
    file: SplitFile | None = None
    labelled: bool = False


def assign_splits(
    times_ns: Mapping[tuple[str, int], int],
    plan: SplitPlan,
    labelled: Mapping[tuple[str, int], str] = MappingProxyType({}),
) -> dict[tuple[str, int], str]:
    """Assigns every (recording, frame index), given with its log time, to "train", "val", "test" or "unused".

    Args:
        times_ns: log times of the frames.
        plan: who goes where.
        labelled: the split that labels say themselves, empty where they say none.

    Raises:
        UsageError: the plan contradicts itself, or names a recording or a block that has no labelled frames.
        MayhemError: the split file does not fit the frames, or the labels are to say it all and do not.
    """
    if not plan.gap_s >= 0:
        raise UsageError(f"--gap is {plan.gap_s:g}: choose seconds from 0.")
    named = plan.validation or plan.test or plan.validation_blocks or plan.test_blocks
    if plan.labelled:
        if named or plan.by == "time" or plan.validation_fraction is not None or plan.file is not None:
            raise UsageError(
                "--labelled-splits takes the labels' own: leave out --val, --test, their blocks, --val-fraction, "
                "--split time and --split-file, or it."
            )
        return _with_gap(_labelled(times_ns, labelled), times_ns, plan.gap_s)
    if plan.file is not None:
        if named or plan.by == "time" or plan.validation_fraction is not None:
            raise UsageError(
                "--split-file says it all: leave out --val, --test, their blocks, --val-fraction and --split time."
            )
        return _with_gap(plan.file.assign(times_ns), times_ns, plan.gap_s)
    if plan.validation_fraction is not None and (plan.validation or plan.validation_blocks):
        raise UsageError("--val and --val-block say who validates: leave out --val-fraction, or them.")
    fraction = FRACTION if plan.validation_fraction is None else plan.validation_fraction
    if plan.by == "time" and (plan.validation or plan.validation_blocks):
        raise UsageError("--split time chooses the validation frames itself: leave out --val and --val-block, or it.")
    frames = _by_recording(times_ns)
    whole = split_frames(frames, validation=plan.validation, test=plan.test, validation_fraction=0)
    splits = {key: split for key, split in whole.items() if split != "train"} | _blocks(frames, times_ns, plan)
    rest = _by_recording(key for key in times_ns if key not in splits)
    if plan.by == "time":
        for recording, indices in rest.items():
            splits |= _time_block(recording, indices, _checked_fraction(fraction))
    elif rest:
        all_train = bool(plan.validation or plan.validation_blocks)
        splits |= split_frames(rest, validation_fraction=0.0 if all_train else fraction)
    return _with_gap(splits, times_ns, plan.gap_s)


def _labelled(frames: Iterable[tuple[str, int]], labelled: Mapping[tuple[str, int], str]) -> dict[tuple[str, int], str]:
    splits = {frame: labelled.get(frame, "") for frame in frames}
    missing = [frame_name(*frame) for frame, split in splits.items() if not split]
    if missing:
        raise MayhemError(
            f"The labels say no split of {len(missing)} of their {len(splits)} frames, first {missing[0]}: say all of "
            "them with --split-file or leave out --labelled-splits."
        )
    return splits


def split_frames(
    frames: Frames,
    *,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    validation_fraction: float = FRACTION,
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
    _checked_fraction(validation_fraction)
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
    count = max(1, round(fraction * len(ordered))) if len(ordered) > 1 and fraction else 0
    first = len(ordered) - count
    return {(recording, index): "val" if place >= first else "train" for place, index in enumerate(ordered)}


def _checked_fraction(fraction: float) -> float:
    if not 0 <= fraction < 1:
        raise UsageError(f"--val-fraction is {fraction:g}: choose a value from 0 to below 1.")
    return fraction


def _by_recording(keys: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    frames: dict[str, list[int]] = {}
    for recording, index in sorted(keys):
        frames.setdefault(recording, []).append(index)
    return frames


def _blocks(frames: Frames, times_ns: Mapping[tuple[str, int], int], plan: SplitPlan) -> dict[tuple[str, int], str]:
    splits: dict[tuple[str, int], str] = {}
    owners: dict[tuple[str, int], TimeBlock] = {}
    for split, blocks in (("val", plan.validation_blocks), ("test", plan.test_blocks)):
        for block in blocks:
            if block.recording not in frames:
                raise UsageError(
                    f"No labelled recording is called {block.recording!r}: choose among {', '.join(sorted(frames))}."
                )
            if block.recording in (*plan.validation, *plan.test):
                raise UsageError(
                    f"Recording {block.recording!r} is named as a whole and by the block {block}: name it once."
                )
            indices = block.indices({index: times_ns[block.recording, index] for index in frames[block.recording]})
            if not indices:
                raise UsageError(f"No labelled frame lies in the block {block}: choose another stretch.")
            for key in ((block.recording, index) for index in sorted(indices)):
                if key in owners:
                    raise UsageError(f"The blocks {owners[key]} and {block} overlap: give them different frames.")
                owners[key], splits[key] = block, split
    return splits


def _with_gap(
    splits: dict[tuple[str, int], str], times_ns: Mapping[tuple[str, int], int], gap_s: float
) -> dict[tuple[str, int], str]:
    """The splits, without frames too close to one of a later split (in the order train, val, test)."""
    if not gap_s:
        return splits
    found = dict(splits)
    for recording, indices in _by_recording(splits).items():
        for place, split in enumerate(_ORDER[:-1]):
            later = [i for i in indices if splits[recording, i] in _ORDER[place + 1 :]]
            if not later:
                continue
            times = np.array([times_ns[recording, i] for i in later], np.int64)
            for index in (i for i in indices if splits[recording, i] == split):
                if np.abs(times - times_ns[recording, index]).min() < gap_s * 1e9:
                    found[recording, index] = UNUSED
    return found
