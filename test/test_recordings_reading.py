"""Every message of every format is found by topic and index, and is the one that was written."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import pickle
import shutil
import sqlite3
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import NonSeekingReader
from mcap.writer import Writer as McapWriter
from recordings_writing import (
    COLOUR,
    DEPTH,
    FORMATS,
    IMU,
    ROS2,
    START_NS,
    Written,
    colour_pixels,
    drive,
    header,
    image,
    in_time_order,
    jpeg,
    jpeg_bytes,
    write,
)
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys.store import Typestore

from mayhem_ros.errors import UsageError
from mayhem_train.recordings.recording import RecordedMessage, Recording, Topic, find_recordings
from mayhem_train.recordings.storages.per_process import PerProcess

DATA = Path(os.environ.get("MAYHEM_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
MESSAGES = drive()


@pytest.fixture(scope="module", params=[*FORMATS, "mcap-unindexed"])
def recording_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp(request.param), "drive", request.param, MESSAGES)


@pytest.fixture(scope="module", params=["mcap", "db3", "bag"])
def uncompressed_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [image(COLOUR, START_NS + i, START_NS + i, colour_pixels(i, 240, 320), "rgb8") for i in range(60)]
    return write(tmp_path_factory.mktemp(request.param), "drive", request.param, frames)


def expected(topic: str) -> list[Written]:
    return in_time_order(MESSAGES, topic)


def test_the_topics_their_types_and_counts_are_those_written(recording_path: Path) -> None:
    with Recording(recording_path) as recording:
        assert recording.stem == "drive"
        assert recording.topics == (
            Topic(COLOUR, "sensor_msgs/msg/Image", 40),
            Topic(DEPTH, "sensor_msgs/msg/Image", 40),
            Topic(IMU, "sensor_msgs/msg/Imu", 120),
        )
        assert [topic.name for topic in recording.image_topics] == [COLOUR, DEPTH]
        assert recording.start_ns == min(m.log_time_ns for m in MESSAGES)
        assert recording.end_ns == max(m.log_time_ns for m in MESSAGES)
        assert recording.problems == ()


def test_streaming_gives_every_topic_in_log_time_order_as_ros_2_serialises_it(recording_path: Path) -> None:
    with Recording(recording_path) as recording:
        streamed = list(recording.messages())
    assert [m.log_time_ns for m in streamed] == sorted(m.log_time_ns for m in MESSAGES)
    for topic in (COLOUR, DEPTH, IMU):
        assert [m for m in streamed if m.topic == topic] == [
            RecordedMessage(topic, m.type, index, m.log_time_ns, m.cdr) for index, m in enumerate(expected(topic))
        ]


def test_streaming_some_topics_leaves_the_others_out(recording_path: Path) -> None:
    with Recording(recording_path) as recording:
        everything = list(recording.messages())
        assert list(recording.messages([DEPTH, IMU])) == [m for m in everything if m.topic != COLOUR]


def test_random_access_in_any_order_gives_the_streamed_frames(recording_path: Path) -> None:
    with Recording(recording_path) as recording:
        frames = list(recording.frames(COLOUR))
        assert [(f.index, f.log_time_ns, f.stamp_ns) for f in frames] == [
            (i, m.log_time_ns, m.log_time_ns - 5_000_000) for i, m in enumerate(expected(COLOUR))
        ]
        for index in np.random.default_rng(0).permutation(40).tolist():
            message = expected(COLOUR)[index].make(ROS2)
            assert recording.frame(COLOUR, index) == frames[index]
            assert np.array_equal(recording.read_image(COLOUR, index).ravel(), message.data)
            assert (
                recording.read_message(DEPTH, index).data.tobytes() == expected(DEPTH)[index].make(ROS2).data.tobytes()
            )


def test_the_messages_are_those_that_rosbags_reads(recording_path: Path) -> None:
    if recording_path.parent.name.startswith("mcap-unindexed"):
        with recording_path.open("rb") as stream, Recording(recording_path) as recording:
            stored = [(c.topic, m.log_time, m.data) for _, c, m in NonSeekingReader(stream).iter_messages()]
            assert stored == [(m.topic, m.log_time_ns, m.cdr) for m in recording.messages()]
        return  # rosbags refuses one without an index whose messages are out of order; mcap's reader sorts them
    with Recording(recording_path) as recording, AnyReader([recording_path]) as reader:
        for topic in (COLOUR, DEPTH, IMU):

            def cdr(connection: Connection, data: bytes) -> bytes:
                if reader.is2:
                    return data
                message = reader.deserialize(data, connection.msgtype)
                stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec  # type: ignore[attr-defined]
                fields = {name: getattr(message, name) for name in message.__dataclass_fields__}  # type: ignore[attr-defined]
                ros2_message = ROS2.types[connection.msgtype](**{**fields, "header": header(ROS2, stamp)})
                return bytes(ROS2.serialize_cdr(ros2_message, connection.msgtype))

            connections = [c for c in reader.connections if c.topic == topic]
            read = [(time, cdr(connection, data)) for connection, time, data in reader.messages(connections)]
            assert read == [(m.log_time_ns, m.cdr) for m in recording.messages([topic])]


def test_opening_reads_no_payloads(uncompressed_path: Path) -> None:
    with Recording(uncompressed_path):  # whatever is loaded once is loaded now
        pass
    before = _bytes_read()
    with Recording(uncompressed_path) as recording:
        opened = _bytes_read() - before
        assert opened < 0.08 * recording.size
        list(recording.frames(COLOUR))
        assert _bytes_read() - before - opened < 0.08 * recording.size


def test_a_late_frame_is_read_without_those_before_it(uncompressed_path: Path) -> None:
    with Recording(uncompressed_path) as recording:
        recording.read_message(COLOUR, 0)
        before = _bytes_read()
        assert np.array_equal(recording.read_image(COLOUR, 55), colour_pixels(55, 240, 320))
        assert _bytes_read() - before < 1.2 * 240 * 320 * 3


def test_streaming_holds_one_message_in_memory(uncompressed_path: Path) -> None:
    with Recording(uncompressed_path) as recording:
        next(recording.messages())
        tracemalloc.start()
        try:
            assert sum(1 for _ in recording.messages()) == 60
            assert tracemalloc.get_traced_memory()[1] < 5 * 240 * 320 * 3
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_from_the_same_recordings_at_once(tmp_path: Path, method: str) -> None:
    recordings = [Recording(write(tmp_path, form, form, MESSAGES)) for form in ("mcap-zstd", "db3", "bag-lz4")]
    jobs = [(number, index) for index in range(40) for number in range(3)]
    for recording in recordings:
        recording.read_image(COLOUR, 3)  # the parent's files are open before the workers start
    with multiprocessing.get_context(method).Pool(2, _keep_recordings, (recordings,)) as pool:
        digests = pool.map(_digest, jobs, chunksize=1)
    frames = [hashlib.sha256(message.make(ROS2).data.tobytes()).hexdigest() for message in expected(COLOUR)]
    assert digests == [frames[index] for _, index in jobs]


def test_a_handle_is_made_anew_in_a_forked_child_and_not_pickled() -> None:
    handle = PerProcess(itertools.count().__next__)
    assert (handle.get(), handle.get()) == (0, 0)
    with multiprocessing.get_context("fork").Pool(1, _keep_handle, (handle,)) as pool:
        assert pool.apply(_handle) == 1
    assert handle.get() == 0
    assert pickle.loads(pickle.dumps(handle)).get() == 1


def test_a_recording_pickles_and_reads_on_after_being_closed(recording_path: Path) -> None:
    with Recording(recording_path) as recording:
        before = recording.read_image(COLOUR, 20).copy()
    copy = pickle.loads(pickle.dumps(recording))
    assert np.array_equal(copy.read_image(COLOUR, 20), before)
    assert np.array_equal(recording.read_image(COLOUR, 20), before)


@pytest.mark.parametrize("form", ["mcap", "db3"])
def test_a_split_recording_is_one_recording(tmp_path: Path, form: str) -> None:
    parts = [write(tmp_path, f"part{n}", form, MESSAGES[n * 100 : n * 100 + 100]) for n in range(2)]
    whole = tmp_path / "drive"
    whole.mkdir()
    suffix = form
    for number, part in enumerate(parts):
        shutil.copy(part / f"{part.name}.{suffix}", whole / f"drive_{number}.{suffix}")
    metadata = (parts[0] / "metadata.yaml").read_text()
    metadata = metadata.replace(f"  - part0.{suffix}\n", f"  - drive_0.{suffix}\n  - drive_1.{suffix}\n")
    metadata = metadata.replace("\n  message_count: 100\n", "\n  message_count: 200\n")
    (whole / "metadata.yaml").write_text(metadata)
    with Recording(whole) as recording:
        assert recording.problems == ()
        for topic in (COLOUR, DEPTH, IMU):
            assert [(m.log_time_ns, m.cdr) for m in recording.messages([topic])] == [
                (m.log_time_ns, m.cdr) for m in expected(topic)
            ]


def test_the_parts_of_a_split_recording_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    whole = tmp_path / "drive"
    whole.mkdir()
    for number in range(11):  # equal log times: only the order of the files tells the messages apart
        part = write(tmp_path, f"part{number}", "mcap", [image(COLOUR, START_NS, number, colour_pixels(0), "rgb8")])
        shutil.copy(part / f"{part.name}.mcap", whole / f"drive_{number}.mcap")
    with Recording(whole) as recording:
        assert [frame.stamp_ns for frame in recording.frames(COLOUR)] == list(range(11))


@pytest.mark.parametrize("form", ["mcap", "db3"])
def test_a_bare_file_is_a_recording(tmp_path: Path, form: str) -> None:
    folder = write(tmp_path, "drive", form, MESSAGES)
    bare = Path(shutil.copy(folder / f"drive.{form}", tmp_path / f"bare.{form}"))
    with Recording(bare) as recording, Recording(folder) as whole:
        assert recording.stem == "bare"
        assert list(recording.messages()) == list(whole.messages())


def test_a_type_in_ros_1_spelling_is_the_ros_2_type(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start(profile="ros2")
        definition = ROS2.generate_msgdef("sensor_msgs/msg/Image", ros_version=2)[0].encode()
        channel = writer.register_channel(
            COLOUR, "cdr", writer.register_schema("sensor_msgs/Image", "ros2msg", definition)
        )
        for message in expected(COLOUR):
            writer.add_message(channel, message.log_time_ns, message.cdr, message.log_time_ns)
        writer.finish()
    with Recording(path) as recording:
        assert recording.image_topic(None) == Topic(COLOUR, "sensor_msgs/msg/Image", 40)
        assert recording.read_image(COLOUR, 0).shape == (60, 80, 3)


def test_a_recording_without_definitions_is_read_by_those_of_the_distribution(tmp_path: Path) -> None:
    path = write(tmp_path, "drive", "db3", MESSAGES) / "drive.db3"
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE message_definitions")
    with Recording(path) as recording:
        assert np.array_equal(recording.read_image(COLOUR, 0), colour_pixels(0))


def test_a_ros_1_message_with_fewer_fields_than_in_ros_2_is_brought_into_its_layout(tmp_path: Path) -> None:
    def distance(types: Typestore) -> Any:
        added = {"variance": 0.0} if types is ROS2 else {}
        return types.types["sensor_msgs/msg/Range"](
            header=header(types, START_NS),
            radiation_type=1,
            field_of_view=0.5,
            min_range=0.25,
            max_range=4.0,
            range=1.5,
            **added,
        )

    written = Written("/range", "sensor_msgs/msg/Range", START_NS, distance)
    with Recording(write(tmp_path, "drive", "bag", [written])) as recording:
        assert [message.cdr for message in recording.messages()] == [written.cdr]


def test_the_colour_topic_is_chosen_among_depth_topics(tmp_path: Path) -> None:
    named = write(tmp_path, "named", "mcap", MESSAGES)
    unnamed = [
        image("/a", START_NS, START_NS, np.zeros((4, 4), np.uint16), "16UC1"),
        jpeg("/b", START_NS, jpeg_bytes(colour_pixels(0))),
        image("/c", START_NS, START_NS, np.zeros((4, 4), np.float32), "32FC1"),
    ]
    with Recording(named) as recording:
        assert recording.image_topic(None).name == COLOUR
        assert recording.image_topic(DEPTH).name == DEPTH
    with Recording(write(tmp_path, "unnamed", "mcap", unnamed)) as recording:
        assert recording.image_topic(None).name == "/b"


def test_two_cameras_must_be_chosen_from(tmp_path: Path) -> None:
    messages = [image(name, START_NS, START_NS, colour_pixels(0), "rgb8") for name in ("/left", "/right")]
    with Recording(write(tmp_path, "drive", "db3", messages)) as recording:
        with pytest.raises(UsageError, match=r"several cameras.*/left.*/right"):
            recording.image_topic(None)
        assert recording.image_topic("/left") == Topic("/left", "sensor_msgs/msg/Image", 1)


def test_recordings_are_found_by_stem_and_a_folder_counts_once(tmp_path: Path) -> None:
    one = MESSAGES[:5]
    folder = write(tmp_path, "folder", "mcap", one)
    bag = write(tmp_path, "classic", "bag", one)
    (tmp_path / "deeper").mkdir()
    bare = shutil.copy(folder / "folder.mcap", tmp_path / "deeper" / "bare.mcap")
    unlisted = tmp_path / "unlisted"
    unlisted.mkdir()
    shutil.copy(folder / "folder.mcap", unlisted / "unlisted_0.mcap")
    (tmp_path / ".hidden.partial.mcap").write_bytes(b"")
    assert find_recordings(tmp_path) == {"folder": folder, "classic": bag, "bare": bare, "unlisted": unlisted}
    assert find_recordings(folder) == {"folder": folder}


@pytest.mark.parametrize(
    ("path", "topic", "kind", "count"),
    [
        ("camvid/camvid-0001TP", "/camera/color/image_raw", "Image", 62),
        ("camvid/camvid-0006R0.bag", "/camera/color/image_raw/compressed", "CompressedImage", 101),
        ("camvid/camvid-0016E5", "/camera/color/image_raw/compressed", "CompressedImage", 204),
        ("camvid/camvid-0016E5-val", "/camera/color/image_raw/compressed", "CompressedImage", 101),
        ("recordings/aruco-ros1-compressed.bag", "/raspicam_node/image/compressed", "CompressedImage", 1),
    ],
)
def test_real_recordings_hold_what_their_readme_says(path: str, topic: str, kind: str, count: int) -> None:
    if not (DATA / path).exists():
        pytest.skip(f"the real recordings are not at {DATA}; set MAYHEM_DATA to where they are")
    with Recording(DATA / path) as recording:
        assert recording.image_topic(None) == Topic(topic, f"sensor_msgs/msg/{kind}", count)
        shape = (960, 1280, 3) if "aruco" in path else (360, 480, 3)
        assert recording.read_image(topic, count - 1).shape == shape
        assert len(list(recording.frames(topic))) == count
        with AnyReader([DATA / path]) as reader:
            data = [(time, raw) for connection, time, raw in reader.messages() if connection.topic == topic]
            assert [time for time, _ in data] == [m.log_time_ns for m in recording.messages([topic])]
            if reader.is2:
                assert [raw for _, raw in data] == [m.cdr for m in recording.messages([topic])]


_recordings: list[Recording] = []
_numbers: list[PerProcess[int]] = []


def _bytes_read() -> int:
    """Bytes that this process has read by system calls so far."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def _keep_recordings(recordings: list[Recording]) -> None:
    _recordings.extend(recordings)


def _digest(job: tuple[int, int]) -> str:
    number, index = job
    return hashlib.sha256(_recordings[number].read_image(COLOUR, index).tobytes()).hexdigest()


def _keep_handle(handle: PerProcess[int]) -> None:
    _numbers.append(handle)


def _handle() -> int:
    return _numbers[0].get()
