"""`mayhem prune` stopped at any moment and started again ends with the bytes of an undisturbed run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from recordings_pruning_drives import FRAMES, compressed, document, drive, picture, prune, raw, rows
from recordings_writing import jpeg_bytes, write

from mayhem_train.recordings import exclusive
from mayhem_train.recordings.pruning import pruning
from mayhem_train.recordings.pruning.journal import Journal
from mayhem_train.recordings.pruning.kept_frames import write_kept_frames


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def command(recordings: Sequence[Path], folder: Path, *options: object) -> list[str]:
    arguments = ["prune", *recordings, "--out", folder / "kept.json", "--export", folder / "images", *options]
    return [sys.executable, "-m", "mayhem_train.cli", *map(str, arguments)]


def jpeg_drives(folder: Path, count: int, frames: int = 100) -> list[Path]:
    """Pictures that take some milliseconds each to decode."""
    data = [jpeg_bytes(picture(index, 340, 620)) for index in range(50)]
    messages = [compressed(index, data[index % 50]) for index in range(frames)]
    return [write(folder, f"drive-{number}", "mcap", messages) for number in range(count)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Python that starts fast the second time, whatever the user's shell says."""
    variables = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("python"))}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return variables


def decided(folder: Path) -> int:
    """Bytes of audit rows on the disk."""
    return sum(path.stat().st_size for path in folder.glob(".kept.json.partial/*"))


def exported(folder: Path) -> int:
    """Whole images."""
    return len(list(folder.glob("images/drive-*")))


@pytest.mark.timeout(240)
def test_killed_at_twenty_random_moments_it_ends_with_the_same_bytes(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Two while it starts, eleven while it decides, one more while it starts again, six while it exports."""
    recordings, whole, folder = jpeg_drives(tmp_path, 2, 150), tmp_path / "undisturbed", tmp_path / "killed"
    subprocess.run(command(recordings, whole), check=True, stdout=subprocess.DEVNULL, env=environment)
    size, images = (whole / "kept.json").stat().st_size, exported(whole)
    moments = random.Random(7)
    conditions = [
        *([lambda: True] * 2),
        *(partial(has_decided, folder, round(size * moment)) for moment in sorted_moments(moments, 11)),
        lambda: True,
        *(partial(has_exported, folder, round(images * moment)) for moment in sorted_moments(moments, 6)),
    ]
    kills: list[tuple[int, int]] = []
    while len(kills) < len(conditions):
        condition = conditions[len(kills)]
        process = subprocess.Popen(
            command(recordings, folder), stdout=subprocess.DEVNULL, start_new_session=True, env=environment
        )
        if condition():
            time.sleep(moments.uniform(0, 0.5))
        while process.poll() is None and not condition():
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.004))
        if process.poll() is not None:
            # It was done before the kill, which then tells nothing: the moment is tried again on a run of its own.
            shutil.rmtree(folder)
            continue
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills.append((decided(folder), exported(folder)))
    assert len(set(kills)) > 15
    again = subprocess.run(command(recordings, folder), capture_output=True, text=True, check=True, env=environment)
    assert f"wrote {images - kills[-1][1]} images" in again.stdout
    assert tree(folder) == tree(whole)
    assert images > 60


def sorted_moments(moments: random.Random, count: int) -> list[float]:
    """Shares of the work after which to kill; the last tenth may be over before a kill strikes."""
    return sorted(moments.uniform(0.01, 0.9) for _ in range(count))


def has_decided(folder: Path, size: int) -> bool:
    return decided(folder) >= size


def has_exported(folder: Path, count: int) -> bool:
    return exported(folder) >= count


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return drive(tmp_path)


@pytest.fixture
def undisturbed(tmp_path: Path, recording: Path) -> bytes:
    assert prune(recording, "--out", tmp_path / "undisturbed.json") == 0
    return (tmp_path / "undisturbed.json").read_bytes()


@pytest.fixture
def stopped(tmp_path: Path, recording: Path, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The journal by a run that was stopped when every row was decided, but kept.json not yet written."""
    with monkeypatch.context() as patches:
        patches.setattr(pruning, "write_kept_frames", interrupt)
        assert prune(recording, "--out", tmp_path / "kept.json") == 130
    return tmp_path / ".kept.json.partial" / "drive.jsonl"


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def resumed(capsys: pytest.CaptureFixture[str], recording: Path, *more: object) -> int:
    """How many frames of the stopped run are not decided again."""
    capsys.readouterr()
    assert prune(recording, *more, "--out", recording.parent / "kept.json") == 0
    output = capsys.readouterr().out
    return int(output.rpartition(" (")[2].split()[0]) if "by a run that was stopped" in output else 0


@pytest.mark.parametrize("cut", [0.0, 0.001, 0.2, 0.5, 0.73, 0.99, 1.0])
def test_half_a_line_is_dropped_and_whole_ones_are_not_done_again(
    recording: Path, stopped: Path, undisturbed: bytes, cut: float, capsys: pytest.CaptureFixture[str]
) -> None:
    content = stopped.read_bytes()
    content = content[: round(cut * len(content))]
    stopped.write_bytes(content)
    assert resumed(capsys, recording) == max(0, content.count(b"\n") - 1)
    assert (recording.parent / "kept.json").read_bytes() == undisturbed
    assert not stopped.parent.exists()


def test_a_cut_at_any_byte_of_a_row_is_mended(tmp_path: Path) -> None:
    made_with = {"limit": 0.7}
    assert prune(drive(tmp_path, frames=3), "--out", tmp_path / "kept.json") == 0
    audit = [pruning.AuditRow.from_json(row) for row in rows(tmp_path / "kept.json")]
    path = tmp_path / "journal"
    with Journal(path, made_with) as journal:
        for row in audit:
            journal.append(row)
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        with Journal(path, made_with) as journal:
            assert journal.rows == audit[: max(0, whole[:size].count(b"\n") - 1)]
            for row in audit[len(journal.rows) :]:
                journal.append(row)
        assert path.read_bytes() == whole


@pytest.mark.parametrize("tail", [b"\0" * 4096, b'{"name": 1}\n', b"null\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n"])
def test_what_a_power_cut_leaves_is_dropped(
    recording: Path, stopped: Path, undisturbed: bytes, tail: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = stopped.read_bytes().splitlines(keepends=True)
    stopped.write_bytes(b"".join([*lines[:11], tail, *lines[13:]]))
    assert resumed(capsys, recording) == 10
    assert (recording.parent / "kept.json").read_bytes() == undisturbed


def test_rows_are_taken_from_the_stopped_run_only_with_the_same_settings(
    recording: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stopped.exists()
    assert resumed(capsys, recording, "--limit", 0.9) == 0
    assert prune(recording, "--out", recording.parent / "other.json", "--limit", 0.9) == 0
    assert (recording.parent / "kept.json").read_bytes() == (recording.parent / "other.json").read_bytes()


def test_a_recording_that_changed_meanwhile_is_read_anew(
    tmp_path: Path, recording: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stopped.exists()
    (file,) = recording.glob("*.mcap")
    other = write(tmp_path / "b", "drive", "mcap", [raw(i, picture(2 * i)) for i in range(FRAMES)])
    (changed,) = other.glob("*.mcap")
    assert file.stat().st_size == changed.stat().st_size
    file.write_bytes(changed.read_bytes())
    assert resumed(capsys, recording) == 0
    assert prune(other, "--out", tmp_path / "other.json") == 0
    assert (tmp_path / "kept.json").read_bytes() == (tmp_path / "other.json").read_bytes()


def test_a_forced_run_goes_on_too(recording: Path, stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recording.parent / "kept.json").write_text("{}")
    assert stopped.exists()
    assert resumed(capsys, recording, "--force") == FRAMES


def test_only_unfinished_recordings_are_read_after_another_was_added(
    tmp_path: Path, recording: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stopped.exists()
    assert resumed(capsys, recording, drive(tmp_path, "two", frames=5)) == FRAMES
    assert len(rows(tmp_path / "kept.json")) == FRAMES + 5


def test_a_finished_file_is_left_and_another_is_not_replaced_without_force(
    tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "kept.json"
    assert prune(recording, "--out", out) == 0
    inode, content = out.stat().st_ino, out.read_bytes()
    capsys.readouterr()
    assert prune(recording, "--out", out) == 0
    assert f"{out} is already there" in capsys.readouterr().out
    for options in (("--limit", 0.9), ("--every", 2), ("--distro", "jazzy")):
        assert prune(recording, "--out", out, *options) == 2
        assert f"{out} exists already and was not made from these recordings" in capsys.readouterr().err
    assert (out.stat().st_ino, out.read_bytes()) == (inode, content)
    assert prune(recording, "--out", out, "--limit", 0.9, "--force") == 0
    assert document(out)["limit"] == 0.9


@pytest.mark.parametrize("content", ["", "{}", "my notes", '{"limit": 0.7}'])
def test_a_file_of_another_kind_is_not_replaced_without_force(tmp_path: Path, recording: Path, content: str) -> None:
    (tmp_path / "kept.json").write_text(content)
    assert prune(recording, "--out", tmp_path / "kept.json") == 2
    assert (tmp_path / "kept.json").read_text() == content
    assert prune(recording, "--out", tmp_path / "kept.json", "--force") == 0
    assert len(rows(tmp_path / "kept.json")) == FRAMES


def test_a_finished_file_of_a_recording_that_changed_since_is_refused(tmp_path: Path, recording: Path) -> None:
    assert prune(recording, "--out", tmp_path / "kept.json") == 0
    (file,) = recording.glob("*.mcap")
    later = (tmp_path / "kept.json").stat().st_mtime_ns + 1
    os.utime(file, ns=(later, later))
    assert prune(recording, "--out", tmp_path / "kept.json") == 2
    assert prune(recording, "--out", tmp_path / "kept.json", "--force") == 0


def test_a_recording_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = recording.glob("*.mcap")
    append = Journal.append

    def append_and_touch(self: Journal, row: Any) -> None:
        append(self, row)
        os.utime(file, ns=(1, row.index))

    with monkeypatch.context() as patches:
        patches.setattr(Journal, "append", append_and_touch)
        assert prune(recording, "--out", tmp_path / "kept.json") == 1
    assert f"{recording} changed while it was read: run again" in capsys.readouterr().err
    assert not (tmp_path / "kept.json").exists()
    assert resumed(capsys, recording) == 0


def started(
    environment: dict[str, str], folder: Path, recordings: Sequence[Path], *options: object
) -> subprocess.Popen[str]:
    """A command that leads a group of processes."""
    return subprocess.Popen(
        command(recordings, folder, *options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored where tests run behind
    )


def running(
    environment: dict[str, str], folder: Path, recordings: Sequence[Path], *options: object
) -> subprocess.Popen[str]:
    """A command that has begun to decide."""
    process = started(environment, folder, recordings, *options)
    while process.poll() is None and decided(folder) < 5_000:
        time.sleep(0.002)
    assert process.poll() is None
    return process


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def members(group: int) -> list[str]:
    """The processes of a group that still run; a dead one that nobody has waited for counts as gone."""
    found = subprocess.run(["ps", "-ww", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=2) for line in found.splitlines()]
    return [line[2] for line in lines if int(line[0]) == group and not line[1].startswith("Z")]


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_leaves_what_the_next_run_goes_on_from(
    tmp_path: Path, environment: dict[str, str], workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings, options = jpeg_drives(tmp_path, workers), ("--workers", workers)
    process = running(environment, tmp_path / "out", recordings, *options)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate()[1] == "mayhem prune: interrupted\n"
    assert process.returncode == 130
    wait_until(lambda: members(process.pid) == [])
    assert prune(*recordings, "--out", tmp_path / "out" / "kept.json", *options) == 0
    assert "frames decided by a run that was stopped" in capsys.readouterr().out
    assert prune(*recordings, "--out", tmp_path / "undisturbed.json") == 0
    assert (tmp_path / "out" / "kept.json").read_bytes() == (tmp_path / "undisturbed.json").read_bytes()


def test_an_interrupted_command_ends_its_workers(tmp_path: Path, environment: dict[str, str]) -> None:
    process = running(environment, tmp_path / "out", jpeg_drives(tmp_path, 2), "--workers", 2)
    process.send_signal(signal.SIGINT)  # to itself only, as from another program
    assert process.communicate()[1] == "mayhem prune: interrupted\n"
    wait_until(lambda: members(process.pid) == [])


def test_workers_that_are_still_starting_end_without_a_word(tmp_path: Path, environment: dict[str, str]) -> None:
    process = started(environment, tmp_path / "out", jpeg_drives(tmp_path, 2), "--workers", 2)
    wait_until(lambda: sum("spawn_main" in member for member in members(process.pid)) == 2)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate()[1] == "mayhem prune: interrupted\n"
    wait_until(lambda: members(process.pid) == [])


def test_no_worker_outlives_a_killed_command(tmp_path: Path, environment: dict[str, str]) -> None:
    process = running(environment, tmp_path / "out", jpeg_drives(tmp_path, 3), "--workers", 2)
    assert len(members(process.pid)) >= 3
    process.kill()
    process.communicate()
    wait_until(lambda: members(process.pid) == [])


def test_a_killed_worker_is_named(tmp_path: Path, environment: dict[str, str]) -> None:
    process = running(environment, tmp_path / "out", jpeg_drives(tmp_path, 2, 600), "--workers", 2)
    worker = subprocess.run(
        ["pgrep", "-f", "spawn_main", "-g", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()[-1]
    os.kill(int(worker), signal.SIGKILL)
    assert "A worker process was killed" in process.communicate()[1]
    assert process.returncode == 1


def test_two_commands_do_not_write_the_same_file(
    tmp_path: Path, recording: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mayhem_train.recordings.pruning.journal._PATIENCE_S", 0.2)
    head = stopped.read_bytes()
    with Journal(stopped, {"another": "run"}):
        assert prune(recording, "--out", tmp_path / "kept.json") == 1
    assert f"Another `mayhem prune` is writing {stopped}" in capsys.readouterr().err
    assert stopped.read_bytes() != head


def test_of_several_prunes_with_one_output_one_works_and_the_others_find_it_there(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    recordings, folder, whole = jpeg_drives(tmp_path, 2, 40), tmp_path / "out", tmp_path / "whole"
    processes = [
        subprocess.Popen(
            command(recordings, folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(3)
    ]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert all(line.startswith("Waiting for another process") for _, error in outputs for line in error.splitlines())
    there = sorted(f"{folder / 'kept.json'} is already there" in output for output, _ in outputs)
    assert there == [False, True, True]
    counts = [int(output.rpartition("wrote ")[2].partition(" images")[0]) for output, _ in outputs]
    subprocess.run(command(recordings, whole), check=True, stdout=subprocess.DEVNULL, env=environment)
    assert sum(counts) == exported(whole)
    assert tree(folder) == tree(whole)


def test_a_prune_waits_for_another_and_says_so(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exclusive, "_SILENT_FOR", 0.0)
    out = tmp_path / "kept.json"
    with exclusive.exclusive(tmp_path / ".kept.json.partial" / "lock", "tests"), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(prune, recording, "--out", out)
        said = ""
        while not said:
            said = capsys.readouterr().err
            assert not waiting.done()
            time.sleep(0.01)
        assert said == f"Waiting for another process that prunes to {out}.\n"
        shutil.copy(recording / "drive.mcap", tmp_path / "other.mcap")
        assert prune(tmp_path / "other.mcap", "--out", tmp_path / "other.json") == 0  # for which nobody has to wait
        other = (tmp_path / "other.json").read_text().replace("other", "drive")
        out.write_text(other)  # what the other one is about to write
        (tmp_path / ".kept.json.partial" / "lock").unlink()
    assert waiting.result() == 0
    assert f"{out} is already there" in capsys.readouterr().out
    assert tree(tmp_path).keys() >= {"kept.json", "other.json"}
    assert not (tmp_path / ".kept.json.partial").exists()


@pytest.mark.parametrize(("share", "what"), [(0.5, "beside"), (0.999, "kept.json"), (1.05, "drive-000000.png")])
def test_a_full_disk_ends_it_and_more_room_lets_it_go_on(
    tmp_path: Path, recording: Path, undisturbed: bytes, share: float, what: str
) -> None:
    """No file may grow beyond a share of kept.json's size; the journal is a bit smaller, an image larger."""
    limit = round(share * len(undisturbed))
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "from mayhem_train.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command([recording], tmp_path / "out")[3:]], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("mayhem prune: Cannot write ")
    assert done.stderr.count("\n") == 1
    assert what in done.stderr
    assert "File too large" in done.stderr
    assert "images" not in "".join(tree(tmp_path / "out"))
    assert prune(recording, "--out", tmp_path / "out" / "kept.json", "--export", tmp_path / "out" / "images") == 0
    assert (tmp_path / "out" / "kept.json").read_bytes() == undisturbed
    assert len(tree(tmp_path / "out")) == 1 + len(document(tmp_path / "out" / "kept.json")["kept"])


def test_an_output_that_cannot_be_written_is_refused_before_any_frame_is_read(
    tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pruning, "select_frames", interrupt)
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "kept.json", Path("/proc/kept.json")):
        assert prune(recording, "--out", place) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"mayhem prune: Cannot write beside {place} (")
        assert error.count("\n") == 1


def test_images_that_cannot_be_written_leave_a_whole_kept_file(
    tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune(recording, "--out", tmp_path / "kept.json", "--export", "/proc/images") == 1
    assert "Cannot write /proc/images/drive-000000.png" in capsys.readouterr().err
    assert len(rows(tmp_path / "kept.json")) == FRAMES


def test_the_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_kept_frames(tmp_path / "kept.json", {"limit": float("nan")}, [], force=False)
    assert list(tmp_path.iterdir()) == []
