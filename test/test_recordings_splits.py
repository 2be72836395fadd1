"""Several files of one drive are one recording, and files that only stand beside each other are not."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import zstandard
from recordings_writing import COLOUR, START_NS, colour_pixels, image, write

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.recording import Recording, find_recordings

TIMES = ["2022-10-19-10-44-31_0", "2022-10-19-10-45-31_1", "2022-10-19-10-46-32_2"]
FRAMES = 3  # a file


def bags(folder: Path, names: Sequence[str]) -> list[Path]:
    """One bag for each name, each going on where the one before ends."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part, name in enumerate(names):
        times = [START_NS + (part * FRAMES + index) * 10**8 for index in range(FRAMES)]
        frames = [image(COLOUR, t, t, colour_pixels(part * FRAMES + i), "rgb8") for i, t in enumerate(times)]
        paths.append(write(folder, name, "bag", frames))
    return paths


def assert_one_drive(path: Path, parts: int) -> None:
    with Recording(path) as recording:
        assert recording.problems == ()
        assert recording.stem == path.name
        assert [frame.index for frame in recording.frames(COLOUR)] == list(range(parts * FRAMES))
        for index in range(parts * FRAMES):
            assert np.array_equal(recording.read_image(COLOUR, index), colour_pixels(index))


@pytest.mark.parametrize(
    "names",
    [
        ["drive_0", "drive_1", "drive_2"],
        [f"drive_{number}" for number in range(11)],
        TIMES,
        [f"north_{time}" for time in TIMES],
        ["2022-10-19-10-44-31"],
        ["drive"],
    ],
)
def test_a_named_folder_of_split_bags_is_one_recording_whose_index_runs_on(tmp_path: Path, names: list[str]) -> None:
    bags(tmp_path / "morning", names)
    assert_one_drive(tmp_path / "morning", len(names))


@pytest.mark.parametrize("names", [["drive_0", "drive_1"], TIMES, [f"north_{time}" for time in TIMES]])
def test_packed_bags_are_parts_all_the_same(tmp_path: Path, names: list[str]) -> None:
    for path in bags(tmp_path / "morning", names)[1:]:
        path.with_name(f"{path.name}.zst").write_bytes(zstandard.compress(path.read_bytes()))
        path.unlink()
    assert_one_drive(tmp_path / "morning", len(names))


def test_a_bag_that_was_not_closed_is_the_last_part(tmp_path: Path) -> None:
    last = bags(tmp_path / "morning", TIMES)[-1]
    last.rename(last.with_name(f"{last.name}.active"))
    assert_one_drive(tmp_path / "morning", 3)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["drive_0", "drive_2"], "not the parts of one recording.*numbers are 0, 2"),
        (["drive_1", "drive_2"], "numbers are 1, 2"),
        (["2022-10-19-10-44-31_0", "2022-10-19-10-45-31_0"], "numbers are 0, 0"),
        (["drive", "drive_0"], "numbers are -1, 0"),
        (["north_0", "south_1"], "several recordings: name one of north_0.bag, south_1.bag"),
    ],
)
def test_bags_that_are_no_parts_of_one_recording_are_not_taken_for_them(
    tmp_path: Path, names: list[str], reason: str
) -> None:
    bags(tmp_path / "morning", names)
    with pytest.raises(MayhemError, match=reason):
        Recording(tmp_path / "morning")


def test_bags_beside_other_recordings_are_not_taken_for_parts(tmp_path: Path) -> None:
    folder = tmp_path / "morning"
    bags(folder, ["drive_0", "drive_1"])
    other = write(tmp_path, "other", "mcap", [image(COLOUR, START_NS, START_NS, colour_pixels(0), "rgb8")])
    shutil.copy(other / "other.mcap", folder / "drive_2.mcap")
    with pytest.raises(MayhemError, match=r"several recordings: name one of drive_0.bag, drive_1.bag, drive_2.mcap"):
        Recording(folder)


def test_a_folder_that_bears_its_parts_name_is_found_as_one_recording(tmp_path: Path) -> None:
    bags(tmp_path / "drive", ["drive_0", "drive_1"])
    assert find_recordings(tmp_path) == {"drive": tmp_path / "drive"}
    assert find_recordings(tmp_path / "drive") == {"drive": tmp_path / "drive"}


@pytest.mark.parametrize("names", [TIMES, [f"north_{time}" for time in TIMES]])
def test_a_folder_of_parts_that_rosbag_named_by_time_is_found_as_one_recording(
    tmp_path: Path, names: list[str]
) -> None:
    bags(tmp_path / "morning", names)
    assert find_recordings(tmp_path) == {"morning": tmp_path / "morning"}


@pytest.mark.parametrize(
    "names",
    [
        ["test_0", "test_1"],  # in a folder of another name they may be two drives
        ["test_1", "test_2"],
        ["2022-10-19-10-44-31", "2022-10-19-10-45-31"],  # two drives, each begun by hand
        ["2022-10-19-10-44-31_0", "2022-10-19-10-45-31_0"],  # the first parts of two drives
        ["2022-10-19-10-44-31_0", "2022-10-19-10-45-31_2"],
        ["2022-10-19-10-45-31_0", "2022-10-19-10-44-31_1"],  # the second begun before the first
        ["2022-10-19-10-44-31_0"],
        [*TIMES, "notes"],
        ["morning", "evening"],
    ],
)
def test_other_bags_are_a_recording_each(tmp_path: Path, names: list[str]) -> None:
    paths = bags(tmp_path / "morning", names)
    assert find_recordings(tmp_path) == dict(sorted(zip(names, paths, strict=True)))


def test_a_bag_that_was_not_closed_is_found_under_its_name(tmp_path: Path) -> None:
    (path,) = bags(tmp_path, ["drive"])
    active = path.rename(path.with_name("drive.bag.active"))
    assert find_recordings(tmp_path) == {"drive": active}
    with Recording(active) as recording:
        assert recording.frame(COLOUR, 2).name == "drive-000002.png"


def test_an_archive_beside_its_unpacked_file_in_a_split_folder_counts_once(tmp_path: Path) -> None:
    parts = [
        write(tmp_path, f"part{n}", "mcap", [image(COLOUR, START_NS + n, n, colour_pixels(n), "rgb8")])
        for n in range(2)
    ]
    folder = tmp_path / "drive"
    folder.mkdir()
    for number, part in enumerate(parts):
        data = (part / f"{part.name}.mcap").read_bytes()
        (folder / f"drive_{number}.mcap.zstd").write_bytes(zstandard.compress(data))
    (folder / "drive_0.mcap").write_bytes(b"\x89MCAP0\r\nhalf unpacked")
    with Recording(folder) as recording:
        assert [recording.read_image(COLOUR, n).tolist() for n in range(2)] == [
            colour_pixels(n).tolist() for n in range(2)
        ]
