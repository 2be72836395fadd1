"""What archives may take of the cache folder and of the disk: a limit, the longest unused out, and no bomb stays."""

from __future__ import annotations

import bz2
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import lz4.frame
import numpy as np
import pytest
import zstandard
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from recordings_writing import COLOUR, ROS2, START_NS, image, write

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.cli import main
from mayhem_train.recordings import unpacking
from mayhem_train.recordings.cache import cache_folder
from mayhem_train.recordings.recording import Recording
from mayhem_train.recordings.storages import decompression
from mayhem_train.recordings.storages.decompression import decompress_chunk
from mayhem_train.recordings.unpacking import LIMIT, open_plain
from mayhem_train.recordings.zstd import decompress_message

MCAP = b"\x89MCAP0\r\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAYHEM_CACHE", str(tmp_path / "cache"))


def archive(folder: Path, name: str, form: str = "mcap") -> Path:
    """An archive of a recording of 1 MB."""
    pixels = np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)
    path = write(folder / "source", name, form, [image(COLOUR, START_NS, START_NS, pixels, "rgb8")])
    file = next(part for part in path.iterdir() if part.suffix != ".yaml")
    packed = folder / f"{file.name}.zst"
    packed.write_bytes(zstandard.compress(file.read_bytes()))
    return packed


def bomb(path: Path, head: bytes, size: int, *, announced: bool = True) -> Path:
    """`head` and zeros, a ten-thousandth of their size."""
    compressor = zstandard.ZstdCompressor(write_content_size=announced)
    path.write_bytes(compressor.compress(head + bytes(size)))
    return path


def unpacked() -> list[str]:
    return sorted(path.parent.parent.name.partition(".")[0] for path in (cache_folder() / "unpacked").glob("*/*/data"))


def opened(path: Path) -> int:
    with Recording(path) as recording:
        recording.read_image(COLOUR, 0)  # which no index replaces
        return recording.topics[0].count


@pytest.fixture
def _three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three archives of which the cache holds two; the first was used last."""
    (tmp_path / "source").mkdir()
    monkeypatch.setenv(LIMIT, "0.0025")
    paths = [archive(tmp_path, name) for name in ("a", "b", "c")]
    for path in (paths[0], paths[1], paths[0]):
        assert opened(path) == 1
    for age, name in ((20, "b"), (10, "a")):
        (note,) = (cache_folder() / "unpacked").glob(f"{name}.mcap*/*/problem")
        os.utime(note, (note.stat().st_mtime - age,) * 2)
    return paths


def test_the_longest_unused_goes_first(_three: list[Path]) -> None:
    assert opened(_three[2]) == 1
    assert unpacked() == ["a", "c"]


@pytest.mark.parametrize("form", ["mcap", "db3"])
def test_what_a_process_has_open_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    (tmp_path / "source").mkdir()
    monkeypatch.setenv(LIMIT, "0.0025")
    first, second, third = (archive(tmp_path, name, form) for name in ("a", "b", "c"))
    with Recording(first) as recording:
        recording.read_image(COLOUR, 0)
        assert [opened(second), opened(third)] == [1, 1]
        assert unpacked() == ["a", "c"]
    assert opened(second) == 1
    assert unpacked() == ["b", "c"]


def test_what_another_process_has_open_stays(_three: list[Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from mayhem_train.recordings.unpacking import open_plain; "
        "open_plain(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(_three[1])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        (note,) = (cache_folder() / "unpacked").glob("b.mcap*/*/problem")
        os.utime(note, (0, 0))
        assert opened(_three[2]) == 1
        assert unpacked() == ["b", "c"]
        reader.communicate("")


def test_what_a_killed_process_left_goes_too(_three: list[Path]) -> None:
    (folder,) = (cache_folder() / "unpacked").glob("b.mcap*/*/")
    partial = folder.rename(folder.with_name(".partial-x"))
    (partial / "problem").unlink()
    os.utime(partial, (0, 0))
    assert opened(_three[2]) == 1
    assert not partial.exists()


def test_a_removed_one_is_unpacked_again_by_those_that_hold_the_recording(_three: list[Path]) -> None:
    with Recording(_three[0]) as recording:
        recording.close()
        shutil.rmtree(cache_folder() / "unpacked")
        assert recording.read_image(COLOUR, 0).shape == (600, 600, 3)


@pytest.mark.parametrize("announced", [True, False])
def test_what_is_larger_than_the_limit_is_refused_and_nothing_is_removed_for_it(
    tmp_path: Path, _three: list[Path], monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    monkeypatch.setattr(unpacking, "_AT_A_TIME", 2**20)
    monkeypatch.setattr("mayhem_train.recordings.zstd._PIECE", 16)
    path = bomb(tmp_path / "large.mcap.zst", MCAP, 2**24, announced=announced)
    with pytest.raises(MayhemError) as error:
        Recording(path)
    assert str(error.value).startswith(
        f"{path} ({path.stat().st_size} B) holds {'16.8' if announced else '3.4'} MB or more, "
    )
    assert f"and 2.5 MB at most may lie unpacked in {cache_folder()}/unpacked: set {LIMIT} to more" in str(error.value)
    assert unpacked() == (["a", "b"] if announced else [])


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize("announced", [True, False])
def test_unpacking_stops_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    free = 1_010_000_000  # of which a thousand MB are to be left
    written: list[int] = []

    def usage(place: Path) -> _Usage:
        there = sum(path.stat().st_size for path in place.glob("*/.partial-*/data"))
        written.append(there)
        return _Usage(10**12, 0, free - there)

    monkeypatch.setattr(unpacking, "_AT_A_TIME", 2**20)
    monkeypatch.setattr("mayhem_train.recordings.zstd._PIECE", 16)
    monkeypatch.setattr(unpacking.shutil, "disk_usage", usage)
    path = bomb(tmp_path / "large.mcap.zst", MCAP, 2**25, announced=announced)
    with pytest.raises(MayhemError, match=r"holds .* MB or more, and less than 1.0 GB would be left on the disk of"):
        Recording(path)
    assert (max(written) == 0) == announced
    assert max(written) < 10_000_000
    assert unpacked() == []
    assert not list((cache_folder() / "unpacked").glob("*/.partial-*"))


@pytest.mark.parametrize("head", [MCAP, b"#ROSBAG V2.0\n", b"SQLite format 3\0"])
def test_what_holds_no_messages_does_not_stay(tmp_path: Path, head: bytes) -> None:
    path = bomb(tmp_path / "empty.zst", head, 2**22)
    for _ in range(2):
        with pytest.raises(MayhemError):
            Recording(path)
        assert unpacked() == []


def test_far_beyond_its_size_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_LARGE", 2**20)
    (tmp_path / "source").mkdir()
    whole = archive(tmp_path, "drive")
    data = zstandard.decompress(whole.read_bytes())
    whole.write_bytes(zstandard.compress(data[:2000] + bytes(2**24)))
    os.close(open_plain(whole)[0])
    (note,) = (cache_folder() / "unpacked").glob("*/*/problem")
    assert note.read_text().endswith(" holds 16.8 MB, far beyond what recordings shrink by.")


@pytest.mark.parametrize("said", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_a_wrong_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    (tmp_path / "source").mkdir()
    monkeypatch.setenv(LIMIT, said)
    with pytest.raises(UsageError, match=f"{LIMIT} is '{said}', which is no number of gigabytes"):
        Recording(archive(tmp_path, "drive"))


def test_help_says_where_the_cache_is_and_how_large_it_grows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    assert "MAYHEM_CACHE " in told
    assert "MAYHEM_CACHE_GB " in told


PACKED = {"zstd": zstandard.compress, "lz4": lz4.frame.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("compression", PACKED)
def test_a_chunk_gives_no_more_than_its_record_says(compression: str) -> None:
    content, damage = decompress_chunk(compression, PACKED[compression](bytes(2**24)), 1000)
    assert content == bytes(1000)
    assert damage == "it holds more than 1000 bytes"


@pytest.mark.parametrize("compression", PACKED)
def test_a_chunk_gives_no_more_than_any_chunk_has(compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompression, "LARGEST_CHUNK", 2**20)
    content, damage = decompress_chunk(compression, PACKED[compression](bytes(2**24)), 2**62)
    assert content == bytes(2**20)
    assert damage == f"it holds more than {2**20} bytes"


@pytest.mark.parametrize("compression", PACKED)
def test_a_whole_chunk_of_any_announced_size_is_whole(compression: str) -> None:
    data = bytes(range(256)) * 1000
    assert decompress_chunk(compression, PACKED[compression](data), len(data)) == (data, "")
    if compression == "zstd":
        packed = zstandard.ZstdCompressor(write_content_size=False).compress(data)
        assert decompress_chunk("zstd", packed, len(data)) == (data, "")


def test_a_recording_of_a_lying_chunk_is_read_around_it(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    frame = image(COLOUR, START_NS, START_NS, np.zeros((60, 80, 3), np.uint8), "rgb8")
    with path.open("wb") as stream:
        writer = McapWriter(stream, compression=CompressionType.ZSTD)
        writer.start(profile="ros2")
        definition = ROS2.generate_msgdef(frame.type, ros_version=2)[0].encode()
        channel = writer.register_channel(COLOUR, "cdr", writer.register_schema(frame.type, "ros2msg", definition))
        writer.add_message(channel, START_NS, frame.cdr, START_NS)
        writer.finish()
    data = bytearray(path.read_bytes())
    chunk = data.index(b"\x04\0\0\0zstd") - 12  # behind the chunk's size come a checksum and the name's length
    size = int.from_bytes(data[chunk : chunk + 8], "little")
    data[chunk : chunk + 8] = (2**62).to_bytes(8, "little")
    path.write_bytes(data)
    with Recording(path) as recording:
        assert np.array_equal(recording.read_image(COLOUR, 0), np.zeros((60, 80, 3)))
        (problem,) = recording.problems
    assert f"it holds {size} bytes instead of {2**62}" in problem


@pytest.mark.parametrize("announced", [True, False])
def test_a_message_that_unpacks_beyond_measure_is_refused(announced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mayhem_train.recordings.zstd._LARGEST_MESSAGE", 2**20)
    packed = zstandard.ZstdCompressor(write_content_size=announced).compress(bytes(2**24))
    with pytest.raises(MayhemError, match=r"it does not decompress: it holds more than"):
        decompress_message(packed)
