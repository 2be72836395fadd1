"""A lost part of a split recording costs its own messages and no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from recordings_writing import COLOUR, START_NS, colour_pixels, image, write
from rosbags.rosbag2 import Reader

from mayhem_ros.errors import MayhemError
from mayhem_train.cli import main
from mayhem_train.recordings.recording import Recording

FRAMES = 3  # a part
PARTS = 3
WRECKS = {"empty": b"", "5 bytes": b"\x89MCAP", "zeros": bytes(4096), "cut off in its head": None}


def split(tmp_path: Path, form: str, *, metadata: bool = True) -> list[Path]:
    """The parts of the recording `drive`; metadata.yaml as rosbag2 writes it, so only for mcap and db3."""
    folder = tmp_path / "drive"
    folder.mkdir()
    parts: list[Path] = []
    for number in range(PARTS):
        indices = range(number * FRAMES, (number + 1) * FRAMES)
        frames = [image(COLOUR, START_NS + i * 10**8, START_NS + i, colour_pixels(i), "rgb8") for i in indices]
        part = write(tmp_path, f"drive_{number}", form, frames)
        file = part if part.is_file() else part / f"drive_{number}.{form}"
        parts.append(Path(shutil.move(file, folder / file.name)))
        if number == 0 and metadata and part.is_dir():
            text = (part / "metadata.yaml").read_text()
            listed = "".join(f"  - drive_{n}.{form}\n" for n in range(PARTS))
            text = text.replace(f"  - drive_0.{form}\n", listed)
            text = text.replace(f"\n  message_count: {FRAMES}\n", f"\n  message_count: {FRAMES * PARTS}\n")
            (folder / "metadata.yaml").write_text(text)
    return parts


def wreck(part: Path, content: bytes | None) -> None:
    part.write_bytes(part.read_bytes()[:20] if content is None else content)


def assert_frames(path: Path, expected: list[int]) -> tuple[str, ...]:
    """Those frames of the whole drive are there, numbered from 0; gives the problems."""
    with Recording(path) as recording:
        frames = list(recording.frames(COLOUR))
        assert [frame.name for frame in frames] == [f"drive-{index:06d}.png" for index in range(len(expected))]
        assert [frame.stamp_ns for frame in frames] == [START_NS + index for index in expected]
        for index, original in enumerate(expected):
            assert np.array_equal(recording.read_image(COLOUR, index), colour_pixels(original))
            assert recording.frame(COLOUR, index) == frames[index]
        return recording.problems


@pytest.mark.parametrize("form", ["mcap", "db3"])
def test_the_whole_recording_is_one_that_rosbags_reads(tmp_path: Path, form: str) -> None:
    folder = split(tmp_path, form)[0].parent
    assert assert_frames(folder, list(range(9))) == ()
    with Reader(folder) as reader:
        assert [time for _, time, _ in reader.messages()] == [START_NS + i * 10**8 for i in range(9)]
    assert main(["inspect", "--verify", str(folder)]) == 0


@pytest.mark.parametrize("form", ["mcap", "db3", "bag"])
@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("content", WRECKS.values(), ids=WRECKS)
def test_the_messages_of_the_other_parts_are_recovered(
    tmp_path: Path,
    form: str,
    metadata: bool,
    lost: int,
    content: bytes | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    parts = split(tmp_path, form, metadata=metadata)
    wreck(parts[lost], content)
    folder = parts[0].parent
    problems = assert_frames(folder, [i for i in range(9) if i // FRAMES != lost])
    named = [problem for problem in problems if str(parts[lost]) in problem]
    assert len(named) == 1
    capsys.readouterr()
    assert main(["inspect", "--json", str(folder)]) == 0
    output = capsys.readouterr()
    (report,) = json.loads(output.out)
    assert report["message_count"] == 6
    assert report["problems"] == list(problems)
    assert f"Warning: {named[0]}" in output.err
    assert main(["inspect", "--verify", str(folder)]) == 1


@pytest.mark.parametrize("form", ["mcap", "db3"])
@pytest.mark.parametrize("lost", [0, 2])
def test_a_part_that_metadata_names_and_is_not_there_is_named_and_the_others_are_read(
    tmp_path: Path, form: str, lost: int
) -> None:
    parts = split(tmp_path, form)
    parts[lost].unlink()
    folder = parts[0].parent
    assert assert_frames(folder, [i for i in range(9) if i // FRAMES != lost]) == (
        f"A part of {folder} is lost, and frames are numbered without it: {parts[lost]} is missing: copy it there.",
        f"{folder} holds 6 messages, but its metadata.yaml counts 9.",
    )
    assert main(["inspect", str(folder)]) == 0
    assert main(["inspect", "--verify", str(folder)]) == 1


@pytest.mark.parametrize("form", ["mcap", "db3"])
def test_a_gap_in_the_numbers_of_the_files_is_mentioned(tmp_path: Path, form: str) -> None:
    parts = split(tmp_path, form, metadata=False)
    parts[1].unlink()
    folder = parts[0].parent
    assert assert_frames(folder, [0, 1, 2, 6, 7, 8]) == (
        f"{folder} has no metadata.yaml: its files were opened as they are (drive_0.{form}, drive_2.{form}).",
        f"{folder} lacks part 1 by its files' numbers: frames are numbered without what is missing.",
    )


def test_files_that_are_numbered_without_a_gap_lack_none(tmp_path: Path) -> None:
    parts = split(tmp_path, "mcap", metadata=False)
    assert len(assert_frames(parts[0].parent, list(range(9)))) == 1
    parts[2].unlink()  # which nobody can know
    assert len(assert_frames(parts[0].parent, list(range(6)))) == 1


def test_a_bag_of_which_a_power_cut_left_only_the_start_costs_no_other(tmp_path: Path) -> None:
    parts = split(tmp_path, "bag")
    active = parts[2].rename(parts[2].with_name("drive_2.bag.active"))
    wreck(active, None)
    folder = active.parent
    assert assert_frames(folder, list(range(6))) == (
        f"A part of {folder} is lost, and frames are numbered without it: {active} is cut off within its header: copy "
        "it from its source.",
    )


@pytest.mark.parametrize("form", ["mcap", "db3", "bag"])
def test_a_lost_part_with_broken_ones_beside_it_gives_what_they_still_hold(tmp_path: Path, form: str) -> None:
    parts = split(tmp_path, form)
    wreck(parts[0], b"")
    parts[2].write_bytes(parts[2].read_bytes()[: -parts[2].stat().st_size // 5])
    with Recording(parts[0].parent) as recording:
        kept = recording.topic(COLOUR).count
        assert FRAMES < kept < 2 * FRAMES
        for index in range(kept):
            assert np.array_equal(recording.read_image(COLOUR, index), colour_pixels(FRAMES + index))
        assert [sum(str(part) in problem for problem in recording.problems) for part in parts] == [1, 0, 1]


@pytest.mark.parametrize("form", ["mcap", "db3", "bag"])
def test_a_recording_whose_parts_are_all_lost_is_refused(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = split(tmp_path, form)
    for part in parts:
        wreck(part, b"")
    with pytest.raises(MayhemError, match=f"^{parts[0]} is empty: "):
        Recording(parts[0].parent)
    assert main(["inspect", str(parts[0].parent)]) == 1
    assert (
        capsys.readouterr().err == f"mayhem inspect: {parts[0]} is empty: copy it from its source or record it again.\n"
    )
