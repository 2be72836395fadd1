"""Whatever is wrong with a recording is recovered with a warning, or said in one sentence that names the file."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import struct
from collections import Counter
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from mcap.exceptions import McapError
from mcap.reader import NonSeekingReader
from mcap.writer import Writer as McapWriter
from recordings_writing import (
    COLOUR,
    DEPTH,
    IMU,
    START_NS,
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
from mayhem_train.recordings.recording import Recording, find_recordings

MESSAGES = drive(20)


def storage_file(path: Path) -> Path:
    return path if path.is_file() else next(p for p in path.iterdir() if p.suffix in (".mcap", ".db3"))


def bare(tmp_path: Path, form: str) -> Path:
    """A bare file of that format."""
    file = storage_file(write(tmp_path / "source", "drive", form, MESSAGES))
    return Path(shutil.copy(file, tmp_path / file.name))


@pytest.fixture(autouse=True)
def _source_folder(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()


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
@pytest.mark.parametrize("part", [0.3, 0.8, 0.999])
def test_a_truncated_mcap_gives_all_its_whole_messages(
    tmp_path: Path, form: str, part: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bare(tmp_path, form)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    data = path.read_bytes()
    if form in ("mcap", "mcap-unindexed"):  # each message that lies whole in what is left, also in a broken chunk
        whole = list(itertools.takewhile(lambda message: message.cdr in data, MESSAGES))
    else:  # what mcap's own reader recovers: the whole chunks
        read: list[bytes] = []
        with path.open("rb") as stream, suppress(McapError, struct.error):
            for _, _, message in NonSeekingReader(stream).iter_messages(log_time_order=False):
                read.append(message.data)
        whole = MESSAGES[: len(read)]
        assert [message.cdr for message in whole] == read
    if not whole:  # cut within the first chunk
        assert "holds no messages" in refused(path, capsys)
        return
    with Recording(path) as recording:
        recovered = sorted((m.log_time_ns, m.cdr) for m in recording.messages())
    assert recovered == sorted((m.log_time_ns, m.cdr) for m in whole)
    assert f"{path} is cut off: {len(whole)} messages before the end could be recovered" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["bag", "bag-bz2", "bag-lz4"])
def test_a_truncated_bag_gives_all_its_whole_chunks(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bare(tmp_path, form)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with Recording(path) as recording:
        recovered = [(m.log_time_ns, m.cdr) for m in recording.messages()]
        assert np.array_equal(recording.read_image(COLOUR, 0), colour_pixels(0))
    assert len(MESSAGES) * 0.4 < len(recovered) < len(MESSAGES) * 0.7
    assert sorted(recovered) == sorted((m.log_time_ns, m.cdr) for m in MESSAGES[: len(recovered)])
    assert f"{path} has no whole index: {len(recovered)} messages could be recovered" in capsys.readouterr().err


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


@pytest.mark.parametrize("cut", [0, 1, 5, 4095])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_db3_gives_all_its_whole_messages(
    tmp_path: Path, part: float, cut: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bare(tmp_path, "db3")
    whole = Counter((m.topic, m.log_time_ns, m.cdr) for m in MESSAGES)
    data = path.read_bytes()
    pages = int(len(data) * part) // 4096
    path.write_bytes(data[: pages * 4096 + cut])
    with Recording(path) as recording:
        recovered = Counter((m.topic, m.log_time_ns, m.cdr) for m in recording.messages())
    assert recovered <= whole
    # Messages lie in the order they were written, and of this table's pages none is lost but those cut off.
    assert len(MESSAGES) * part - 8 <= recovered.total() <= len(MESSAGES) * part
    warning = capsys.readouterr().err
    assert f"{path} is cut off or damaged" in warning
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


def test_flipped_bytes_in_a_db3_leave_the_messages_of_all_other_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bare(tmp_path, "db3")
    whole = Counter((m.topic, m.log_time_ns, m.cdr) for m in MESSAGES)
    data = bytearray(path.read_bytes())
    leaves = [at for at in range(0, len(data), 4096) if data[at] == 13 and at > 6 * 4096]  # pages that hold rows
    for leaf in (leaves[len(leaves) // 3], leaves[len(leaves) // 2]):
        data[leaf : leaf + 100] = b"\xff" * 100
    path.write_bytes(data)
    with Recording(path) as recording:
        recovered = Counter((m.topic, m.log_time_ns, m.cdr) for m in recording.messages())
    assert recovered <= whole
    assert len(MESSAGES) - 20 <= recovered.total() < len(MESSAGES)
    assert f"{recovered.total()} messages could be recovered" in capsys.readouterr().err
    behind = MESSAGES[len(MESSAGES) * 3 // 4 :]
    assert Counter((m.topic, m.log_time_ns, m.cdr) for m in behind) <= recovered


@pytest.mark.parametrize("form", ["mcap", "bag"])
def test_a_file_cut_within_its_head_is_named(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = bare(tmp_path, form)
    path.write_bytes(path.read_bytes()[:20])
    refused(path, capsys)


def test_a_damaged_compressed_chunk_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = bare(tmp_path, "mcap-lz4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    path.write_bytes(data)
    read, failed = 0, []
    with Recording(path) as recording:
        for index in range(20):
            try:
                recording.read_image(COLOUR, index)
                read += 1
            except MayhemError as error:
                failed.append(str(error))
    assert read > 10
    assert failed
    assert all(str(path) in text and "chunk at byte" in text for text in failed)


@pytest.mark.parametrize("form", ["mcap", "db3"])
def test_missing_metadata_is_a_warning(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "drive", form, MESSAGES)
    with Recording(path) as recording:
        whole = list(recording.messages())
    assert capsys.readouterr().err == ""
    (path / "metadata.yaml").unlink()
    with Recording(path) as recording:
        assert list(recording.messages()) == whole
    assert f"{path} has no metadata.yaml" in capsys.readouterr().err


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
    with Recording(path) as recording, pytest.raises(UsageError, match="no colour images: it has /imu"):
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
        with pytest.raises(MayhemError, match="no header"):
            recording.frame("/secret", 0)
        assert np.array_equal(recording.read_image(COLOUR, 0), colour_pixels(0))
        assert [m.cdr for m in recording.messages(["/secret", COLOUR])] == [b"\0\1\0\0abcd", known.cdr]


def test_a_topic_of_several_types_is_named_and_each_message_read_as_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert (
        f"Messages on /cam of {path} are of several types (sensor_msgs/msg/Image, sensor_msgs/msg/CompressedImage): "
        "it counts as sensor_msgs/msg/Image." in capsys.readouterr().err
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
        with pytest.raises(MayhemError, match="shorter than its header"):
            recording.frame(COLOUR, 3)


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
    assert "Problem: Message 0 on /cam of" in capsys.readouterr().out
