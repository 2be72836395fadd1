"""`mayhem inspect --verify` reads everything, counts what is damaged and names the first of it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from recordings_writing import (
    COLOUR,
    DEPTH,
    START_NS,
    Written,
    colour_pixels,
    drive,
    image,
    jpeg,
    jpeg_bytes,
    write,
)

from mayhem_train.cli import main
from mayhem_train.recordings.inspection import inspect_recording
from mayhem_train.recordings.recording import Recording
from mayhem_train.recordings.verification import verify_recording

MESSAGES = drive(10)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAYHEM_CACHE", str(tmp_path / "cache"))


def jpegs(broken: dict[int, bytes]) -> list[Written]:
    good = jpeg_bytes(np.full((16, 24, 3), 128, np.uint8))
    return [jpeg("/cam", START_NS + i, broken.get(i, good)) for i in range(12)]


@pytest.mark.parametrize("form", ["mcap", "mcap-zstd", "mcap-lz4", "mcap-unindexed", "db3", "bag", "bag-lz4"])
def test_a_whole_recording_is_read_to_the_last_message(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, "drive", form, MESSAGES)
    with Recording(path) as recording:
        verification = verify_recording(recording)
        (file,) = recording.files
    assert verification.messages == len(MESSAGES)
    assert verification.images == 20  # colour and depth
    assert verification.damaged == {}
    assert verification.problems == ()
    assert verification.sha256 == {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}


def test_damaged_images_are_counted_and_the_first_of_them_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = jpeg_bytes(np.full((16, 24, 3), 128, np.uint8))
    broken = {2: good[:40], 5: b"", 6: b"\x00" * 30, 7: good[:-6], 11: b"\xff\xd8"}
    path = write(tmp_path, "drive", "mcap", jpegs(broken))
    assert main(["inspect", "--json", str(path)]) == 0  # without --verify it reads only the ends
    capsys.readouterr()
    assert main(["inspect", "--verify", "--json", str(path)]) == 1
    (report,) = json.loads(capsys.readouterr().out)
    assert report["verification"]["damaged"] == {"/cam": 5}
    assert (report["verification"]["messages"], report["verification"]["images"]) == (7, 7)
    named = [problem for problem in report["problems"] if "cannot be read" in problem]
    assert [problem.partition(" cannot")[0] for problem in named] == [
        f"Message {index} on /cam of {path}" for index in (2, 5, 6)
    ]
    assert f"5 messages on /cam of {path} are damaged; the first 3 are named." in report["problems"]


def test_flipped_bytes_that_opencv_decodes_all_the_same_are_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = jpeg_bytes(cv2.GaussianBlur(colour_pixels(0, 240, 320), (0, 0), 2))
    flipped = bytearray(good)
    for at in range(len(good) // 2, len(good) // 2 + 100):
        flipped[at] ^= 0x55
    frames = [jpeg("/cam", START_NS + i, bytes(flipped) if i == 2 else good) for i in range(4)]
    path = write(tmp_path, "drive", "bag", frames)
    assert main(["inspect", "--verify", "--json", str(path)]) == 0
    output = capfd.readouterr()
    (report,) = json.loads(output.out)
    assert (report["verification"]["flawed"], report["verification"]["damaged"]) == ({"/cam": 1}, {})
    (problem,) = report["problems"]
    assert problem.startswith(f"1 image on /cam of {path} is flawed, but was decoded: 2 (Corrupt JPEG data")
    assert "Corrupt" not in output.err


def test_the_table_says_what_was_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "drive", "db3", MESSAGES)
    assert main(["inspect", "--verify", str(path)]) == 0
    output = capsys.readouterr().out
    assert f"Verified: {len(MESSAGES)} messages read, 20 of them images decoded, 0 damaged" in output
    assert f"sha256 {hashlib.sha256((path / 'drive.db3').read_bytes()).hexdigest()}  drive.db3" in output
    assert main(["inspect", str(path)]) == 0
    assert "Verified" not in capsys.readouterr().out


def test_images_of_another_size_are_counted(tmp_path: Path) -> None:
    sizes = [(60, 80)] * 5 + [(30, 40)] * 2 + [(61, 80)]
    frames = [
        image(COLOUR, START_NS + i, START_NS + i, colour_pixels(i, *size), "bgr8") for i, size in enumerate(sizes)
    ]
    path = write(tmp_path, "drive", "mcap", frames)
    with Recording(path) as recording:
        verification = verify_recording(recording)
    assert verification.damaged == {}
    assert verification.problems == (
        f"2 of 8 images on {COLOUR} of {path} are 40x30, most are 80x60.",
        f"1 of 8 images on {COLOUR} of {path} are 80x61, most are 80x60.",
    )


def test_a_colour_image_on_a_topic_called_depth_is_decoded_as_colour(tmp_path: Path) -> None:
    frames = [image("/depth_camera/rgb", START_NS, START_NS, colour_pixels(0), "rgb8")]
    with Recording(write(tmp_path, "drive", "mcap", frames)) as recording:
        assert verify_recording(recording).damaged == {}


def test_depth_images_are_decoded_as_depth(tmp_path: Path) -> None:
    depth = np.arange(48, dtype=np.uint16).reshape(6, 8)
    packed = bytes(12) + cv2.imencode(".png", depth)[1].tobytes()
    messages = [
        image(DEPTH, START_NS, START_NS, depth, "16UC1"),
        _named(jpeg("/depth/compressedDepth", START_NS, packed), "16UC1; compressedDepth png"),
        _named(jpeg("/depth/compressedDepth", START_NS + 1, packed[:-30]), "16UC1; compressedDepth png"),
    ]
    with Recording(write(tmp_path, "drive", "db3", messages)) as recording:
        report = inspect_recording(recording, verify=True)
    assert report.verification is not None
    assert report.verification.damaged == {"/depth/compressedDepth": 1}
    assert [(t.name, t.width, t.height) for t in report.topics] == [(DEPTH, 8, 6), ("/depth/compressedDepth", 8, 6)]


@pytest.mark.parametrize("part", ["data", "chunk", "summary"])
def test_bytes_that_contradict_the_checksums_of_an_mcap_are_found(
    tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "drive.mcap"
    frame = image(COLOUR, START_NS, START_NS, colour_pixels(0), "rgb8")
    with path.open("wb") as stream:
        writer = McapWriter(
            stream,
            chunk_size=2**12,
            compression=CompressionType.NONE,
            use_chunking=part != "data",
            enable_data_crcs=True,
        )
        writer.start(profile="ros2")
        channel = writer.register_channel(COLOUR, "cdr", writer.register_schema(frame.type, "", b""))
        for index in range(3):
            writer.add_message(channel, START_NS + index, frame.cdr, START_NS + index)
        writer.finish()
    with Recording(path) as recording:
        assert verify_recording(recording).problems == ()
    data = bytearray(path.read_bytes())
    at = data.index(frame.cdr) + 5000 if part != "summary" else data.rindex(b"sensor_msgs/msg/Image")
    data[at] ^= 0xFF
    path.write_bytes(data)
    assert main(["inspect", "--verify", str(path)]) == 1
    wrong = {"data": "The data of", "chunk": "The chunk at byte", "summary": "The summary of"}[part]
    assert f"Problem: {wrong}" in capsys.readouterr().out


def test_an_sqlite_file_that_contradicts_its_own_structure_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, "drive", "db3", MESSAGES)
    file = path / "drive.db3"
    data = bytearray(file.read_bytes())
    leaf = next(at for at in range(len(data) // 2 // 4096 * 4096, len(data), 4096) if data[at] == 13)
    data[leaf + 3 : leaf + 5] = b"\x00\x00"  # the page claims to have no rows
    file.write_bytes(data)
    with Recording(path) as recording:
        verification = verify_recording(recording)
    opened, *checked = verification.problems
    assert opened.startswith(f"{file} is cut off or damaged")
    assert checked
    assert all(f"{file} is damaged: SQLite" in problem for problem in checked)
    assert verification.wrong_files == 1 + len(checked)


@pytest.mark.parametrize("form", ["mcap", "db3", "bag"])
def test_a_file_that_is_cut_off_is_damaged(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "drive", form, MESSAGES)
    (file,) = [path] if path.is_file() else path.glob("drive.*")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 4 // 5])
    assert main(["inspect", "--json", str(path)]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert main(["inspect", "--verify", "--json", str(path)]) == 1
    (verified,) = json.loads(capsys.readouterr().out)
    assert verified["verification"]["damaged"] == {}
    assert verified["verification"]["wrong_files"] >= 1
    assert next(problem for problem in verified["problems"] if str(file) in problem) in report["problems"]


def test_a_file_that_changed_behind_its_size_and_time_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, "drive", "bag", jpegs({}))
    with Recording(path) as recording:
        assert verify_recording(recording).problems == ()
        (kept,) = (tmp_path / "cache" / "indexes").glob("*.content.npz")
        (index,) = (tmp_path / "cache" / "indexes").glob("*.index.npz")
        # Nothing but the disk itself changes bytes so: here what was kept says that they were others.
        _exchange_hash(kept, "00" * 32)
        assert verify_recording(recording).problems == (
            f"{path} has changed since it was last verified although its size and times have not: copy it from its "
            "source.",
        )
        assert not index.exists()
        assert verify_recording(recording).wrong_files == 0


def test_messages_of_an_unknown_type_are_read_but_not_checked(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros2")
        channel = writer.register_channel("/secret", "cdr", writer.register_schema("acme_msgs/msg/Secret", "", b""))
        writer.add_message(channel, START_NS, b"\0\1\0\0abcd", START_NS)
        writer.finish()
    with Recording(path) as recording:
        verification = verify_recording(recording)
    assert (verification.messages, verification.damaged) == (1, {})
    assert verification.problems == (f"1 messages on /secret of {path} are of an unknown type: not checked.",)


def test_messages_without_a_whole_head_are_counted_and_the_others_stamps_shown(tmp_path: Path) -> None:
    import sqlite3

    frames = [image(COLOUR, START_NS + i * 10**8, START_NS + i * 10**8, colour_pixels(i), "rgb8") for i in range(6)]
    path = write(tmp_path, "drive", "db3", frames)
    with sqlite3.connect(path / "drive.db3") as database:
        database.execute("UPDATE messages SET data = x'00010000' WHERE id IN (3, 4)")
    with Recording(path) as recording:
        report = inspect_recording(recording)
    assert f"2 of 6 messages on {COLOUR} of {path} have no readable header." in report.problems
    assert report.topics[0].largest_gap_s == 0.3
    assert not report.is_damaged  # nobody asked


def test_real_recordings_are_whole() -> None:
    data = Path(os.environ.get("MAYHEM_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
    path = data / "recordings" / "aruco-ros1-compressed.bag"
    if not path.exists():
        pytest.skip(f"the real recordings are not at {data}; set MAYHEM_DATA to where they are")
    with Recording(path) as recording:
        verification = verify_recording(recording)
    assert (verification.messages, verification.images, verification.problems) == (16, 1, ())


def _named(message: Written, format_: str) -> Written:
    """The compressed image with another format."""

    def make(types: object) -> object:
        made = message.make(types)  # type: ignore[arg-type]
        made.format = format_
        return made

    return Written(message.topic, message.type, message.log_time_ns, make)


def _exchange_hash(kept: Path, sha256: str) -> None:
    with np.load(kept, allow_pickle=False) as content:
        facts = content["facts"]
    np.savez(kept, facts=facts, array=np.frombuffer(bytes.fromhex(sha256), np.uint8))
