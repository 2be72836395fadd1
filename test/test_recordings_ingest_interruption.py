"""An ingest that is killed, runs out of disk or meets another one goes on where it was, to the very same bytes."""

from __future__ import annotations

import fcntl
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from ingest_messages import (
    COLOUR,
    DEPTH,
    IMU,
    INFO,
    ODOM,
    POINTS,
    all_bytes,
    imu_message,
    info_message,
    odometry_message,
    xyz_cloud,
)
from recordings_writing import START_NS, Written, colour_pixels, image, jpeg, jpeg_bytes, write

from mayhem_train.cli import main
from mayhem_train.recordings import exclusive
from mayhem_train.recordings.ingest import ingestion
from mayhem_train.recordings.ingest.spool import Names, Spool

MS = 1_000_000
ROOT = Path(__file__).resolve().parents[1]


def messages(frames: int) -> list[Written]:
    """Every kind, with a broken JPEG, a stamp that goes back, and a calibration that changes."""
    written: list[Written] = []
    for k in range(frames):
        stamp = START_NS + 100 * MS * (k - 3 * (k == 5))
        log = START_NS + 100 * MS * k + 8 * MS
        data = jpeg_bytes(colour_pixels(k, 24, 32))
        written.append(jpeg(f"{COLOUR}/compressed", log, data[:40] if k == 4 else data))
        written.append(image(COLOUR, log, stamp, colour_pixels(k, 24, 32), "rgb8"))
        written.append(image(DEPTH, log + MS, stamp + 3 * MS, np.full((24, 32), 900 + k, np.uint16), "16UC1"))
        written.append(xyz_cloud(POINTS, log + 2 * MS, k))
        written.append(info_message(INFO, log, 50.0 + (k > frames // 2)))
        written.append(odometry_message(ODOM, log, stamp, float(k)))
        written += [imu_message(IMU, log + j * MS, stamp + 10 * j * MS, (k, j, 1), (j, k, 9.8)) for j in range(5)]
    return written


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("drives")
    return [write(folder, "drive-0", "mcap", messages(120)), write(folder, "drive-1", "bag-lz4", messages(90))]


@pytest.fixture(scope="module")
def undisturbed(drives: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert main(["ingest", *map(str, drives), "--out", str(out), "--workers", "1"]) == 0
    return all_bytes(out)


def command(drives: Sequence[Path], out: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "mayhem_train.cli", "ingest", *map(str, drives), "--out", str(out), *arguments]


def test_killed_at_twenty_random_moments_it_ends_with_the_same_bytes(
    drives: list[Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """Moments are drawn over the files there are to write, so that they spread over the whole run on any machine."""
    out = tmp_path / "out"
    generator = random.Random(11)
    targets = sorted(generator.randrange(len(undisturbed)) for _ in range(20))
    killed = 0
    while killed < len(targets):
        process = subprocess.Popen(
            command(drives, out, "--workers", str(1 + killed % 2)), cwd=ROOT, stdout=subprocess.DEVNULL
        )
        while sum(1 for _ in out.rglob("*")) < targets[killed] and process.poll() is None:
            time.sleep(0.001)
        time.sleep(generator.uniform(0, 0.02))
        process.kill()
        process.wait()
        assert_whole(out, undisturbed)
        if all_bytes(out) == undisturbed:
            # It was done before the kill, which then tells nothing: the moment is tried again on a run of its own.
            shutil.rmtree(out)
        else:
            killed += 1
    subprocess.run(command(drives, out, "--workers", "2"), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert all_bytes(out) == undisturbed


def assert_whole(out: Path, undisturbed: dict[str, bytes]) -> None:
    """Every file that is there is one of the undisturbed run's, to its last byte."""
    for path in out.rglob("*"):
        if path.is_file() and ".ingest" not in path.parts:
            assert path.read_bytes() == undisturbed[str(path.relative_to(out))]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_says_so_in_one_line_and_harms_nothing(
    drives: list[Path], undisturbed: dict[str, bytes], tmp_path: Path, workers: str
) -> None:
    process = subprocess.Popen(
        command(drives, tmp_path, "--workers", workers),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in the background, the signal may be ignored from the start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while process.poll() is None and sum(1 for _ in tmp_path.rglob("*.png")) < 10:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    _, errors = process.communicate()
    assert errors == "mayhem ingest: interrupted\n"
    assert process.returncode == 130
    assert main(["ingest", *map(str, drives), "--out", str(tmp_path)]) == 0
    assert all_bytes(tmp_path) == undisturbed


def test_the_number_of_workers_changes_nothing(
    drives: list[Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    for workers in ("2", "5"):
        assert main(["ingest", *map(str, drives), "--out", str(tmp_path / workers), "--workers", workers]) == 0
        assert all_bytes(tmp_path / workers) == undisturbed


def test_what_is_finished_is_skipped_and_stays_as_it_is(
    drives: list[Path], undisturbed: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ingest", *map(str, drives), "--out", str(tmp_path), "--workers", "1"]
    assert main(arguments) == 0
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    capsys.readouterr()
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{tmp_path}/drive-0: finished before\n{tmp_path}/drive-1: finished before\n"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times
    lost = next(tmp_path.rglob("*.png"))
    lost.unlink()
    assert main([*arguments, "--force"]) == 0
    assert all_bytes(tmp_path) == undisturbed


def test_finished_with_other_options_it_is_refused_unless_forced(
    drives: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ingest", str(drives[0]), "--out", str(tmp_path)]
    assert main([*arguments, "--colour", "jpg"]) == 0
    before = all_bytes(tmp_path)
    assert main([*arguments, "--topics", COLOUR]) == 2
    assert "holds the finished ingest with other options (colour jpg, now png): pass --force" in capsys.readouterr().err
    assert all_bytes(tmp_path) == before
    assert main([*arguments, "--topics", COLOUR, "--force"]) == 0
    names = {name.rpartition(".")[2] for name in all_bytes(tmp_path)}
    assert names == {"png", "csv", "json"}  # nothing of the first one is left


def test_a_recording_that_changed_is_refused_unless_forced(
    drives: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = Path(shutil.copy(drives[1], tmp_path / "drive.bag"))
    arguments = ["ingest", str(bag), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    modified = bag.stat().st_mtime_ns
    data = bag.read_bytes()
    bag.write_bytes(data + b"\0")  # longer, of the same time
    os.utime(bag, ns=(0, modified))
    assert main(arguments) == 2
    bag.write_bytes(data)
    os.utime(bag, ns=(0, modified))
    assert main(arguments) == 0
    os.utime(bag, ns=(0, 123))
    capsys.readouterr()
    assert main(arguments) == 2
    assert f"{tmp_path}/out/drive holds the finished ingest of drive.bag as it was before" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_folder_that_no_ingest_wrote_is_never_touched(
    drives: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], force: list[str]
) -> None:
    (tmp_path / "drive-0").mkdir()
    (tmp_path / "drive-0" / "thesis.txt").write_text("years of work")
    assert main(["ingest", str(drives[0]), "--out", str(tmp_path), *force]) == 2
    assert "holds files that no ingest wrote" in capsys.readouterr().err
    assert all_bytes(tmp_path) == {"drive-0/thesis.txt": b"years of work"}
    (tmp_path / "drive-1").write_text("a file")
    assert main(["ingest", str(drives[1]), "--out", str(tmp_path), *force]) == 2
    assert f"{tmp_path}/drive-1 is a file" in capsys.readouterr().err


def test_a_manifest_that_is_none_is_named(
    drives: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "drive-0").mkdir()
    for text in ("{", "[]", '{"parameters": 3}'):
        (tmp_path / "drive-0" / "ingest.json").write_text(text)
        assert main(["ingest", str(drives[0]), "--out", str(tmp_path), "--force"]) == 1
        assert f"{tmp_path}/drive-0/ingest.json is no manifest of an ingest" in capsys.readouterr().err


@pytest.mark.parametrize(("limit", "at_least"), [(4096, 20), (1500, 0)], ids=["rows", "an image"])
def test_a_full_disk_is_said_in_one_sentence_and_harms_nothing(
    drives: list[Path],
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    limit: int,
    at_least: int,
) -> None:
    """No file may grow beyond a limit, so that either the rows or an image are the first to fail, in the middle."""
    out = tmp_path / "out"
    result = subprocess.run(
        command(drives[:1], out),
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"mayhem ingest: Cannot ingest {drives[0]} into {out / 'drive-0'} (File too large)")
    assert result.stderr.count("\n") == 1
    assert not (out / "drive-0" / "ingest.json").exists()
    assert_whole(out, undisturbed)
    assert sum(1 for path in out.rglob("*") if path.suffix in (".png", ".pcd")) >= at_least

    # Begun like this it goes on only with the same options, and with others from the start.
    other = [str(drives[0]), "--depth", "tiff", "--topics", DEPTH]
    assert main(["ingest", *other, "--out", str(out)]) == 2
    assert "holds the begun ingest with other options (depth auto, now tiff)" in capsys.readouterr().err
    shutil.copytree(out, tmp_path / "forced")
    assert main(["ingest", *other, "--out", str(tmp_path / "forced"), "--force"]) == 0
    assert main(["ingest", *other, "--out", str(tmp_path / "fresh")]) == 0
    assert all_bytes(tmp_path / "forced") == all_bytes(tmp_path / "fresh")
    assert main(["ingest", str(drives[0]), "--out", str(out)]) == 0
    assert all_bytes(out) == {name: data for name, data in undisturbed.items() if name.startswith("drive-0/")}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_where_nothing_can_be_written_one_sentence_says_so(
    drives: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], workers: str
) -> None:
    """Below a file, and in /proc: places where even root cannot write."""
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "out", Path("/proc/out")):
        assert main(["ingest", *map(str, drives), "--out", str(out), "--workers", workers]) == 1
        errors = capfd.readouterr().err.splitlines()
        assert len(errors) == 2
        for line, drive in zip(errors, drives, strict=True):
            assert line.startswith(f"mayhem ingest: Cannot ingest {drive} into {out}")
            assert "goes on where this one stopped" not in line
            if out.parent != Path("/proc"):
                assert line.endswith(
                    "(Not a directory): something else is where a folder would be, choose another --out."
                )


def test_of_several_ingests_of_one_recording_one_works_and_the_others_find_it_finished(
    drives: list[Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    processes = [
        subprocess.Popen(command(drives, out), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    for drive in ("drive-0", "drive-1"):
        said = [line.partition(": ")[2] for output, _ in outputs for line in output.splitlines() if f"{drive}:" in line]
        assert sorted(line == "finished before" for line in said) == [False, True, True]
    assert all(
        line.startswith("Waiting for another process that ingests into") for _, e in outputs for line in e.splitlines()
    )
    assert all_bytes(out) == undisturbed


def test_an_ingest_waits_for_another_and_says_so(
    drives: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exclusive, "_SILENT_FOR", 0.0)
    folder = tmp_path / "drive-0"
    (folder / ".ingest").mkdir(parents=True)
    arguments = ["ingest", str(drives[0]), "--out", str(tmp_path)]
    with (folder / ".ingest" / "lock").open("ab") as lock, ThreadPoolExecutor(1) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = pool.submit(main, arguments)
        said = ""
        while not said:
            said = capsys.readouterr().err
            assert not waiting.done()
            time.sleep(0.01)
        assert said == f"Waiting for another process that ingests into {folder}.\n"
        assert [path.name for path in folder.rglob("*")] == [".ingest", "lock"]
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert waiting.result() == 0
    assert (folder / "ingest.json").exists()


def test_an_ingest_with_other_options_does_not_wait(
    drives: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_in_the_middle(monkeypatch, drives[0], tmp_path)
    with (tmp_path / "drive-0" / ".ingest" / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["ingest", str(drives[0]), "--out", str(tmp_path), "--colour", "jpg"]) == 2
    assert "holds the begun ingest with other options (colour png, now jpg)" in capsys.readouterr().err


def stop_in_the_middle(monkeypatch: pytest.MonkeyPatch, drive: Path, out: Path, *arguments: str) -> None:
    """An ingest that has extracted all files, but has not written the tables."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patches:
        patches.setattr(ingestion, "write_results", interrupt)
        assert main(["ingest", str(drive), "--out", str(out), *arguments, "--workers", "1"]) == 130


# Files of other people


def test_force_removes_what_an_ingest_wrote_and_nothing_else(
    drives: list[Path], undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a finished ingest with other options and after one that was stopped; labels lie among the images."""
    folder = tmp_path / "drive-0"
    own = {
        "notes.txt": b"",
        "labels/mine.xml": b"1",
        "labels/frames.csv": b"2",
        "frames.xml": b"3",
        "colour/cam-image/drive-0-000001.txt": b"4",
        "colour/cam-image/drive-0-000001.json": b"5",
        "colour/cam-image/masks/drive-0-000001.png": b"6",
        "camera_info/mine.yaml": b"7",
        "imu/imu.mat": b"8",
        ".ingest-notes": b"9",
        # Called as an ingest's, but for indices that no message has
        "colour/cam-image/drive-0-000301.png": b"10",
        "colour/cam-image/drive-0-000120.jpg": b"11",
        "colour/cam-image/drive-0-0000001.png": b"12",
        "depth/cam-depth/drive-0-000120.tiff": b"13",
        "clouds/points/drive-0-000120.ply": b"14",
        "camera_info/cam-info.000301.json": b"15",
    }
    others = ["--colour", "jpg", "--depth", "tiff", "--clouds", "ply", "--imu", "parquet", "--poses", "parquet"]
    others += ["--camera-info", "json", "--table", "parquet"]
    arguments = ["ingest", str(drives[0]), "--out", str(tmp_path)]
    assert main([*arguments, *others]) == 0
    for name, data in own.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    expected = {name: data for name, data in undisturbed.items() if name.startswith("drive-0/")}
    expected.update({f"drive-0/{name}": data for name, data in own.items()})
    assert main([*arguments, "--force"]) == 0
    assert all_bytes(tmp_path) == expected
    stop_in_the_middle(monkeypatch, drives[0], tmp_path, *others, "--force")
    assert list(folder.rglob("*.ply")) != []
    assert main([*arguments, "--force"]) == 0
    assert all_bytes(tmp_path) == expected


def test_force_never_writes_over_what_no_ingest_wrote(
    drives: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody's masks beside images in JPEG, called as they are but for the suffix."""
    arguments = ["ingest", str(drives[0]), "--out", str(tmp_path)]
    assert main([*arguments, "--colour", "jpg"]) == 0
    mask = tmp_path / "drive-0" / "colour" / "cam-image" / "drive-0-000007.png"
    mask.write_bytes(b"a mask")
    before = all_bytes(tmp_path)
    assert main([*arguments, "--force"]) == 2
    assert capsys.readouterr().err == (
        f"mayhem ingest: {mask} was written by no ingest, but would be by this one: move it away.\n"
    )
    assert main([*arguments, "--colour", "jpg"]) == 0
    assert all_bytes(tmp_path) == before


@pytest.mark.parametrize("removed", [0, 1, 2, 3, 50, 200])
def test_force_that_is_stopped_while_it_removes_leaves_nothing_of_what_was_there(
    drives: list[Path], undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    others = ["--colour", "jpg", "--clouds", "ply", "--table", "parquet"]
    arguments = ["ingest", str(drives[0]), "--out", str(tmp_path), "--workers", "1"]
    assert main([*arguments, *others]) == 0
    (tmp_path / "drive-0" / "notes.txt").write_bytes(b"mine")
    left, unlink = [removed], Path.unlink

    def unlink_so_many(path: Path, missing_ok: bool = False) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        unlink(path, missing_ok)

    with monkeypatch.context() as patches:
        patches.setattr(Path, "unlink", unlink_so_many)
        assert main([*arguments, "--force"]) == 130
    assert main([*arguments, *([] if removed > 1 else ["--force"])]) == 0
    expected = {name: data for name, data in undisturbed.items() if name.startswith("drive-0/")}
    assert all_bytes(tmp_path) == {**expected, "drive-0/notes.txt": b"mine"}


@pytest.mark.parametrize(
    "lost",
    [
        ["frames.csv"],
        ["colour/cam-image/drive-0-000003.png"],
        ["clouds"],
        ["imu/imu.csv", "poses/odom.csv", "depth/cam-depth/drive-0-000000.png"],
        ["camera_info/cam-info.yaml"],
    ],
)
def test_files_that_are_gone_from_a_finished_ingest_are_made_again(
    drives: list[Path],
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lost: list[str],
) -> None:
    arguments = ["ingest", str(drives[0]), "--out", str(tmp_path)]
    assert main(arguments) == 0
    folder = tmp_path / "drive-0"
    (folder / "notes.txt").write_bytes(b"mine")
    count = len(all_bytes(tmp_path))
    for name in lost:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    count -= len(all_bytes(tmp_path))
    capsys.readouterr()
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert output.err == f"Warning: The finished ingest in {folder} lacks {count} of its files: it is done again.\n"
    assert "finished before" not in output.out
    expected = {name: data for name, data in undisturbed.items() if name.startswith("drive-0/")}
    assert all_bytes(tmp_path) == {**expected, "drive-0/notes.txt": b"mine"}
    assert main(arguments) == 0
    assert "finished before" in capsys.readouterr().out


def test_what_an_ingest_did_not_write_survives_one_that_is_done_again(
    drives: list[Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    arguments = ["ingest", str(drives[0]), "--out", str(tmp_path)]
    assert main(arguments) == 0
    folder = tmp_path / "drive-0"
    (folder / "colour" / "cam-image" / "drive-0-000301.png").write_bytes(b"mine")
    (folder / "frames.csv").unlink()
    assert main(arguments) == 0
    expected = {name: data for name, data in undisturbed.items() if name.startswith("drive-0/")}
    assert all_bytes(tmp_path) == {**expected, "drive-0/colour/cam-image/drive-0-000301.png": b"mine"}


@pytest.mark.parametrize(
    "name",
    [
        "frames.csv",
        "colour/cam-image/drive-0-000003.png",
        "depth/cam-depth/drive-0-000000.png",
        "imu/imu.csv",
        "camera_info/cam-info.yaml",
    ],
)
def test_an_emptied_file_is_one_that_is_gone(
    drives: list[Path],
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    arguments = ["ingest", str(drives[0]), "--out", str(tmp_path)]
    assert main(arguments) == 0
    folder = tmp_path / "drive-0"
    path = folder / name
    path.write_bytes(b"")
    capsys.readouterr()
    assert main(arguments) == 0
    error = capsys.readouterr().err
    assert error == f"Warning: The finished ingest in {folder} lacks 1 of its files: it is done again.\n"
    expected = {name: data for name, data in undisturbed.items() if name.startswith("drive-0/")}
    assert all_bytes(tmp_path) == expected
    path.unlink()
    path.symlink_to("nowhere")
    assert main(arguments) == 0
    assert all_bytes(tmp_path) == expected


@pytest.mark.parametrize("topics", [None, 3, [{}], [{"topic": "/a", "kind": "colour", "form": "../../x"}]])
def test_a_manifest_that_is_none_is_named_and_leads_to_no_file(
    drives: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], topics: object
) -> None:
    arguments = ["ingest", str(drives[0]), "--out", str(tmp_path)]
    assert main(arguments) == 0
    path = tmp_path / "drive-0" / "ingest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "topics": topics}))
    before = all_bytes(tmp_path / "drive-0")
    for force in ([], ["--force"]):
        capsys.readouterr()
        assert main([*arguments, *force]) == 1
        assert f"{path} is no manifest of an ingest" in capsys.readouterr().err
        found = all_bytes(tmp_path / "drive-0")
        assert {name: data for name, data in found.items() if not name.startswith(".ingest/")} == before


def test_workers_end_with_the_process_that_started_them(drives: list[Path], tmp_path: Path) -> None:
    process = subprocess.Popen(command(drives, tmp_path, "--workers", "2"), cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None and not any(tmp_path.rglob("*.png")):
        time.sleep(0.001)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while any(is_running(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(is_running(worker) for worker in workers)
    assert not all((tmp_path / drive.stem / "ingest.json").exists() for drive in drives)


def children(process: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{process}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found += map(int, (thread / "children").read_text().split())
    return found


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_that_dies_costs_only_its_recording(drives: list[Path], tmp_path: Path) -> None:
    """Killed from outside, as by a system that is out of memory."""
    process = subprocess.Popen(
        command(drives, tmp_path, "--workers", "2"), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    victim, folder = None, tmp_path / "drive-0"
    while victim is None and process.poll() is None:
        for child in children(process.pid):
            if (folder / "colour").exists() and has_open(child, folder / ".ingest" / "lock"):
                victim = child
                os.kill(child, signal.SIGKILL)
    output, errors = process.communicate()
    assert victim is not None
    assert process.returncode == 1
    assert f"The process that ingested {drives[0]} ended with code -9" in errors
    assert "drive-1: " in output
    assert (tmp_path / "drive-1" / "ingest.json").exists()


def has_open(process: int, path: Path) -> bool:
    try:
        return any(link.resolve() == path for link in Path(f"/proc/{process}/fd").iterdir())
    except (FileNotFoundError, PermissionError):
        return False


def test_rows_survive_a_cut_at_any_byte(tmp_path: Path) -> None:
    """Whatever part of the last rows reached the disk: the messages before the last whole one are kept."""
    names = Names(tmp_path / "names")
    spool = Spool(tmp_path / "whole", [("label", "<i4")], names)
    for index in range(4):
        spool.append([(index, 10 * index, 20 * index, True, "frame", f"{index}-{part}") for part in range(2)])
    names.close()
    spool.close()
    data, size = (tmp_path / "whole").read_bytes(), spool.dtype.itemsize
    for cut in range(len(data) + 1):
        (tmp_path / "cut").write_bytes(data[:cut])
        opened = Names(tmp_path / "names")
        again = Spool(tmp_path / "cut", [("label", "<i4")], opened)
        whole = cut // size
        assert again.next_index == max((whole - 1) // 2, 0)
        assert len(again) == 2 * again.next_index
        assert again.take(np.arange(len(again))).tobytes() == data[: len(again) * size]
        assert [opened[number] for number in again.column("label").tolist()] == [
            f"{index}-{part}" for index in range(again.next_index) for part in range(2)
        ]
        again.close()
        opened.close()


def test_names_survive_a_cut_at_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "names"
    names = Names(path)
    assert [names.number(name) for name in ("base", "líne\nbreak", "base", "")] == [0, 1, 0, 2]
    names.close()
    data = path.read_bytes()
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        opened = Names(path)
        known = data[:cut].count(b"\n")
        assert opened.number("new") == known
        assert [opened[k] for k in range(known)] == ["base", "líne\nbreak", ""][:known]
        opened.close()


def test_nothing_in_the_results_depends_on_when_or_where_they_were_written(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    manifest = json.loads(undisturbed["drive-0/ingest.json"])
    assert str(tmp_path.parent) not in json.dumps({k: v for k, v in manifest.items() if k != "topics"})
    assert sorted(manifest) == [
        "format",
        "left_out",
        "merged_imu",
        "parameters",
        "problems",
        "recording",
        "table",
        "topics",
    ]
