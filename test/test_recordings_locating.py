"""A recording is found however it is named, and what stands in the way of it is said in one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from datasets_drives import box_element, image_element, write_cvat, write_drive
from recordings_writing import COLOUR, START_NS, colour_pixels, image, write

from mayhem_ros.errors import MayhemError
from mayhem_train.cli import main
from mayhem_train.recordings.locating import recording_stem
from mayhem_train.recordings.recording import Recording, find_recordings

FRAME = image(COLOUR, START_NS, START_NS, colour_pixels(0), "rgb8")


def drive(folder: Path, name: str = "drive") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return write(folder, name, "mcap", [FRAME])


def inspected_without_privileges(path: Path) -> subprocess.CompletedProcess[str]:
    return without_privileges("inspect", str(path))


def without_privileges(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`mayhem` as one whom file permissions bind, which they do not bind the superuser."""
    command = [sys.executable, "-m", "mayhem_train.cli", *arguments]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("the superuser needs setpriv to be bound by permissions")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", *command]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o333])
@pytest.mark.parametrize("has_metadata", [True, False])
def test_a_folder_that_may_not_be_looked_into_is_named(tmp_path: Path, mode: int, has_metadata: bool) -> None:
    path = drive(tmp_path)
    if not has_metadata:
        (path / "metadata.yaml").unlink()
    path.chmod(mode)
    try:
        result = inspected_without_privileges(path)
    finally:
        path.chmod(0o755)
    if mode == 0o333 and has_metadata:  # nobody needs to list it
        assert result.returncode == 0
        return
    assert result.returncode == 1
    assert result.stderr == (
        f"mayhem inspect: Cannot look for a recording at {path} (Permission denied): check the path and its "
        "permissions.\n"
    )


def test_an_import_minds_a_folder_it_may_not_look_into_only_where_it_lacks_a_recording(tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    write_drive(recordings, "drive-a", 2)
    write_drive(recordings / "closed", "drive-b", 2)
    outcomes = {}
    (recordings / "closed").chmod(0)
    try:
        for stem in ("drive-a", "drive-b"):
            car = box_element("car", 1, 2, 30, 40)
            labels = write_cvat(tmp_path / f"{stem}.xml", image_element(f"{stem}-000000.png", car))
            arguments = ["--recordings", str(recordings), "--out", str(tmp_path / f"{stem}.json")]
            outcomes[stem] = without_privileges("import-cvat", str(labels), *arguments)
    finally:
        (recordings / "closed").chmod(0o755)
    assert outcomes["drive-a"].returncode == 0
    assert (tmp_path / "drive-a.json").is_file()
    assert outcomes["drive-b"].returncode == 1
    assert outcomes["drive-b"].stderr.splitlines()[:2] == [
        "mayhem import-cvat: 1 fault in the labels:",
        f"  Cannot look into {recordings / 'closed'} (Permission denied): check its permissions.",
    ]


def test_a_part_that_may_not_be_read_is_not_taken_for_a_lost_one(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    for number in range(2):
        shutil.move(drive(tmp_path, f"drive_{number}") / f"drive_{number}.mcap", folder)
    (folder / "drive_1.mcap").chmod(0)
    result = inspected_without_privileges(folder)
    assert result.returncode == 1
    assert result.stderr == (
        f"mayhem inspect: Cannot open {folder / 'drive_1.mcap'} (Permission denied): check the path and its "
        "permissions.\n"
    )


def test_a_name_longer_than_any_file_has_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ("x" * 300)
    assert main(["inspect", str(path)]) == 1
    assert capsys.readouterr().err == (
        f"mayhem inspect: Cannot look for a recording at {path} (File name too long): check the path and its "
        "permissions.\n"
    )
    with pytest.raises(MayhemError, match=r"Cannot look into .* \(File name too long\)"):
        find_recordings(path)


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000])
def test_metadata_nested_without_end_is_named(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = drive(tmp_path)
    (path / "metadata.yaml").write_text(text)
    assert main(["inspect", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"mayhem inspect: {path / 'metadata.yaml'} is no rosbag2 metadata (Recur")


@pytest.mark.parametrize(("was", "becomes"), [("message_count: 1", "message_count: .inf"), ("- drive.mcap", "- ''")])
def test_metadata_with_absurd_values_is_named(
    tmp_path: Path, was: str, becomes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = drive(tmp_path)
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace(was, becomes))
    assert main(["inspect", str(path)]) == 1
    assert f"{path / 'metadata.yaml'} " in capsys.readouterr().err


def test_metadata_stands_for_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drive(tmp_path)
    monkeypatch.chdir(path)
    for given in (path, path / "metadata.yaml", Path("metadata.yaml"), Path()):
        assert recording_stem(given) == "drive"
        with Recording(given) as recording:
            assert [frame.name for frame in recording.frames(COLOUR)] == ["drive-000000.png"]
            assert recording.problems == ()


def test_links_that_go_round_are_followed_once(tmp_path: Path) -> None:
    path = drive(tmp_path / "week" / "monday")
    (tmp_path / "week" / "round").symlink_to(tmp_path)
    (tmp_path / "week" / "monday" / "itself").symlink_to("itself")
    (tmp_path / "week" / "monday" / "here").symlink_to(".")
    assert find_recordings(tmp_path) == {"drive": path}


def test_a_link_to_a_folder_of_recordings_elsewhere_is_followed(tmp_path: Path) -> None:
    drive(tmp_path / "disk", "south")
    north = drive(tmp_path / "drives", "north")
    (tmp_path / "drives" / "more").symlink_to(tmp_path / "disk")
    (tmp_path / "drives" / "again").symlink_to(tmp_path / "disk")
    (tmp_path / "drives" / "same").symlink_to(north)  # a recording of another name
    assert find_recordings(tmp_path / "drives") == {
        "south": tmp_path / "drives" / "again" / "south",
        "north": north,
        "same": tmp_path / "drives" / "same",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x1f\x8b\x08rest", "is a gzip archive, no recording: unpack it first"),
        (b"PK\3\4rest", "is a zip archive, no recording: unpack it first"),
        (
            b"\x1aE\xdf\xa3rest",
            "is a Matroska file, as Azure Kinect's and Orbbec's recorders write, no recording: play it",
        ),
        (b"\0\0\0\x18ftypmp42", "is an MP4 video, no recording: publish it"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "is a pointer of Git LFS, no recording: fetch the file itself",
        ),
        (b"<!DOCTYPE html><html>", "is a web page, no recording: download the file itself"),
        (b"something else", "is no recording (it begins with b'somethin')"),
    ],
)
def test_what_is_no_recording_is_named_as_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "drive.bag"
    path.write_bytes(content)
    with pytest.raises(MayhemError) as error:
        Recording(path)
    assert f"{path} {said}" in str(error.value)
