"""Whatever is wrong with a recording is recovered with a warning, or said in one sentence that names the file."""

from __future__ import annotations

import bz2
import json
import multiprocessing
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import cv2
import lz4.frame
import numpy as np
import pytest
import zstandard
from mcap.exceptions import McapError
from mcap.reader import NonSeekingReader
from mcap.writer import IndexType
from mcap.writer import Writer as McapWriter
from recordings_writing import (
    COLOUR,
    DEPTH,
    IMU,
    ROS1,
    ROS2,
    START_NS,
    Written,
    colour_pixels,
    drive,
    image,
    in_time_order,
    jpeg,
    jpeg_bytes,
    write,
)

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.cli import main
from mayhem_train.recordings.recording import Recording, Topic, find_recordings

MESSAGES = drive(20)


def storage_file(path: Path) -> Path:
    return path if path.is_file() else next(p for p in path.iterdir() if p.suffix in (".mcap", ".db3"))


def bare(tmp_path: Path, form: str) -> Path:
    """A bare file of that format."""
    if form == "mcap-zstd-with-checksums":  # rosbags writes none
        return zstd_chunks(tmp_path / "drive.mcap")
    file = storage_file(write(tmp_path / "source", "drive", form, MESSAGES))
    return Path(shutil.copy(file, tmp_path / file.name))


def zstd_chunks(path: Path) -> Path:
    """An MCAP file whose chunks hold some 20 messages each."""
    with path.open("wb") as stream:
        writer = McapWriter(stream, chunk_size=2**18)
        writer.start(profile="ros2")
        channels: dict[str, int] = {}
        for message in MESSAGES:
            if message.topic not in channels:
                schema = writer.register_schema(message.type, "", b"")
                channels[message.topic] = writer.register_channel(message.topic, "cdr", schema)
            writer.add_message(channels[message.topic], message.log_time_ns, message.cdr, message.log_time_ns)
        writer.finish()
    return path


@pytest.fixture(autouse=True)
def _source_folder(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def lz4_frame(data: bytes) -> bytes:
    return bytes(lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=2**25))


START_OF: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "mcap-zstd": (b"\x28\xb5\x2f\xfd", zstd),
    "mcap-zstd-with-checksums": (b"\x28\xb5\x2f\xfd", zstd),
    "mcap-lz4": (b"\x04\x22\x4d\x18", lz4_frame),
    "bag-lz4": (b"\x04\x22\x4d\x18", lz4_frame),
    "bag-bz2": (b"BZh9", lambda data: bz2.BZ2Decompressor().decompress(data)),
}
"""How a compressed chunk's data begin, and what comes out of them, also if their end is missing."""


def recorded(message: Written, form: str) -> bytes:
    """The message's bytes as a recording of that format holds them."""
    ros1 = form.startswith("bag")
    return bytes(ROS1.serialize_ros1(message.make(ROS1), message.type)) if ros1 else message.cdr


def left_in(data: bytes, form: str) -> list[Written]:
    """The messages of which every byte is in `data` or comes out of it."""
    if form in START_OF:
        magic, decompress = START_OF[form]
        data = b"".join(decompress(magic + start) for start in data.split(magic)[1:])
    at, found = 0, []
    for message in MESSAGES:
        content = recorded(message, form)
        at = data.find(content, at)
        if at < 0:
            break
        at += len(content)
        found.append(message)
    return found


def refused(path: Path, capsys: pytest.CaptureFixture[str], exit_code: int = 1) -> str:
    """The one sentence with which a recording is refused, by the class and by the command alike."""
    with pytest.raises(MayhemError) as error:
        Recording(path)
    capsys.readouterr()
    assert main(["inspect", "--json", str(path)]) == exit_code
    output = capsys.readouterr()
    assert output.out == "[]\n"
    assert output.err == f"mayhem inspect: {error.value}\n"
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_missing_path_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(tmp_path / "nowhere.mcap", capsys).startswith("There is no recording at")


@pytest.mark.parametrize("name", ["drive.mcap", "drive.db3", "drive.bag"])
def test_an_empty_file_is_named(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).touch()
    assert "is empty" in refused(tmp_path / name, capsys)


@pytest.mark.parametrize("form", ["mcap", "mcap-lz4", "db3", "bag"])
def test_a_recording_without_messages_is_named(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "drive", form, [], [(COLOUR, "sensor_msgs/msg/Image")])
    assert "holds no messages" in refused(path, capsys)


@pytest.mark.parametrize("name", ["drive.mcap", "drive.db3", "drive.bag"])
def test_a_jpeg_with_a_recordings_suffix_is_named(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(jpeg_bytes(colour_pixels(0)))
    assert "is no recording" in refused(tmp_path / name, capsys)


def test_a_folder_without_a_recording_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "source" / "notes.txt").write_text("nothing")
    assert "holds no recording" in refused(tmp_path / "source", capsys)


def test_a_folder_of_several_recordings_is_not_taken_for_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bare(tmp_path, "mcap")
    (tmp_path / "two").mkdir()
    for name in ("drive.mcap", "other.mcap"):
        shutil.copy(file, tmp_path / "two" / name)
    assert "several recordings: name one of drive.mcap, other.mcap" in refused(tmp_path / "two", capsys)


def test_a_folder_with_recordings_in_folders_is_not_taken_for_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "drives"
    file = bare(tmp_path, "mcap")
    (folder / "week-1" / "south").mkdir(parents=True)
    shutil.copy(file, folder / "week-1" / "south" / "south.mcap")
    names = f"name them ({Path('week-1', 'south')})"
    assert names in refused(folder, capsys)
    shutil.copy(file, folder / "loose.mcap")
    assert names.replace("(", "(loose.mcap, ") in refused(folder, capsys)


def test_another_sqlite_database_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(tmp_path / "other.db3") as database:
        database.execute("CREATE TABLE people(name TEXT)")
    assert "no rosbag2 recording" in refused(tmp_path / "other.db3", capsys)


@pytest.mark.parametrize("form", ["mcap", "mcap-zstd", "mcap-lz4", "mcap-unindexed"])
@pytest.mark.parametrize("part", [0.01, 0.3, 0.8, 0.999])
def test_a_truncated_mcap_gives_all_its_whole_messages(
    tmp_path: Path, form: str, part: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bare(tmp_path, form)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    whole = left_in(path.read_bytes(), form)
    with path.open("rb") as stream, suppress(McapError, struct.error):  # mcap's own reader recovers whole chunks
        reader = NonSeekingReader(stream)
        for (_, _, message), expected in zip(reader.iter_messages(log_time_order=False), whole, strict=False):
            assert message.data == expected.cdr
    if part == 0.01:  # within the first message
        assert "holds no messages" in refused(path, capsys)
        return
    with Recording(path) as recording:
        recovered = sorted((m.log_time_ns, m.cdr) for m in recording.messages())
        assert f"{path} is cut off: {len(whole)} messages before the end could be recovered." in recording.problems
    assert recovered == sorted((m.log_time_ns, m.cdr) for m in whole)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", ["bag", "bag-bz2", "bag-lz4"])
@pytest.mark.parametrize("part", [0.5, 0.6, 0.9])
def test_a_truncated_bag_gives_all_its_whole_messages(tmp_path: Path, form: str, part: float) -> None:
    path = bare(tmp_path, form)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    whole = left_in(path.read_bytes(), form)
    assert len(MESSAGES) * (part - 0.25) < len(whole) < len(MESSAGES) * (part + 0.1)
    with Recording(path) as recording:
        recovered = [(m.log_time_ns, m.cdr) for m in recording.messages()]
        assert np.array_equal(recording.read_image(COLOUR, 0), colour_pixels(0))
        assert f"{path} has no whole index: {len(recovered)} messages could be recovered." in recording.problems
    assert sorted(recovered) == sorted((m.log_time_ns, m.cdr) for m in whole)


@pytest.mark.parametrize("form", ["mcap-zstd", "mcap-lz4", "bag-lz4"])
def test_any_message_in_a_compressed_chunk_that_is_cut_off_is_read_without_those_before_it(
    tmp_path: Path, form: str
) -> None:
    path = bare(tmp_path, form)
    first = path.read_bytes().index(START_OF[form][0])
    path.write_bytes(path.read_bytes()[: first + 110_000])  # within the first chunk
    with Recording(path) as recording:
        frames = in_time_order(left_in(path.read_bytes(), form), COLOUR)
        assert len(frames) > 3
        for index in reversed(range(len(frames))):
            with Recording(path) as opened:
                assert opened.read_image(COLOUR, index).tobytes() == frames[index].make(ROS2).data.tobytes()
        with pytest.raises(MayhemError, match=f"numbered 0 to {len(frames) - 1}"):
            recording.read_image(COLOUR, len(frames))


@pytest.mark.parametrize("form", ["bag", "bag-bz2"])
def test_a_bag_that_was_not_closed_is_read_whole(tmp_path: Path, form: str) -> None:
    path = bare(tmp_path, form)
    with Recording(path) as recording:
        closed = list(recording.messages())
    data = path.read_bytes()
    at = data.index(b"index_pos=") + len(b"index_pos=")
    path.write_bytes(data[:at] + bytes(8) + data[at + 8 :])
    with Recording(path) as recording:
        assert list(recording.messages()) == closed


@pytest.mark.parametrize("form", ["mcap", "mcap-zstd", "mcap-lz4", "mcap-unindexed"])
def test_a_flipped_byte_at_the_end_of_an_mcap_costs_no_message_and_is_named(tmp_path: Path, form: str) -> None:
    path = bare(tmp_path, form)
    data = path.read_bytes()
    written = [m.cdr for m in in_time_order(MESSAGES)]
    for at in range(len(data) - 8 - 29, len(data)):  # the footer and what ends the file
        for flip in (0x01, 0x02, 0x40, 0x80):
            path.write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
            with Recording(path) as recording:
                assert [m.cdr for m in recording.messages()] == written
                named = "last 8 bytes are" if at >= len(data) - 8 else "footer is"
                ends = [f"The end of {path} is damaged (its {named} not as MCAP has it)"]
                # Only `--verify` compares the summary's checksum.
                checksum = len(data) - 12 <= at < len(data) - 8
                assert [p.partition(":")[0] for p in recording.problems] == ([] if checksum else ends)
                assert any(recording.check_files())


def test_a_damaged_end_fails_the_verification(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bare(tmp_path, "mcap")
    data = path.read_bytes()
    assert main(["inspect", "--verify", str(path)]) == 0
    path.write_bytes(data[:-1] + b"\0")
    assert main(["inspect", "--verify", str(path)]) == 1
    assert capsys.readouterr().out.count(f"Problem: The end of {path} is damaged") == 1


@pytest.mark.parametrize("form", ["mcap", "mcap-zstd", "mcap-unindexed"])
@pytest.mark.parametrize("missing", [1, 8, 9, 37])
def test_an_mcap_that_lacks_its_last_bytes_is_cut_off_and_not_damaged(tmp_path: Path, form: str, missing: int) -> None:
    path = bare(tmp_path, form)
    path.write_bytes(path.read_bytes()[:-missing])
    with Recording(path) as recording:
        assert recording.problems == (
            f"{path} is cut off: {len(MESSAGES)} messages before the end could be recovered.",
        )


def test_bytes_behind_the_end_of_an_mcap_are_named(tmp_path: Path) -> None:
    path = bare(tmp_path, "mcap")
    path.write_bytes(path.read_bytes() + bytes(100))
    with Recording(path) as recording:
        assert [m.cdr for m in recording.messages()] == [m.cdr for m in in_time_order(MESSAGES)]
        assert recording.problems == (f"{path} goes on for 100 bytes behind its end: copy it from its source.",)


@pytest.mark.parametrize("kinds", [IndexType.NONE, IndexType.CHUNK, IndexType.MESSAGE, IndexType.ALL])
@pytest.mark.parametrize("summary", ["none", "empty", "statistics", "all"])
@pytest.mark.parametrize("offsets", [False, True])
def test_an_mcap_that_a_tool_wrote_with_less_of_a_summary_is_whole(
    tmp_path: Path, kinds: IndexType, summary: str, offsets: bool
) -> None:
    path = tmp_path / "drive.mcap"
    frame = image(COLOUR, START_NS, START_NS, colour_pixels(0), "rgb8")
    with path.open("wb") as stream:
        writer = McapWriter(
            stream,
            index_types=kinds,
            repeat_channels=summary == "all",
            repeat_schemas=summary == "all",
            use_statistics=summary in ("statistics", "all"),
            use_summary_offsets=offsets,
        )
        writer.start(profile="ros2")
        channel = writer.register_channel(COLOUR, "cdr", writer.register_schema(frame.type, "", b""))
        writer.add_message(channel, START_NS, frame.cdr, START_NS)
        writer.finish()
    data = path.read_bytes()
    if summary == "empty" and data[-28:-20] == bytes(8):  # a tool may also say where the summary would begin
        end = len(data) - 37
        path.write_bytes(data[: end + 9] + struct.pack("<QQI", end, end, 0) + data[-8:])
    with Recording(path) as recording:
        assert recording.problems == ()
        assert list(recording.check_files()) == []
        assert [m.cdr for m in recording.messages()] == [frame.cdr]


@pytest.mark.parametrize("size", [8, 9, 30])
def test_an_mcap_that_ends_after_its_first_bytes_is_named(
    tmp_path: Path, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bare(tmp_path, "mcap")
    path.write_bytes(path.read_bytes()[:size])
    assert "holds no messages" in refused(path, capsys)


@pytest.mark.parametrize("form", ["chunked", "not chunked"])
def test_messages_with_log_times_that_no_clock_shows_are_left_out_and_counted(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "drive.mcap"
    left_out = "messages of {} are left out, since their log times lie beyond the year 2262."

    def write_at(log_times: Sequence[int]) -> None:
        with path.open("wb") as stream:
            writer = McapWriter(stream, use_chunking=form == "chunked")
            writer.start(profile="ros2")
            channel = writer.register_channel(COLOUR, "cdr", writer.register_schema("sensor_msgs/Image", "", b""))
            for index, log_time in enumerate(log_times):
                frame = image(COLOUR, START_NS, START_NS + index, colour_pixels(index), "rgb8")
                writer.add_message(channel, log_time, frame.cdr, log_time)
            writer.finish()

    write_at((2**64 - 1, START_NS, 2**63, 2**63 - 1))
    with Recording(path) as recording:
        assert recording.log_times_ns(COLOUR).tolist() == [START_NS, 2**63 - 1]
        assert [frame.stamp_ns for frame in recording.frames(COLOUR)] == [START_NS + 1, START_NS + 3]
        assert recording.problems == (f"2 {left_out.format(path)}",)
    assert main(["inspect", str(path)]) == 0
    write_at((2**63, 2**63 + 1))
    assert f"holds no messages (2 {left_out.format(path)[:-1]})" in refused(path, capsys)


@pytest.mark.parametrize("form", ["chunked", "not chunked"])
def test_a_channel_without_a_schema_hides_no_other_message(tmp_path: Path, form: str) -> None:
    path = tmp_path / "drive.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream, use_chunking=form == "chunked")
        writer.start(profile="ros2")
        camera = writer.register_channel(COLOUR, "cdr", writer.register_schema("sensor_msgs/msg/Image", "", b""))
        notes = writer.register_channel("/notes", "json", 0)
        raw = writer.register_channel("/raw", "cdr", 0)
        for index in range(3):
            frame = image(COLOUR, START_NS + index, START_NS, colour_pixels(index), "rgb8")
            for channel, data in ((camera, frame.cdr), (notes, b"{}"), (raw, b"\0\1\0\0")):
                writer.add_message(channel, START_NS + index, data, START_NS)
        writer.finish()
    with Recording(path) as recording:
        assert recording.problems == ()
        assert recording.topics == (
            Topic(COLOUR, "sensor_msgs/msg/Image", 3),
            Topic("/notes", "", 3),
            Topic("/raw", "", 3),
        )
        assert np.array_equal(recording.read_image(COLOUR, 2), colour_pixels(2))
        assert recording.read_serialised("/notes", 1) == b"{}"
        with pytest.raises(MayhemError, match="serialised as 'json'"):
            recording.read_message("/notes", 0)
        with pytest.raises(MayhemError, match="does not say of which type the messages on /raw are"):
            recording.read_message("/raw", 0)
        with pytest.raises(UsageError, match=r"/notes of .* holds messages of no type, no images"):
            recording.image_topic("/notes")
    assert main(["inspect", "--verify", str(path)]) == 0


def test_schemas_that_the_summary_does_not_repeat_are_found(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    frame = image(COLOUR, START_NS, START_NS, colour_pixels(0), "rgb8")
    with path.open("wb") as stream:
        writer = McapWriter(stream, repeat_schemas=False)
        writer.start(profile="ros2")
        channel = writer.register_channel(COLOUR, "cdr", writer.register_schema(frame.type, "", b""))
        writer.add_message(channel, START_NS, frame.cdr, START_NS)
        writer.finish()
    with Recording(path) as recording:
        assert recording.topics == (Topic(COLOUR, "sensor_msgs/msg/Image", 1),)
        assert recording.problems == ()


def test_a_channel_that_only_the_end_of_the_file_describes_is_read(tmp_path: Path) -> None:
    path = without_first_channel(bare(tmp_path, "mcap-unindexed"))
    with Recording(path) as recording:
        assert recording.problems == ()
        assert [m.cdr for m in recording.messages()] == [m.cdr for m in in_time_order(MESSAGES)]


def test_messages_of_a_channel_whose_description_is_lost_are_counted(tmp_path: Path) -> None:
    path = without_first_channel(bare(tmp_path, "mcap-unindexed"))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.8)])
    whole = left_in(path.read_bytes(), "mcap-unindexed")
    lost = sum(message.topic == COLOUR for message in whole)
    with Recording(path) as recording:
        assert recording.problems == (
            f"{path} is cut off: {len(whole) - lost} messages before the end could be recovered.",
            f"{path} holds {lost} messages of channels it does not describe.",
        )
        rest = [message for message in whole if message.topic != COLOUR]
        assert [m.cdr for m in recording.messages()] == [m.cdr for m in in_time_order(rest)]


def without_first_channel(path: Path) -> Path:
    """An MCAP file whose first description of the colour topic is overwritten."""
    data = bytearray(path.read_bytes())
    at = data.index(COLOUR.encode()) - 17
    assert data[at] == 4  # the opcode of a channel
    data[at] = 0x80
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("cut", [0, 1, 5, 4095])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_db3_gives_all_its_whole_messages(tmp_path: Path, part: float, cut: int) -> None:
    path = bare(tmp_path, "db3")
    whole = Counter((m.topic, m.log_time_ns, m.cdr) for m in MESSAGES)
    data = path.read_bytes()
    pages = int(len(data) * part) // 4096
    path.write_bytes(data[: pages * 4096 + cut])
    with Recording(path) as recording:
        recovered = Counter((m.topic, m.log_time_ns, m.cdr) for m in recording.messages())
        (warning,) = recording.problems
    assert recovered <= whole
    # Messages lie in the order they were written, and of this table's pages none is lost but those cut off.
    assert len(MESSAGES) * part - 8 <= recovered.total() <= len(MESSAGES) * part
    assert warning.startswith(f"{path} is cut off or damaged")
    assert f"{recovered.total()} messages could be recovered" in warning


def test_a_db3_that_ends_within_a_page_has_no_message_filled_up_with_zeros(tmp_path: Path) -> None:
    path = bare(tmp_path, "db3")
    whole = {m.cdr for m in MESSAGES}
    data = path.read_bytes()
    for page in range(60, 72):  # more pages than one image has
        path.write_bytes(data[: page * 4096 + 2000])
        with Recording(path) as recording:
            assert {m.cdr for m in recording.messages()} <= whole


@pytest.mark.parametrize("size", [600, 5000])
def test_a_db3_cut_off_before_its_first_message_is_named(
    tmp_path: Path, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bare(tmp_path, "db3")
    path.write_bytes(path.read_bytes()[:size])
    assert "cut off or damaged" in refused(path, capsys)


@pytest.mark.parametrize("beside", [("-wal",), ("-wal", "-shm")])
@pytest.mark.parametrize("media", ["writable", "read-only"])
def test_what_a_recorder_that_crashed_left_in_its_log_is_read_and_nothing_beside_it_made_or_changed(
    tmp_path: Path, media: str, beside: tuple[str, ...]
) -> None:
    folder = crashed(tmp_path, beside)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    command = [sys.executable, "-m", "mayhem_train.cli", "inspect", "--json", str(folder / "drive.db3")]
    if media == "read-only":
        folder.chmod(0o555)
        for path in folder.iterdir():
            path.chmod(0o444)
        if os.geteuid() == 0:  # who may write everywhere, unless that is taken away
            if shutil.which("setpriv") is None:
                pytest.skip("root without setpriv can write everywhere")
            command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", *command]
    done = subprocess.run(command, capture_output=True, text=True)
    folder.chmod(0o755)
    assert (done.returncode, done.stderr) == (0, "")
    (report,) = json.loads(done.stdout)
    assert sum(topic["count"] for topic in report["topics"]) == len(MESSAGES) + 10
    assert report["problems"] == []
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after.keys() == before.keys()
    assert all(after[name] == before[name] for name in ("drive.db3", "drive.db3-wal"))


def test_a_recording_is_read_with_the_log_that_a_recorder_left_in_every_worker(tmp_path: Path) -> None:
    folder = crashed(tmp_path, ("-wal",))
    with Recording(folder / "drive.db3") as recording:
        expected = [recording.read_image(COLOUR, index).tobytes() for index in range(22)]
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(2) as pool:
                assert pool.starmap(image_bytes, [(recording, index) for index in range(22)]) == expected
    assert sorted(path.name for path in folder.iterdir()) == ["drive.db3", "drive.db3-wal"]


def crashed(tmp_path: Path, beside: tuple[str, ...]) -> Path:
    """A folder with a .db3 file, its log of ten messages more, two of them images, and what else lies beside."""
    path = bare(tmp_path, "db3")
    folder = tmp_path / "crashed"
    folder.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute(
            "INSERT INTO messages SELECT id + 1000, topic_id, timestamp, data FROM messages WHERE id <= 10"
        )
        for suffix in ("", *beside):
            shutil.copy(f"{path}{suffix}", folder / f"drive.db3{suffix}")
    return folder


def image_bytes(recording: Recording, index: int) -> bytes:
    return recording.read_image(COLOUR, index).tobytes()


def test_flipped_bytes_in_a_db3_leave_the_messages_of_all_other_pages(tmp_path: Path) -> None:
    path = bare(tmp_path, "db3")
    whole = Counter((m.topic, m.log_time_ns, m.cdr) for m in MESSAGES)
    data = bytearray(path.read_bytes())
    leaves = [at for at in range(0, len(data), 4096) if data[at] == 13 and at > 6 * 4096]  # pages that hold rows
    for leaf in (leaves[len(leaves) // 3], leaves[len(leaves) // 2]):
        data[leaf : leaf + 100] = b"\xff" * 100
    path.write_bytes(data)
    with Recording(path) as recording:
        recovered = Counter((m.topic, m.log_time_ns, m.cdr) for m in recording.messages())
        (problem,) = recording.problems
    assert recovered <= whole
    assert len(MESSAGES) - 20 <= recovered.total() < len(MESSAGES)
    assert f"{recovered.total()} messages could be recovered" in problem
    behind = MESSAGES[len(MESSAGES) * 3 // 4 :]
    assert Counter((m.topic, m.log_time_ns, m.cdr) for m in behind) <= recovered


@pytest.mark.parametrize("form", ["mcap", "bag"])
def test_a_file_cut_within_its_head_is_named(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = bare(tmp_path, form)
    path.write_bytes(path.read_bytes()[:20])
    refused(path, capsys)


@pytest.mark.parametrize("end", ["whole", "cut off"])
@pytest.mark.parametrize("form", ["mcap-zstd-with-checksums", "mcap-lz4"])
def test_a_flipped_byte_in_a_compressed_chunk_costs_no_other_message_and_the_chunk_is_named(
    tmp_path: Path, form: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bare(tmp_path, form)
    data = bytearray(path.read_bytes())
    struck = next(m for m in MESSAGES[30:] if m.topic == COLOUR)  # noise, which no compression changes
    data[data.index(struck.cdr[1000:1100]) + 50] ^= 0xFF
    path.write_bytes(data if end == "whole" else data[:-50])
    named = f"The chunk at byte {chunk_before(data, struck)} of {path} is damaged (its checksum is wrong)"
    with Recording(path) as recording:
        assert [problem.startswith(named) for problem in recording.problems] == (
            [] if end == "whole" else [True, False]
        )
        for _ in range(2):
            read = [m.cdr for m in recording.messages()]
        assert sum(problem.startswith(named) for problem in recording.problems) == 1
        assert capsys.readouterr().err == ""
        assert [m.cdr for m in in_time_order(MESSAGES) if m.cdr not in read] == [struck.cdr]
        assert len(read) == len(MESSAGES)
    assert main(["inspect", "--verify", str(path)]) == 1
    assert f"Problem: {named}" in capsys.readouterr().out


@pytest.mark.parametrize("end", ["whole", "cut off"])
@pytest.mark.parametrize("form", ["mcap-zstd-with-checksums", "mcap-lz4", "bag-lz4"])
def test_of_a_chunk_that_stops_decompressing_the_messages_before_are_read_and_the_chunk_is_named(
    tmp_path: Path, form: str, end: str
) -> None:
    path = bare(tmp_path, form)
    data = path.read_bytes()
    magic, _ = START_OF[form]
    chunk = data.index(magic)
    block = second_block(data, chunk, form)
    before, within = left_in(data[:block], form), left_in(data[: data.index(magic, chunk + 1)], form)
    assert 3 < len(before) < len(within) < len(MESSAGES)
    data = data[:block] + b"\xff\xff\xff" + data[block + 3 :]  # there is no such block
    path.write_bytes(data if end == "whole" else data[:-50])
    read, failed = [], []
    with Recording(path) as recording:
        for topic, index in recording.places([COLOUR, DEPTH, IMU]):
            try:
                read.append(recording.read_serialised(topic, index))
            except MayhemError as error:
                failed.append(str(error))
        problems = recording.problems
    kept = [m for m in in_time_order(MESSAGES) if m not in within[len(before) :]]
    assert read == [recorded(m, form) for m in kept]
    if end == "whole":  # the index counts what is lost
        assert len(failed) == len(MESSAGES) - len(kept)
        assert all(str(path) in text and "chunk at byte" in text for text in failed)
    else:
        assert failed == []
        assert sum(f"of {path} is damaged (" in problem for problem in problems) == 1
        assert sum(f"{len(kept)} messages" in problem for problem in problems) == 1


def chunk_before(data: bytes, message: Written) -> int:
    """Where the chunk of an MCAP file begins that holds the message, uncompressed but for its place."""
    at, start = 8, 0
    while at < data.find(message.cdr[2000:2100]):
        start, at = at, at + 9 + int.from_bytes(data[at + 1 : at + 9], "little")
    return start


def second_block(data: bytes, frame: int, form: str) -> int:
    """Where the second block of a zstd or lz4 frame begins, by the formats' own descriptions."""
    if "zstd" in form:
        block = frame + zstandard.frame_header_size(bytes(data[frame : frame + 18]))
        return block + 3 + (int.from_bytes(data[block : block + 3], "little") >> 3)
    block = frame + (15 if data[frame + 4] & 8 else 7)
    return block + 4 + (int.from_bytes(data[block : block + 4], "little") & 0x7FFFFFFF)


@pytest.mark.parametrize("form", ["mcap", "db3"])
def test_missing_metadata_is_a_warning(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, "drive", form, MESSAGES)
    with Recording(path) as recording:
        whole = list(recording.messages())
        assert recording.problems == ()
    (path / "metadata.yaml").unlink()
    with Recording(path) as recording:
        assert list(recording.messages()) == whole
        (problem,) = recording.problems
    assert problem.startswith(f"{path} has no metadata.yaml")


@pytest.mark.parametrize(
    "text", ["", "[", "rosbag2_bagfile_information: {version: 9}", "rosbag2_bagfile_information: 3"]
)
def test_broken_metadata_is_named(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "drive", "mcap", MESSAGES)
    (path / "metadata.yaml").write_text(text)
    assert "metadata.yaml is no rosbag2 metadata" in refused(path, capsys)


def test_a_file_that_metadata_names_and_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "drive", "mcap", MESSAGES)
    (path / "drive.mcap").unlink()
    assert "lacks its file drive.mcap" in refused(path, capsys)


def test_metadata_cannot_name_a_file_outside_of_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "drive", "mcap", MESSAGES)
    shutil.move(path / "drive.mcap", tmp_path / "drive.mcap")
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace("- drive.mcap", "- ../drive.mcap"))
    assert "lacks its file drive.mcap" in refused(path, capsys)


@pytest.mark.parametrize("mode", ["FILE", "MESSAGE"])
def test_compression_by_a_plugin_other_than_zstd_is_named(
    tmp_path: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "drive", "mcap", MESSAGES)
    text = (path / "metadata.yaml").read_text()
    assert "compression_mode: ''" in text
    text = text.replace("compression_mode: ''", f"compression_mode: {mode}")
    (path / "metadata.yaml").write_text(text.replace("compression_format: ''", "compression_format: lz4"))
    assert f"compressed by {mode.lower()} with lz4" in refused(path, capsys)


def test_a_count_that_differs_from_metadata_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "drive", "db3", MESSAGES)
    with sqlite3.connect(path / "drive.db3") as database:
        database.execute("DELETE FROM messages WHERE id > 90")
    with Recording(path) as recording:
        assert recording.problems == (f"{path} holds 90 messages, but its metadata.yaml counts {len(MESSAGES)}.",)


def test_an_absent_topic_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with Recording(write(tmp_path, "drive", "mcap", MESSAGES)) as recording:
        for ask in (
            lambda: recording.image_topic("/cam"),
            lambda: recording.read_image("/cam", 0),
            lambda: list(recording.frames("/cam")),
            lambda: list(recording.messages(["/cam"])),
            lambda: recording.has_header("/cam"),
        ):
            with pytest.raises(UsageError, match=f"has no topic /cam: it has {COLOUR}.*{DEPTH}.*{IMU}"):
                ask()
        with pytest.raises(UsageError, match=rf"{IMU} .* holds sensor_msgs/msg/Imu, no images: choose {COLOUR}"):
            recording.image_topic(IMU)


def test_a_recording_without_images_says_what_it_has(tmp_path: Path) -> None:
    path = write(tmp_path, "drive", "mcap", in_time_order(MESSAGES, IMU))
    with Recording(path) as recording, pytest.raises(MayhemError, match="has no images: it has /imu"):
        recording.image_topic(None)


@pytest.mark.parametrize("index", [-1, 20])
def test_an_index_out_of_range_is_answered_with_the_range(tmp_path: Path, index: int) -> None:
    with Recording(write(tmp_path, "drive", "bag", MESSAGES)) as recording:
        with pytest.raises(MayhemError, match=f"has no message {index} on {COLOUR}: they are numbered 0 to 19"):
            recording.read_image(COLOUR, index)
        with pytest.raises(MayhemError, match="numbered 0 to 19"):
            recording.frame(COLOUR, index)


def test_an_unknown_type_is_named_and_the_other_topics_are_read(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    known = image(COLOUR, START_NS, START_NS, colour_pixels(0), "rgb8")
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros2")
        secret = writer.register_channel("/secret", "cdr", writer.register_schema("acme_msgs/msg/Secret", "", b""))
        broken = writer.register_channel(
            "/broken", "cdr", writer.register_schema("acme_msgs/msg/Broken", "ros2msg", b"[[")
        )
        partial = writer.register_channel(
            "/partial", "cdr", writer.register_schema("acme_msgs/msg/Partial", "ros2msg", b"Inner inner")
        )
        camera = writer.register_channel(COLOUR, "cdr", writer.register_schema(known.type, "", b""))
        other = writer.register_channel("/json", "json", writer.register_schema("Thing", "jsonschema", b"{}"))
        for channel, data in (
            (secret, b"\0\1\0\0abcd"),
            (broken, b"\0\1\0\0"),
            (partial, b"\0\1\0\0"),
            (other, b"{}"),
            (camera, known.cdr),
        ):
            writer.add_message(channel, START_NS, data, START_NS)
        writer.finish()
    with Recording(path) as recording:
        with pytest.raises(MayhemError, match=r"acme_msgs/msg/Secret of /secret is unknown"):
            recording.read_message("/secret", 0)
        with pytest.raises(MayhemError, match="definition of acme_msgs/msg/Broken"):
            recording.read_message("/broken", 0)
        with pytest.raises(MayhemError, match=r"definition of acme_msgs/msg/Partial .* lacks .*acme_msgs/msg/Inner"):
            recording.read_message("/partial", 0)
        with pytest.raises(MayhemError, match="serialised as 'json'"):
            recording.read_message("/json", 0)
        assert recording.frame("/secret", 0).stamp_ns is None
        assert np.array_equal(recording.read_image(COLOUR, 0), colour_pixels(0))
        assert [m.cdr for m in recording.messages(["/secret", COLOUR])] == [b"\0\1\0\0abcd", known.cdr]


def test_a_topic_of_several_types_is_named_and_each_message_read_as_its_own(tmp_path: Path) -> None:
    frame = image("/cam", START_NS, START_NS, colour_pixels(0), "rgb8")
    packed = jpeg("/cam", START_NS + 1, jpeg_bytes(np.full((16, 16, 3), 128, np.uint8)))
    path = tmp_path / "drive.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros2")
        for message in (frame, packed):
            channel = writer.register_channel("/cam", "cdr", writer.register_schema(message.type, "", b""))
            writer.add_message(channel, message.log_time_ns, message.cdr, message.log_time_ns)
        writer.finish()
    with Recording(path) as recording:
        assert recording.image_topic(None).count == 2
        assert recording.read_image("/cam", 0).tolist() == colour_pixels(0).tolist()
        assert recording.read_image("/cam", 1).tolist() == np.full((16, 16, 3), 128).tolist()
        assert recording.problems == (
            f"Messages on /cam of {path} are of several types (sensor_msgs/msg/Image, "
            "sensor_msgs/msg/CompressedImage): it counts as sensor_msgs/msg/Image.",
        )


def test_an_undecodable_image_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    good = jpeg_bytes(np.full((16, 16, 3), 128, np.uint8))
    path = write(
        tmp_path,
        "drive",
        "mcap",
        [jpeg("/cam", START_NS + i, data) for i, data in enumerate((good, good[:20], b"", good))],
    )
    with Recording(path) as recording:
        for index in (1, 2):
            with pytest.raises(MayhemError, match=f"Message {index} on /cam of {path} cannot be read"):
                recording.read_image("/cam", index)
        assert recording.read_image("/cam", 3).tolist() == np.full((16, 16, 3), 128).tolist()


def test_bytes_that_are_no_message_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "drive", "db3", in_time_order(MESSAGES, COLOUR))
    with sqlite3.connect(path / "drive.db3") as database:
        database.execute("UPDATE messages SET data = substr(data, 1, 500) WHERE id = 3")
        database.execute("UPDATE messages SET data = x'00' WHERE id = 4")
    with Recording(path) as recording:
        stamps = [m.log_time_ns for m in in_time_order(MESSAGES, COLOUR)]
        assert recording.frame(COLOUR, 2).log_time_ns == stamps[2]
        for index in (2, 3):
            with pytest.raises(MayhemError, match=f"Message {index} on {COLOUR} of {path} cannot be read"):
                recording.read_image(COLOUR, index)
        assert [frame.stamp_ns is None for frame in recording.frames(COLOUR)] == [index == 3 for index in range(20)]


def test_two_recordings_of_one_stem_are_both_named(tmp_path: Path) -> None:
    folder = write(tmp_path, "drive", "mcap", MESSAGES[:4])
    bag = write(tmp_path, "drive", "bag", MESSAGES[:4])
    with pytest.raises(MayhemError, match=f"{folder} and {bag} are both called 'drive'"):
        find_recordings(tmp_path)


def test_a_missing_folder_of_recordings_is_named(tmp_path: Path) -> None:
    with pytest.raises(MayhemError, match=f"no folder {tmp_path / 'nowhere'}"):
        find_recordings(tmp_path / "nowhere")
    assert find_recordings(tmp_path / "source") == {}


def test_an_unreadable_jpeg_at_the_start_is_a_problem_that_inspect_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "drive", "mcap", [jpeg("/cam", START_NS, b"\xff\xd8broken")])
    assert cv2.imdecode(np.frombuffer(b"\xff\xd8broken", np.uint8), cv2.IMREAD_COLOR) is None
    assert main(["inspect", str(path)]) == 0
    assert f"Problem: The images on /cam of {path} cannot be decoded: Message 0 on /cam of" in capsys.readouterr().out
