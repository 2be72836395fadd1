"""Splits keep recordings whole, cut them in blocks of time, or follow a file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.datasets.splits.split_file import SplitFile, read_split_file
from mayhem_train.datasets.splits.splitting import SplitPlan, assign_splits, split_frames
from mayhem_train.datasets.splits.time_blocks import TimeBlock, parse_block


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


def recorded(period_s: float = 0.1, **counts: int) -> dict[tuple[str, int], int]:
    """(recording, index) -> log time in ns; each recording starts at another hour."""
    return {
        (name, index): (number + 1) * 3_600_000_000_000 + round(index * period_s * 1e9)
        for number, (name, count) in enumerate(counts.items())
        for index in range(count)
    }


def frames_of(splits: dict[tuple[str, int], str], recording: str, split: str) -> list[int]:
    return sorted(index for (name, index), found in splits.items() if (name, found) == (recording, split))


def blocks(*texts: str) -> tuple[TimeBlock, ...]:
    return tuple(map(parse_block, texts))


def test_a_plan_without_more_is_the_split_by_recordings() -> None:
    times = recorded(a=70, b=10, c=10, d=10)
    frames = drives(a=70, b=10, c=10, d=10)
    assert assign_splits(times, SplitPlan()) == split_frames(frames)
    named = SplitPlan(validation=("b",), test=("a",))
    assert assign_splits(times, named) == split_frames(frames, validation=["b"], test=["a"])


def test_by_time_every_recording_gives_its_last_fraction() -> None:
    splits = assign_splits(recorded(a=10, b=20, c=1), SplitPlan(by="time", validation_fraction=0.2))
    assert frames_of(splits, "a", "val") == [8, 9]
    assert frames_of(splits, "b", "val") == [16, 17, 18, 19]
    assert by_recording(splits)["c"] == {"train"}


def test_by_time_a_test_recording_stays_whole_and_no_fraction_leaves_all_to_training() -> None:
    splits = assign_splits(recorded(a=10, b=10), SplitPlan(by="time", test=("b",)))
    assert by_recording(splits) == {"a": {"train", "val"}, "b": {"test"}}
    all_trains = assign_splits(recorded(a=10, b=10), SplitPlan(by="time", validation_fraction=0))
    assert set(all_trains.values()) == {"train"}


def test_a_gap_leaves_out_the_training_frames_before_a_block_and_after_it() -> None:
    by_time = assign_splits(recorded(a=20), SplitPlan(by="time", gap_s=0.25))
    assert frames_of(by_time, "a", "val") == [16, 17, 18, 19]
    assert frames_of(by_time, "a", "unused") == [14, 15]  # 0.1 and 0.2 s before; 0.3 s is far enough
    in_the_middle = assign_splits(recorded(a=20), SplitPlan(validation_blocks=blocks("a:8:10"), gap_s=0.2))
    assert frames_of(in_the_middle, "a", "unused") == [7, 10]
    assert frames_of(in_the_middle, "a", "train") == [*range(7), *range(11, 20)]


def test_between_validation_and_test_the_gap_is_taken_from_validation() -> None:
    plan = SplitPlan(validation_blocks=blocks("a:0:5"), test_blocks=blocks("a:5:10"), gap_s=0.15)
    splits = assign_splits(recorded(a=12), plan)
    assert frames_of(splits, "a", "test") == [5, 6, 7, 8, 9]
    assert frames_of(splits, "a", "val") == [0, 1, 2, 3]
    assert frames_of(splits, "a", "unused") == [4, 10]


def test_a_gap_does_not_reach_into_other_recordings() -> None:
    times = {("a", 0): 0, ("a", 1): 10**8, ("b", 0): 2 * 10**8, ("b", 1): 3 * 10**8}
    assert assign_splits(times, SplitPlan(validation=("b",), gap_s=10))["a", 1] == "train"


@pytest.mark.parametrize(
    ("text", "validating"),
    [
        ("a:300:303", [300, 301, 302]),
        ("a::3", [0, 1, 2]),
        ("a:397:", [397, 398, 399]),
        ("a:0.2s:0.45s", [2, 3, 4]),
        ("a:39.75s:", [398, 399]),
        ("a:0s:0.1s", [0]),
    ],
)
def test_a_block_is_given_in_frames_or_in_seconds_after_the_first_frame(text: str, validating: list[int]) -> None:
    splits = assign_splits(recorded(a=400, b=5), SplitPlan(validation_blocks=blocks(text)))
    assert frames_of(splits, "a", "val") == validating
    assert by_recording(splits)["b"] == {"train"}
    assert str(parse_block(text)) == text


def test_a_recordings_name_may_hold_colons() -> None:
    assert parse_block("run 12:30:5:9") == TimeBlock("run 12:30", 5, 9)


@pytest.mark.parametrize("text", ["a", "a:1", "a::", ":1:2", "a:-1:2", "a:1:2s", "a:x:y", "a:nan:2", "a:1e3:", ""])
def test_what_is_no_block_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="is no block"):
        parse_block(text)


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (SplitPlan(validation_blocks=blocks("c:1:2")), "'c'.*a, b"),
        (SplitPlan(validation_blocks=blocks("a:50:60")), "No labelled frame lies in the block a:50:60"),
        (SplitPlan(validation_blocks=blocks("a:1:3"), test_blocks=blocks("a:2:4")), "a:1:3 and a:2:4 overlap"),
        (SplitPlan(validation=("a",), test_blocks=blocks("a:2:4")), "'a' is named as a whole and by the block a:2:4"),
        (SplitPlan(by="time", validation=("a",)), "--split time"),
        (SplitPlan(by="time", validation_fraction=1.5), "--val-fraction"),
        (SplitPlan(gap_s=-1), "--gap is -1"),
        (SplitPlan(gap_s=float("nan")), "--gap is nan"),
        (SplitPlan(file=SplitFile(Path("s.yaml"), ()), test=("a",)), "--split-file says it all"),
        (SplitPlan(file=SplitFile(Path("s.yaml"), ()), validation_fraction=0.2), "leave out .*--val-fraction"),
        (SplitPlan(validation=("a",), validation_fraction=0.2), "leave out --val-fraction"),
        (SplitPlan(validation_blocks=blocks("a:1:3"), validation_fraction=0.2), "leave out --val-fraction"),
    ],
)
def test_a_plan_that_makes_no_sense_is_wrong_usage(plan: SplitPlan, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        assign_splits(recorded(a=10, b=10), plan)


def test_a_block_that_ends_before_it_begins_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="ends before it begins"):
        parse_block("a:5:5")


def file_splits(folder: Path, text: str, name: str = "splits.yaml", **counts: int) -> dict[tuple[str, int], str]:
    path = folder / name
    path.write_text(text)
    return assign_splits(recorded(**(counts or {"a": 12, "b": 3})), SplitPlan(file=read_split_file(path)))


def test_a_split_file_names_frames_patterns_and_recordings(tmp_path: Path) -> None:
    splits = file_splits(tmp_path, "train: [a]\nval: ['a-00001*']\ntest: [b, a-000011.jpg]\nunused: [a-000004.png]\n")
    assert frames_of(splits, "a", "train") == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert frames_of(splits, "a", "unused") == [4]
    assert frames_of(splits, "a", "val") == [10]  # a name outweighs a pattern, and a pattern a recording
    assert frames_of(splits, "a", "test") == [11]
    assert by_recording(splits)["b"] == {"test"}


def test_a_split_file_may_have_a_key_with_nothing_after_it(tmp_path: Path) -> None:
    splits = file_splits(tmp_path, "train: [a, b]\nval:\ntest: []\n")
    assert by_recording(splits) == {"a": {"train"}, "b": {"train"}}


def test_a_split_file_may_be_a_table(tmp_path: Path) -> None:
    splits = file_splits(tmp_path, "\ufeffname,split\na,train\nb-*,val\n", "splits.CSV")
    assert by_recording(splits) == {"a": {"train"}, "b": {"val"}}


def test_a_gap_counts_beside_a_split_file_too(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("train: [a]\nval: ['a-00001*']\n")
    splits = assign_splits(recorded(a=12), SplitPlan(file=read_split_file(tmp_path / "s.yaml"), gap_s=0.15))
    assert frames_of(splits, "a", "unused") == [9]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("train: [a]\n", r"says nothing of 3 of the labelled frames, first b-000000\.png"),
        ("train: [a, b]\nval: [c]\n", "names 'c', which is no labelled frame or recording"),
        ("train: [a, b]\nval: ['b']\n", r"puts b-000000\.png into train by 'b' and into val by 'b'"),
        ("train: [a, 'b-*']\nval: ['b-0*']\n", r"b-000000\.png into train by 'b-\*' and into val by 'b-0\*'"),
        ("train: [a, b]\nval: []\nvall: [b]\n", "no split 'vall'"),
        ("train: [a, b]\nvalidate: []\n", "no split 'validate'"),
        ("train: [a, b]\n'': [b]\n", "no split ''"),
        ("train: [a, b]\n? \n: [b]\n", "no split None"),
        ("train: [a, b]\n" + 200 * "v" + ": [b]\n", r"no split 'v{10,70}\.\.\.v{10,70}' ?\)"),
        ("train: a\n", "'train' is no list of names"),
        ("train: [1, 2]\n", "'train' is no list of names"),
        ("[a, b]\n", "it is no mapping"),
        ("", "it is no mapping"),
        ("train: [a\n", "is no split file"),
        ("train: !!python/object/apply:os.getcwd []\n", "is no split file"),
    ],
)
def test_a_split_file_that_does_not_fit_is_refused_by_name(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(MayhemError, match=rf"splits\.yaml .*{sentence}|{sentence}"):
        file_splits(tmp_path, text)


@pytest.mark.parametrize("text", ["", "a,train\n", "name,split\n", "name,split\na,tain\n", "name,split\n,train\n"])
def test_a_table_that_is_no_split_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(MayhemError, match=r"splits\.csv is no split file"):
        file_splits(tmp_path, text, "splits.csv")


def test_a_split_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MayhemError, match=r"absent\.yaml"):
        read_split_file(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(MayhemError, match=r"binary\.yaml is no split file"):
        read_split_file(tmp_path / "binary.yaml")


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 40), min_size=1),
    st.floats(0, 0.95),
    st.floats(0, 2),
)
def test_by_time_with_a_gap_no_training_frame_lies_within_it(
    counts: dict[str, int], fraction: float, gap_s: float
) -> None:
    times = recorded(**counts)
    splits = assign_splits(times, SplitPlan(by="time", validation_fraction=fraction, gap_s=gap_s))
    assert set(splits) == set(times)
    for name in counts:
        training, validating = frames_of(splits, name, "train"), frames_of(splits, name, "val")
        for a in training:
            assert all(abs(times[name, a] - times[name, b]) >= gap_s * 1e9 and a < b for b in validating)
