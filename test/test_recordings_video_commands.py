"""What commands make of a video camera: the same as of any other, and what is wrong with it is counted and named."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import video_recordings as video
from video_recordings import COMPRESSED_VIDEO, FFMPEG_PACKET, HEIGHT, ROS2, TOPIC, WIDTH, encode, error, record, scene

from mayhem_train.cli import main
from mayhem_train.recordings import index_cache
from mayhem_train.recordings.recording import IMAGE, Recording
from mayhem_train.recordings.video.raw_images import raw_images


def lossy(path: Path, kind: str = video.COMPRESSED_IMAGE) -> Path:
    """Key frames are pictures 0, 5 and 10; the packets of 0, 1 and 7 are lost, the one of 11 is empty."""
    packets = [data for _, data in encode(frames=14)]
    packets[11] = b""
    return record(path, [packets[index] for index in range(14) if index not in (0, 1, 7)], kind, "h264")


def inspect(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict]:
    code = main(["inspect", str(path), "--json", *options])
    (report,) = json.loads(capsys.readouterr().out)
    return code, report


@pytest.mark.parametrize("kind", [video.COMPRESSED_IMAGE, FFMPEG_PACKET, COMPRESSED_VIDEO])
def test_inspect_shows_size_codec_key_frame_distance_and_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = record(tmp_path / "drive", [data for _, data in encode(frames=13)], kind, "h264")
    code, report = inspect(path, capsys)
    (topic,) = report["topics"]
    assert code == 0
    assert report["problems"] == []
    assert (topic["width"], topic["height"], topic["encoding"], topic["key_distance"]) == (WIDTH, HEIGHT, "h264", 5)
    assert (topic["rate_hz"], topic["duplicated_stamps"]) == (10.0, 0)
    assert main(["inspect", str(path)]) == 0
    assert (topic["codec"], topic["key_frames"]) == ("H.264", 3)
    assert f"{WIDTH}x{HEIGHT} H.264 (h264)" in capsys.readouterr().out


def test_inspect_counts_what_cannot_be_decoded_or_is_not_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lossy(tmp_path / "drive")
    where = f"on {TOPIC} of {path}"
    _, report = inspect(path, capsys)
    assert [problem for problem in report["problems"] if not problem.startswith("Message ")] == [
        f"3 packets {where} cannot be decoded: the pictures they build on were not recorded.",
        f"1 of 11 messages {where} holds no picture of the video.",
        f"Packets are missing at 2 places {where}: pictures from there to the next key frame are flawed.",
    ]


def test_verify_counts_damaged_and_flawed_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = lossy(tmp_path / "drive")
    code, report = inspect(path, capsys, "--verify")
    assert code == 1
    assert report["verification"]["images"] == 7
    assert report["verification"]["damaged"] == {TOPIC: 4}
    assert report["verification"]["flawed"] == {TOPIC: 4}  # 8 and 9 after the lost 7, 12 and 13 after the empty 11


def test_prune_decodes_every_packet_once_and_names_flawed_and_undecodable_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mayhem_ros.video_decoder import VideoDecoder

    decoded: list[int] = []
    decode = VideoDecoder.decode
    monkeypatch.setattr(
        VideoDecoder, "decode", lambda self, number, data: decoded.append(number) or decode(self, number, data)
    )
    path = lossy(tmp_path / "drive")
    assert main(["prune", str(path), "--out", str(tmp_path / "kept.json"), "--limit", "1"]) == 0
    rows = json.loads((tmp_path / "kept.json").read_text())["frames"]
    assert [row["index"] for row in rows if (row["reason"] or "").startswith("cannot be decoded")] == [0, 1, 2, 8]
    assert [row["index"] for row in rows if row["flaw"]] == [5, 6, 9, 10]
    assert decoded == [3, 4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("workers", ["1", "3"])
@pytest.mark.parametrize("kind", [FFMPEG_PACKET, COMPRESSED_VIDEO])
def test_ingest_writes_the_decoded_pictures(tmp_path: Path, kind: str, workers: str) -> None:
    path = lossy(tmp_path / "drive", kind)
    assert main(["ingest", str(path), "--out", str(tmp_path / "out"), "--workers", workers]) == 0
    files = sorted((tmp_path / "out" / "drive" / "colour").rglob("*.png"))
    assert [int(file.stem.rpartition("-")[2]) for file in files] == [3, 4, 5, 6, 7, 9, 10]
    picture = cv2.imread(str(files[0]))
    assert picture is not None
    assert error(picture[..., ::-1], scene(5)) < 3
    report = json.loads((tmp_path / "out" / "drive" / "ingest.json").read_text())
    assert json.dumps(report).count('"flawed": 4') == 1


def test_what_packets_hold_is_looked_at_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = video.recorded(tmp_path / "drive")
    with Recording(path) as recording:
        expected = recording.read_image(TOPIC, 9)
    monkeypatch.setattr("mayhem_train.recordings.recording.packet_contents", None)
    with Recording(path) as recording:
        assert np.array_equal(recording.read_image(TOPIC, 9), expected)
    assert index_cache._FORMAT == 3  # what older versions keep of a recording is unchanged


def test_a_video_is_played_as_raw_images_with_its_headers(tmp_path: Path) -> None:
    path = lossy(tmp_path / "drive", COMPRESSED_VIDEO)
    with Recording(path) as recording:
        messages = list(raw_images(recording, TOPIC))
        images = [ROS2.deserialize_cdr(message.cdr, IMAGE) for message in messages]
        assert [message.type for message in messages] == [IMAGE] * 11
        assert [message.log_time_ns for message in messages] == recording.log_times_ns(TOPIC).tolist()
        for index, image in enumerate(images):
            stamp_ns = image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
            assert (image.header.frame_id, stamp_ns) == ("camera", recording.frame(TOPIC, index).stamp_ns)
        assert [index for index, image in enumerate(images) if not image.height] == [0, 1, 2, 8]
        picture = images[4].data.reshape(images[4].height, images[4].width, 3)
        assert images[4].encoding == "rgb8"
        assert np.array_equal(picture, recording.read_image(TOPIC, 4))
