"""zstd around a recording or its messages changes nothing of what is read."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import zstandard
from recordings_writing import COLOUR, ROS2, START_NS, colour_pixels, drive, image, in_time_order, write
from rosbags.rosbag2 import Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode, StoragePlugin

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.cache import cache_folder
from mayhem_train.recordings.recording import Recording, find_recordings

MESSAGES = drive(10)
PLUGINS = {"mcap": StoragePlugin.MCAP, "db3": StoragePlugin.SQLITE3}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAYHEM_CACHE", str(tmp_path / "cache"))


def archived(folder: Path, form: str, suffix: str = ".zst", name: str = "drive") -> Path:
    """A bare recording inside an archive, with nothing beside it."""
    source = folder / "source"
    source.mkdir(exist_ok=True)
    path = write(source, name, form, MESSAGES)
    file = path if path.is_file() else next(p for p in path.iterdir() if p.suffix != ".yaml")
    archive = folder / f"{name}{file.suffix}{suffix}"
    archive.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(file.read_bytes()))
    shutil.rmtree(source)
    return archive


def compressed_folder(folder: Path, form: str, mode: CompressionMode) -> Path:
    """What `ros2 bag record --compression-mode` writes."""
    writer = Writer(folder / "drive", version=9, storage_plugin=PLUGINS[form])
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        kinds = {message.topic: message.type for message in MESSAGES}
        connections = {topic: writer.add_connection(topic, kind, typestore=ROS2) for topic, kind in kinds.items()}
        for message in MESSAGES:
            writer.write(connections[message.topic], message.log_time_ns, message.cdr)
    return folder / "drive"


def assert_whole(path: Path) -> None:
    """That every message is the one that was written, one after the other and picked out alone."""
    with Recording(path) as recording:
        assert recording.stem == "drive"
        assert recording.problems == ()
        assert "zstd" in recording.compression
        for topic in {message.topic for message in MESSAGES}:
            written = in_time_order(MESSAGES, topic)
            assert [(m.log_time_ns, m.cdr) for m in recording.messages([topic])] == [
                (m.log_time_ns, m.cdr) for m in written
            ]
        frames = in_time_order(MESSAGES, COLOUR)
        assert [f.stamp_ns for f in recording.frames(COLOUR)] == [m.log_time_ns - 5_000_000 for m in frames]
        for index in (7, 2):
            assert recording.frame(COLOUR, index).stamp_ns == frames[index].log_time_ns - 5_000_000
            assert np.array_equal(recording.read_image(COLOUR, index).ravel(), frames[index].make(ROS2).data)


@pytest.mark.parametrize("suffix", [".zst", ".zstd"])
@pytest.mark.parametrize("form", ["mcap", "mcap-lz4", "mcap-unindexed", "db3", "bag", "bag-bz2"])
def test_an_archive_of_a_recording_is_that_recording(tmp_path: Path, form: str, suffix: str) -> None:
    archive = archived(tmp_path, form, suffix)
    assert_whole(archive)
    with Recording(archive) as recording:
        assert recording.size == archive.stat().st_size
    assert find_recordings(tmp_path) == {"drive": archive}


@pytest.mark.parametrize("form", ["mcap", "db3"])
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_what_rosbag2_compressed_is_read_with_and_without_metadata(
    tmp_path: Path, form: str, mode: CompressionMode
) -> None:
    path = compressed_folder(tmp_path, form, mode)
    assert_whole(path)
    assert find_recordings(tmp_path) == {"drive": path}
    (file,) = (p for p in path.iterdir() if p.suffix != ".yaml")
    assert (file.suffix == ".zstd") == (mode is CompressionMode.FILE)
    bare = tmp_path / "elsewhere" / file.name
    bare.parent.mkdir()
    shutil.copy(file, bare)
    assert_whole(bare)
    (path / "metadata.yaml").unlink()
    with Recording(path) as recording:
        assert recording.problems == (f"{path} has no metadata.yaml: its files were opened as they are ({file.name}).",)
        assert len(list(recording.messages())) == len(MESSAGES)
    assert find_recordings(tmp_path / "drive") == {"drive": path}


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.NONE])
def test_files_packed_or_unpacked_after_metadata_was_written_are_found(tmp_path: Path, mode: CompressionMode) -> None:
    path = compressed_folder(tmp_path, "mcap", mode)
    (file,) = (p for p in path.iterdir() if p.suffix != ".yaml")
    data = file.read_bytes()
    file.unlink()
    if mode is CompressionMode.FILE:  # as `ros2 bag play` leaves it
        file.with_suffix("").write_bytes(zstandard.ZstdDecompressor().stream_reader(data).readall())
    else:
        file.with_name(f"{file.name}.zst").write_bytes(zstandard.compress(data))
    with Recording(path) as recording:
        assert recording.problems == ()
        assert len(list(recording.messages())) == len(MESSAGES)


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    archive = archived(tmp_path, "mcap")
    assert_whole(archive)
    (data,) = (cache_folder() / "unpacked").glob("*/*/data")
    before = data.stat()
    assert_whole(archive)
    assert (data.stat().st_ino, data.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_archive_at_the_same_path_is_another_recording(tmp_path: Path) -> None:
    archive = archived(tmp_path, "mcap")
    with Recording(archive) as recording:
        assert np.array_equal(recording.read_image(COLOUR, 0), colour_pixels(0))
    other = write(tmp_path, "other", "mcap", [image(COLOUR, START_NS, START_NS, colour_pixels(77), "rgb8")])
    archive.write_bytes(zstandard.compress((other / "other.mcap").read_bytes()))
    with Recording(archive) as recording:
        assert np.array_equal(recording.read_image(COLOUR, 0), colour_pixels(77))
    assert len(list((cache_folder() / "unpacked").glob("*/*/data"))) == 1  # the older version is gone


def test_the_cache_may_be_removed_at_any_time(tmp_path: Path) -> None:
    archive = archived(tmp_path, "db3")
    with Recording(archive) as recording:
        recording.read_image(COLOUR, 0)
        shutil.rmtree(cache_folder())
        recording.close()
        assert np.array_equal(recording.read_image(COLOUR, 3), colour_pixels(3))
    shutil.rmtree(cache_folder())
    assert_whole(archive)


def test_what_an_interrupted_unpacking_left_is_cleared_away(tmp_path: Path) -> None:
    archive = archived(tmp_path, "mcap")
    assert_whole(archive)
    (folder,) = (cache_folder() / "unpacked").glob("*/*/")
    partial = folder.rename(folder.parent / ".partial-killed")
    (partial / "data").write_bytes(b"\x89MCAP0\r\nhalf")
    assert_whole(archive)
    assert not partial.exists()


def test_several_processes_unpack_an_archive_at_once(tmp_path: Path) -> None:
    archive = archived(tmp_path, "bag")
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        counts = pool.map(_count_messages, [archive] * 8, chunksize=1)
    assert counts == [len(MESSAGES)] * 8
    assert len(list((cache_folder() / "unpacked").glob("*/*/data"))) == 1
    assert not list((cache_folder() / "unpacked").glob("*/.partial-*"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_from_an_archive_and_from_compressed_messages(tmp_path: Path, method: str) -> None:
    (tmp_path / "a").mkdir()
    recordings = [
        Recording(archived(tmp_path / "a", "db3")),
        Recording(compressed_folder(tmp_path, "mcap", CompressionMode.MESSAGE)),
    ]
    for recording in recordings:
        recording.read_image(COLOUR, 3)  # the parent's files are open before the workers start
    expected = [m.make(ROS2).data.tobytes() for m in in_time_order(MESSAGES, COLOUR)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        for recording in recordings:
            jobs = [(recording, index) for index in range(10)]
            assert pool.starmap(_image_bytes, jobs, chunksize=1) == expected


def test_archives_of_several_frames_are_read_to_the_end(tmp_path: Path) -> None:
    archive = archived(tmp_path, "mcap")
    data = zstandard.decompress(archive.read_bytes())
    skippable = b"\x50\x2a\x4d\x18\x05\x00\x00\x00hello"
    pieces = [zstandard.compress(data[at : at + 100_001]) for at in range(0, len(data), 100_001)]
    archive.write_bytes(skippable + skippable.join(pieces) + skippable)
    assert_whole(archive)


@pytest.mark.parametrize("form", ["mcap", "bag"])
def test_a_truncated_archive_gives_what_it_still_holds(tmp_path: Path, form: str) -> None:
    archive = archived(tmp_path, form)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size * 6 // 10])
    for _ in range(2):  # unpacked now, and unpacked before
        with Recording(archive) as recording:
            assert recording.problems[0] == f"{archive} is cut off: its start was unpacked."
            recovered = [(m.log_time_ns, m.cdr) for m in recording.messages()]
            assert f"{len(recovered)} messages" in recording.problems[1]
        assert 10 < len(recovered) < len(MESSAGES)
        assert sorted(recovered) == sorted((m.log_time_ns, m.cdr) for m in MESSAGES[: len(recovered)])


def test_flipped_bytes_in_an_archive_are_named_and_what_is_before_them_is_read(tmp_path: Path) -> None:
    archive = archived(tmp_path, "mcap")
    data = bytearray(archive.read_bytes())
    at = len(data) * 7 // 10
    data[at : at + 64] = bytes(64)
    archive.write_bytes(data)
    with Recording(archive) as recording:
        assert recording.problems[0].startswith(f"{archive} is damaged before its byte")
        assert np.array_equal(recording.read_image(COLOUR, 0), colour_pixels(0))


@pytest.mark.parametrize("content", [b"", b"notes of the day", b"\xff\xd8\xff\xe0 a picture"])
def test_an_archive_of_something_else_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "drive.mcap.zst"
    path.write_bytes(zstandard.compress(content))
    with pytest.raises(MayhemError, match=f"{path} is a zstd archive and (no recording|empty)"):
        Recording(path)
    assert not cache_folder().exists()


def test_a_full_disk_is_said_in_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    archive = archived(tmp_path, "mcap")
    with (
        _files_no_longer_than(100_000),
        pytest.raises(MayhemError, match=f"Cannot unpack {archive} into .*free the disk"),
    ):
        Recording(archive)
    assert not list((cache_folder() / "unpacked").glob("*/*/"))
    assert not list((cache_folder() / "unpacked").glob("*/.partial*"))
    assert_whole(archive)


def test_a_cache_that_cannot_be_written_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archived(tmp_path, "mcap")
    (tmp_path / "file").touch()
    monkeypatch.setenv("MAYHEM_CACHE", str(tmp_path / "file"))
    with pytest.raises(MayhemError, match=f"Cannot unpack {archive} into {tmp_path}/file/.*set MAYHEM_CACHE"):
        Recording(archive)


def test_a_damaged_compressed_message_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    path = compressed_folder(tmp_path, "mcap", CompressionMode.MESSAGE)
    file = path / "drive.mcap"
    data = file.read_bytes()
    starts = [at for at in range(len(data)) if data.startswith(b"\x28\xb5\x2f\xfd", at)]
    assert len(starts) == len(MESSAGES)
    damaged = bytearray(data)
    damaged[starts[0] + 4 : starts[0] + 40] = b"\xff" * 36  # the first colour image
    file.write_bytes(damaged)
    with Recording(path) as recording:
        with pytest.raises(
            MayhemError, match=f"Message 0 on {COLOUR} of {path} cannot be read: it does not decompress"
        ):
            recording.read_image(COLOUR, 0)
        assert np.array_equal(recording.read_image(COLOUR, 1), colour_pixels(1))


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAYHEM_CACHE", "/a")
    assert cache_folder() == Path("/a")
    monkeypatch.delenv("MAYHEM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/b/mayhem")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/c")
    assert cache_folder() == Path("/c/.cache/mayhem")


@contextmanager
def _files_no_longer_than(size: int) -> Iterator[None]:
    """Makes writing fail there as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _image_bytes(recording: Recording, index: int) -> bytes:
    return recording.read_image(COLOUR, index).tobytes()


def _count_messages(path: Path) -> int:
    assert "MAYHEM_CACHE" in os.environ
    with Recording(path) as recording:
        return len(list(recording.messages()))
