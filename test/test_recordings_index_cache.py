"""What was once found out about a recording is not gathered again, and never taken for another recording's."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from recordings_writing import COLOUR, DEPTH, IMU, START_NS, colour_pixels, drive, image, imu, in_time_order, write

from mayhem_train.cli import main
from mayhem_train.recordings.cache import FileVersion, cache_folder
from mayhem_train.recordings.index_cache import load_content_hash, load_index, load_stamps, save_content_hash
from mayhem_train.recordings.recording import Recording

MESSAGES = drive(20)
FORMS = ["mcap", "mcap-zstd", "mcap-unindexed", "db3", "bag", "bag-bz2"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAYHEM_CACHE", str(tmp_path / "cache"))


def bare(tmp_path: Path, form: str, name: str = "drive") -> Path:
    """A bare file of that format."""
    (tmp_path / "source").mkdir(exist_ok=True)
    path = write(tmp_path / "source", name, form, MESSAGES)
    file = path if path.is_file() else next(p for p in path.iterdir() if p.suffix != ".yaml")
    return Path(shutil.move(file, tmp_path / file.name))


def everything(path: Path) -> list[object]:
    """All that a recording says of itself and all its messages, by streaming and by index."""
    with Recording(path) as recording:
        facts = [recording.topics, recording.start_ns, recording.end_ns, recording.compression, recording.problems]
        frames = [list(recording.frames(topic.name)) for topic in recording.topics]
        stamps = list(recording.stamps_ns([topic.name for topic in recording.topics]))
        picked = [recording.read_image(COLOUR, index).tobytes() for index in (3, 0)]
        return [*facts, frames, stamps, picked, list(recording.messages())]


@pytest.mark.parametrize("form", FORMS)
def test_the_second_opening_says_what_the_first_said(tmp_path: Path, form: str) -> None:
    path = bare(tmp_path, form)
    first = everything(path)
    version = FileVersion.of(path)
    index = load_index(path, version)
    assert index is not None
    assert len(index.entries) == len(MESSAGES)
    stamps = load_stamps(version, len(MESSAGES))
    assert stamps is not None
    colour = [m.log_time_ns - 5_000_000 for m in MESSAGES if m.topic == COLOUR]
    assert set(colour) <= set(stamps.tolist())
    assert everything(path) == first


@pytest.mark.parametrize("form", ["mcap-unindexed", "mcap", "bag", "db3"])
def test_a_truncated_recording_is_gone_through_once(tmp_path: Path, form: str) -> None:
    path = bare(tmp_path, form)
    os.truncate(path, path.stat().st_size * 7 // 10)
    first = everything(path)
    assert first[4], "the warning that it is cut off"
    before = _bytes_read()
    with Recording(path) as recording:
        assert recording.problems == first[4]
        frames = list(recording.frames(COLOUR))
        # Neither scanned again nor the stamps: what is read are the kept arrays, 40 bytes a message.
        assert _bytes_read() - before < 20_000 + 40 * len(MESSAGES)
    assert [frames] == [f for f in first[5] if f[0].topic == COLOUR]  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", ["mcap", "db3", "bag"])
def test_the_stamps_of_a_topic_are_read_once(tmp_path: Path, form: str) -> None:
    messages = [imu(START_NS + index * 10**7) for index in range(400)]
    path = write(tmp_path, "drive", form, messages)
    reads = []
    for _ in range(2):
        before = _system_calls_to_read()
        with Recording(path) as recording:
            assert [frame.stamp_ns for frame in recording.frames(IMU)] == [m.log_time_ns for m in messages]
        reads.append(_system_calls_to_read() - before)
    if form != "db3":  # SQLite has them in its cache
        assert reads[0] > 400
    assert reads[1] < 80


def test_the_kept_sentences_name_the_path_as_it_is_given_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bare(tmp_path, "bag")
    os.truncate(path, path.stat().st_size * 7 // 10)
    with Recording(path) as recording:
        (problem,) = recording.problems
    monkeypatch.chdir(tmp_path)
    with Recording(Path("drive.bag")) as recording:
        assert recording.problems == (problem.replace(str(path), "drive.bag"),)


def test_a_path_as_short_as_a_letter_is_kept_apart_from_the_letters_of_the_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bare(tmp_path, "bag").rename(tmp_path / "a")
    os.truncate(path, path.stat().st_size * 7 // 10)
    monkeypatch.chdir(tmp_path)
    with Recording(Path("a")) as recording:
        (problem,) = recording.problems
        assert problem.startswith("a has no whole index: ")
    with Recording(path) as recording:
        assert recording.problems == (f"{path}{problem[1:]}",)


def test_a_long_name_in_any_script_is_kept_too(tmp_path: Path) -> None:
    path = bare(tmp_path, "mcap").rename(tmp_path / f"{'仓库' * 40}.mcap")
    first = everything(path)
    assert len(list((cache_folder() / "indexes").iterdir())) == 2
    assert everything(path) == first


def test_frames_of_a_split_recording_keep_their_stamps(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    for part in range(2):
        messages = MESSAGES[part * 50 : part * 50 + 50]
        path = write(tmp_path, f"part{part}", "mcap", messages)
        shutil.move(path / f"part{part}.mcap", folder / f"drive_{part}.mcap")
    with Recording(folder) as recording:
        first = list(recording.frames(COLOUR))
        stamps = list(recording.stamps_ns([IMU, DEPTH]))
    with Recording(folder) as recording:
        assert list(recording.frames(COLOUR)) == first
        assert list(recording.stamps_ns([IMU, DEPTH])) == stamps
    expected = [m.log_time_ns - 5_000_000 for m in in_time_order(MESSAGES, COLOUR)]
    assert [frame.stamp_ns for frame in first] == expected


@pytest.mark.parametrize("same_times", [False, True])
def test_a_file_in_another_ones_place_is_indexed_anew(tmp_path: Path, same_times: bool) -> None:
    frames = [[image(COLOUR, START_NS + i, 10 * n + i, colour_pixels(n), "rgb8") for i in range(3)] for n in range(2)]
    paths = [write(tmp_path, f"drive{n}", "bag", frames[n]) for n in range(2)]
    assert paths[0].stat().st_size == paths[1].stat().st_size
    times = paths[0].stat().st_atime_ns, paths[0].stat().st_mtime_ns
    with Recording(paths[0]) as recording:
        assert [frame.stamp_ns for frame in recording.frames(COLOUR)] == [0, 1, 2]
    paths[1].replace(paths[0])
    if same_times:
        os.utime(paths[0], ns=times)
    with Recording(paths[0]) as recording:
        assert [frame.stamp_ns for frame in recording.frames(COLOUR)] == [10, 11, 12]
        assert np.array_equal(recording.read_image(COLOUR, 0), colour_pixels(1))


def test_a_recording_that_went_on_is_indexed_anew(tmp_path: Path) -> None:
    path = bare(tmp_path, "mcap-unindexed")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with Recording(path) as recording:
        half = sum(topic.count for topic in recording.topics)
    path.write_bytes(whole)
    with Recording(path) as recording:
        assert sum(topic.count for topic in recording.topics) == len(MESSAGES) > half


@pytest.mark.parametrize("kind", ["index", "stamps"])
@pytest.mark.parametrize("damage", ["empty", "cut off", "flipped", "another file", "pickle"])
def test_a_damaged_cache_is_silently_made_anew(
    tmp_path: Path, kind: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bare(tmp_path, "mcap")
    first = everything(path)
    other = bare(tmp_path, "mcap", "other")
    everything(other)
    (kept,) = (cache_folder() / "indexes").glob(f"drive.mcap-*.{kind}.npz")
    (foreign,) = (cache_folder() / "indexes").glob(f"other.mcap-*.{kind}.npz")
    data = kept.read_bytes()
    middle = len(data) * 3 // 4
    marker = tmp_path / "marker"
    damaged = {
        "empty": b"",
        "cut off": data[:middle],
        "flipped": data[:middle] + bytes(byte ^ 0xFF for byte in data[middle : middle + 8]) + data[middle + 8 :],
        "another file": foreign.read_bytes(),
        "pickle": pickle.dumps(_Touch(str(marker))),
    }[damage]
    kept.write_bytes(damaged)
    assert everything(path) == first
    assert capsys.readouterr().err == ""
    assert not marker.exists()
    assert kept.read_bytes() != damaged


def test_a_cache_that_cannot_be_written_costs_one_warning_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bare(tmp_path, "mcap")
    expected = everything(path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("MAYHEM_CACHE", str(tmp_path / "file"))
    assert [everything(path) for _ in range(2)] == [expected] * 2
    assert main(["inspect", str(path), str(path)]) == 0
    assert capsys.readouterr().err == (
        f"Warning: The indexes of recordings cannot be kept in {tmp_path / 'file'} (Not a directory): set MAYHEM_CACHE "
        "to a folder that can be written, or opening large recordings takes as long every time.\n"
    )


def test_several_processes_keep_the_same_recordings_index_at_once(tmp_path: Path) -> None:
    path = bare(tmp_path, "mcap")
    expected = everything(path)
    shutil.rmtree(cache_folder())
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(everything, [path] * 12, chunksize=1) == [expected] * 12
    assert sorted(p.name.rpartition("-")[2].partition(".")[2] for p in (cache_folder() / "indexes").iterdir()) == [
        "index.npz",
        "stamps.npz",
    ]


def test_messages_that_wait_in_a_log_beside_the_file_are_not_missed(tmp_path: Path) -> None:
    import apsw

    path = bare(tmp_path, "db3")
    database = apsw.Connection(str(path))
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA wal_autocheckpoint = 0")
    with Recording(path) as recording:
        before = sum(topic.count for topic in recording.topics)
    database.execute("INSERT INTO messages SELECT id + 1000, topic_id, timestamp, data FROM messages WHERE id <= 10")
    with Recording(path) as recording:
        assert sum(topic.count for topic in recording.topics) == before + 10
    database.close()


def test_a_content_hash_is_kept_with_the_version_it_belongs_to(tmp_path: Path) -> None:
    path = bare(tmp_path, "mcap")
    version = FileVersion.of(path)
    assert load_content_hash(version) is None
    save_content_hash(path, version, "ab" * 32)
    assert load_content_hash(version) == "ab" * 32
    path.write_bytes(path.read_bytes() + b"\0")
    assert load_content_hash(FileVersion.of(path)) is None
    save_content_hash(path, version, "cd" * 32)  # of a version that is no more
    assert load_content_hash(version) == "ab" * 32


class _Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def _bytes_read() -> int:
    return int(_input_and_output()["rchar"])


def _system_calls_to_read() -> int:
    return int(_input_and_output()["syscr"])


def _input_and_output() -> dict[str, str]:
    """What this process has read by system calls so far."""
    return dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
