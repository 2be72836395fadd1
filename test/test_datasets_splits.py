"""Splits keep recordings whole, or cut one recording once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayhem_ros.errors import UsageError
from mayhem_train.datasets.splits import split_frames


def by_recording(splits: dict[tuple[str, int], str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for (recording, _), split in splits.items():
        found.setdefault(recording, set()).add(split)
    return found


def drives(**counts: int) -> dict[str, list[int]]:
    return {name: list(range(count)) for name, count in counts.items()}


def test_named_recordings_go_where_they_are_named() -> None:
    splits = split_frames(drives(a=2, b=3, c=4), validation=["a"], test=["c"])
    assert by_recording(splits) == {"a": {"val"}, "b": {"train"}, "c": {"test"}}


def test_the_last_recordings_validate_while_they_stay_within_the_fraction() -> None:
    frames = drives(a=70, b=10, c=10, d=10)
    expected = {"a": {"train"}, "b": {"train"}, "c": {"val"}, "d": {"val"}}
    assert by_recording(split_frames(frames, validation_fraction=0.2)) == expected


def test_the_last_recording_validates_however_long_it_is() -> None:
    assert by_recording(split_frames(drives(a=10, b=90))) == {"a": {"train"}, "b": {"val"}}


def test_the_first_recording_always_trains() -> None:
    assert by_recording(split_frames(drives(a=1, b=1), validation_fraction=0.99)) == {"a": {"train"}, "b": {"val"}}


def test_a_single_recording_is_cut_once_near_its_end() -> None:
    splits = split_frames({"a": [30, 10, 20, 0, 40, 50, 70, 60, 90, 80]}, validation_fraction=0.2)
    assert [splits["a", index] for index in range(0, 100, 10)] == ["train"] * 8 + ["val"] * 2


def test_a_single_frame_trains() -> None:
    assert split_frames({"a": [5]}) == {("a", 5): "train"}


def test_what_remains_beside_a_test_recording_follows_the_same_rule() -> None:
    splits = split_frames(drives(a=10, b=5), test=["b"], validation_fraction=0.1)
    assert [splits["a", index] for index in range(10)] == ["train"] * 9 + ["val"]
    assert by_recording(splits)["b"] == {"test"}


def test_no_fraction_leaves_all_to_training() -> None:
    assert set(split_frames(drives(a=4, b=4), validation_fraction=0).values()) == {"train"}


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_an_impossible_fraction_is_wrong_usage(fraction: float) -> None:
    with pytest.raises(UsageError, match="--val-fraction"):
        split_frames(drives(a=4), validation_fraction=fraction)


def test_an_unknown_recording_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'c'.*a, b"):
        split_frames(drives(a=4, b=4), validation=["c"])


def test_a_recording_named_twice_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="'a' is named twice"):
        split_frames(drives(a=4, b=4), validation=["a"], test=["a"])


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 30), min_size=1),
    st.floats(0, 0.95),
)
def test_every_frame_is_in_one_split_and_no_recording_is_interleaved(counts: dict[str, int], fraction: float) -> None:
    frames = drives(**counts)
    splits = split_frames(frames, validation_fraction=fraction)
    assert set(splits) == {(name, index) for name, indices in frames.items() for index in indices}
    for name, indices in frames.items():
        changes = sum(splits[name, a] != splits[name, b] for a, b in pairwise(indices))
        assert changes <= (1 if len(frames) == 1 else 0)
