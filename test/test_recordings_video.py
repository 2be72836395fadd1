"""Video cameras are read as any other: every codec and message type, any frame by its place, faults by their names."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import video_recordings as video
from video_recordings import COMPRESSED_IMAGE, COMPRESSED_VIDEO, FFMPEG_PACKET, TOPIC, encode, error, record, scene

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.recording import Recording

CLOSE = 3.0
"""The most that encoding changes a sample in the mean; to another frame of the scene it is 5 and more."""


def read(recording: Recording, index: int) -> np.ndarray:
    return recording.read_image(TOPIC, index)


@pytest.mark.parametrize(
    ("kind", "said", "codec"),
    [
        (COMPRESSED_IMAGE, "h264", "h264"),
        (COMPRESSED_IMAGE, "H264", "h264"),
        (COMPRESSED_IMAGE, "h264; yuv420p", "h264"),
        (COMPRESSED_IMAGE, "video/avc", "h264"),
        (COMPRESSED_IMAGE, "avc1.42e01e", "h264"),
        (COMPRESSED_IMAGE, "", "h264"),
        (COMPRESSED_IMAGE, "hevc", "hevc"),
        (COMPRESSED_IMAGE, "h265", "hevc"),
        (COMPRESSED_IMAGE, "", "hevc"),
        (FFMPEG_PACKET, "libx264", "h264"),
        (FFMPEG_PACKET, "h264;yuv420p;bgr8;bgr8", "h264"),
        (FFMPEG_PACKET, "hevc_nvenc", "hevc"),
        (FFMPEG_PACKET, "av1", "av1"),
        (FFMPEG_PACKET, "libvpx", "vp8"),
        (FFMPEG_PACKET, "mjpeg", "mjpeg"),
        (FFMPEG_PACKET, "libsvtav1", "av1"),
        (COMPRESSED_VIDEO, "h264", "h264"),
        (COMPRESSED_VIDEO, "h265", "hevc"),
        (COMPRESSED_VIDEO, "vp9", "vp9"),
        (COMPRESSED_VIDEO, "av1", "av1"),
    ],
)
def test_a_video_is_read_as_any_camera(tmp_path: Path, kind: str, said: str, codec: str) -> None:
    packets = encode(codec)
    with Recording(record(tmp_path / "drive", [data for _, data in packets], kind, said)) as recording:
        assert recording.image_topic(None).name == TOPIC
        for index in (7, 0, 11, 3, 4):
            assert error(read(recording, index), scene(index)) < CLOSE
            assert error(read(recording, index), scene(index + 1)) > CLOSE


@pytest.mark.parametrize("form", ["mcap", "db3", "db3 without definitions", "bag"])
@pytest.mark.parametrize("kind", [COMPRESSED_IMAGE, FFMPEG_PACKET, COMPRESSED_VIDEO])
def test_every_format_gives_the_frame_and_its_stamp(tmp_path: Path, form: str, kind: str) -> None:
    packets = [data for _, data in encode(frames=7)]
    with Recording(record(tmp_path / "drive", packets, kind, "h264", form=form)) as recording:
        assert error(read(recording, 6), scene(6)) < CLOSE
        assert recording.frame(TOPIC, 6).stamp_ns == video.START_NS + 6 * video.PERIOD_NS - 5_000_000


def test_a_frame_is_the_same_in_order_at_random_and_in_another_process(tmp_path: Path) -> None:
    path = video.recorded(tmp_path / "drive", frames=12)
    with Recording(path) as recording:
        in_order = [read(recording, index) for index in range(12)]
        copy = pickle.loads(pickle.dumps(recording))
        for index in np.random.default_rng(0).permutation(12).tolist():
            assert np.array_equal(read(recording, index), in_order[index])
            assert np.array_equal(read(copy, index), in_order[index])


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("open_gop", [False, True])
def test_with_reordering_a_frame_is_the_picture_of_its_own_packet(tmp_path: Path, codec: str, open_gop: bool) -> None:
    name = "x264-params" if codec == "h264" else "x265-params"
    options = {name: f"open-gop={int(open_gop)}:bframes=2:ref=1"}
    packets = encode(codec, 24, 8, b_frames=2, options=options)
    assert [number for number, _ in packets] != sorted(number for number, _ in packets)
    with Recording(record(tmp_path / "drive", [data for _, data in packets], said=codec)) as recording:
        in_order = [read(recording, index) for index in range(24)]
        for index, (number, _) in enumerate(packets):
            assert error(in_order[index], scene(number)) < CLOSE
        for index in np.random.default_rng(0).permutation(24).tolist():
            assert np.array_equal(read(recording, index), in_order[index])


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("matrix", [5, 1], ids=["BT.601", "BT.709"])
@pytest.mark.parametrize("colour_range", [1, 2], ids=["limited", "full"])
def test_colours_follow_the_matrix_and_range_that_the_stream_names(
    tmp_path: Path, codec: str, matrix: int, colour_range: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = video.recorded(tmp_path / "drive", codec, 2, colour=(matrix, colour_range))
    caplog.clear()
    with Recording(path) as recording:
        assert error(read(recording, 1), scene(1)) < CLOSE
    assert caplog.messages == []  # which would be shown for every picture


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_packets_before_the_first_key_frame_are_named_and_all_after_it_are_read(tmp_path: Path, codec: str) -> None:
    packets = [data for _, data in encode(codec)][2:]
    with Recording(record(tmp_path / "drive", packets, said=codec)) as recording:
        for index in range(3):
            with pytest.raises(MayhemError, match=r"before its first key frame, which is message 3\."):
                read(recording, index)
        assert error(read(recording, 9), scene(11)) < CLOSE


def test_a_video_without_a_key_frame_says_so(tmp_path: Path) -> None:
    packets = [data for _, data in encode(key_distance=50)][3:]
    with (
        Recording(record(tmp_path / "drive", packets)) as recording,
        pytest.raises(MayhemError, match=r"The H\.264 video has no key frame, from which alone it could be decoded\."),
    ):
        read(recording, 4)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("apart", [False, True], ids=["in the first key frame", "in messages of their own"])
def test_parameter_sets_that_come_only_once_are_found(tmp_path: Path, codec: str, apart: bool) -> None:
    parameters, packets = without_parameters(codec)
    packets = [*parameters, *packets] if apart else [video.joined(map_units(parameters)) + packets[0], *packets[1:]]
    shift = len(parameters) if apart else 0
    with Recording(record(tmp_path / "drive", packets, said=codec)) as recording:
        for index in (7, 11, 2):
            assert error(read(recording, index + shift), scene(index)) < CLOSE
        if apart:
            with pytest.raises(MayhemError, match=r"packet of \d+ bytes holds no picture\."):
                read(recording, 1)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_units_with_lengths_in_place_of_start_codes_are_read(tmp_path: Path, codec: str) -> None:
    packets = [video.with_lengths(data) for _, data in encode(codec)]
    with Recording(record(tmp_path / "drive", packets, said=codec)) as recording:
        for index in (7, 0, 11):
            assert error(read(recording, index), scene(index)) < CLOSE


def test_a_decoder_configuration_record_gives_the_parameter_sets(tmp_path: Path) -> None:
    (sequence, picture), packets = without_parameters("h264")
    sequence, picture = video.units(sequence)[0], video.units(picture)[0]
    record_bytes = bytes([1, *sequence[1:4], 0xFF, 0xE1]) + sized(sequence) + b"\1" + sized(picture)
    packets = [record_bytes, *map(video.with_lengths, packets)]
    with Recording(record(tmp_path / "drive", packets)) as recording:
        assert error(read(recording, 8), scene(7)) < CLOSE


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_after_a_lost_packet_frames_are_read_as_flawed_until_the_next_key_frame(tmp_path: Path, codec: str) -> None:
    packets = [data for _, data in encode(codec)]
    del packets[2]
    with Recording(record(tmp_path / "drive", packets, said=codec)) as recording:
        flawed = [index for index in range(11) if flaws(recording, index)]
        assert flawed == [2, 3]
        assert flaws(recording, 3) == flaws(recording, 3)
        assert error(read(recording, 4), scene(5)) < CLOSE


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_a_message_of_rubbish_is_unreadable_and_taints_what_builds_on_it(tmp_path: Path, codec: str) -> None:
    packets = [data for _, data in encode(codec)]
    packets[6] = np.random.default_rng(0).bytes(300)
    with Recording(record(tmp_path / "drive", packets, said=codec)) as recording:
        with pytest.raises(MayhemError, match=r"Message 6 .* packet of 300 bytes holds no picture\."):
            read(recording, 6)
        assert [index for index in (0, 5, 7, 8, 9, 10, 11) if flaws(recording, index)] == [7, 8, 9]


def test_a_packet_cut_short_is_read_as_flawed(tmp_path: Path) -> None:
    packets = [data for _, data in encode()]
    packets[6] = packets[6][: len(packets[6]) // 2]
    with Recording(record(tmp_path / "drive", packets)) as recording:
        found = {index: flaws(recording, index) for index in range(5, 11)}
    assert "error while decoding" in found[6][0]
    assert found[7][0].startswith("message 6, on which it builds, is damaged (error while decoding")
    assert not found[5] and not found[10]


def test_empty_messages_and_pictures_among_the_packets_take_nothing_from_the_others(tmp_path: Path) -> None:
    packets = [data for _, data in encode(frames=6, key_distance=3)]
    jpeg = video.jpeg(scene(9))
    with Recording(record(tmp_path / "drive", [*packets[:3], b"", jpeg, *packets[3:]])) as recording:
        with pytest.raises(MayhemError, match=r"H\.264 packet of 0 bytes holds no picture\."):
            read(recording, 3)
        assert error(read(recording, 4), scene(9)) < CLOSE
        assert error(read(recording, 7), scene(5)) < CLOSE


def test_sizes_go_with_the_pictures_and_are_known_from_their_key_frames(tmp_path: Path) -> None:
    small, large = encode(frames=7), encode(pictures=[scene(index, 180, 240) for index in range(7)])
    with Recording(record(tmp_path / "drive", [data for _, data in [*small, *large]])) as recording:
        assert [recording.image_size(TOPIC, index) for index in (9, 6, 13)] == [(240, 180), (160, 120), (240, 180)]
        assert [read(recording, index).shape for index in (6, 9)] == [(120, 160, 3), (180, 240, 3)]


def test_a_picture_of_an_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mayhem_ros.video_decoder.MAX_PIXELS", 10_000)
    with (
        Recording(video.recorded(tmp_path / "drive", frames=2)) as recording,
        pytest.raises(MayhemError, match=r"cannot be decoded: its pictures have more than 10000 pixels\."),
    ):
        read(recording, 1)


def test_without_pyav_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video.recorded(tmp_path / "drive", frames=2)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with (
        Recording(path) as recording,
        pytest.raises(
            MayhemError, match=r"The images are H\.264 video, which needs PyAV .*: install it with pip install av"
        ),
    ):
        read(recording, 1)


def test_an_unknown_codec_is_named(tmp_path: Path) -> None:
    with (
        Recording(record(tmp_path / "drive", [b"123"], FFMPEG_PACKET, "ffv1;bgr0")) as recording,
        pytest.raises(MayhemError, match=r"The video's codec is 'ffv1', which is none of those that are decoded"),
    ):
        read(recording, 0)


def test_a_stream_that_is_refreshed_bit_by_bit_is_read_from_a_whole_refresh_on(tmp_path: Path) -> None:
    options = {"x264-params": "intra-refresh=1:keyint=10:ref=1"}
    packets = [data for _, data in encode(frames=40, key_distance=10, options=options)]
    with Recording(record(tmp_path / "drive", packets[5:])) as recording:
        readable = [index for index in range(35) if is_readable(recording, index)]
        assert readable == list(range(readable[0], 35))
        assert 5 <= readable[0] <= 16
        in_order = {index: read(recording, index) for index in readable}
        for index in np.random.default_rng(0).permutation(readable).tolist():
            assert error(read(recording, index), scene(index + 5)) < CLOSE
            assert not flaws(recording, index)
            assert error(read(recording, index), in_order[index]) < 0.5


def flaws(recording: Recording, index: int) -> tuple[str, ...]:
    return recording.read_with_flaws(TOPIC, index).flaws


def is_readable(recording: Recording, index: int) -> bool:
    try:
        read(recording, index)
    except MayhemError:
        return False
    return True


def without_parameters(codec: str) -> tuple[list[bytes], list[bytes]]:
    """(parameter sets, packets without them) of twelve frames with key frames at 0, 5 and 10."""
    kinds = {"h264": lambda unit: unit[0] & 31 in (7, 8), "hevc": lambda unit: unit[0] >> 1 in (32, 33, 34)}[codec]
    packets = [video.units(data) for _, data in encode(codec)]
    parameters = [video.joined([unit]) for unit in packets[0] if kinds(unit)]
    return parameters, [video.joined([unit for unit in units if not kinds(unit)]) for units in packets]


def map_units(packets: list[bytes]) -> list[bytes]:
    return [unit for packet in packets for unit in video.units(packet)]


def sized(unit: bytes) -> bytes:
    return len(unit).to_bytes(2, "big") + unit
