"""The node decodes a camera's video as it comes: every packet counts, also those whose picture nobody waits for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import video_recordings as video
from diagnostic_msgs.msg import DiagnosticArray
from robot_peer import RELIABLE, Peer, count_of, end_node, start_node, statuses
from robot_small_model import expected_mask, save_model
from sensor_msgs.msg import CompressedImage, Image
from video_recordings import encode, error, scene

from mayhem_ros.errors import MayhemError
from mayhem_ros.live_video import LivePicture, LiveVideo


def message(data: bytes, number: int = 0, said: str = "h264") -> Any:
    return SimpleNamespace(header=number, format=said, data=np.frombuffer(data, np.uint8))


def shown(live: LiveVideo, packets: list[bytes], said: str = "h264") -> dict[int, LivePicture]:
    """The pictures by the number of the message that they came in."""
    return {
        picture.header: picture
        for number, data in enumerate(packets)
        for picture in live.open(message(data, number, said))
    }


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("lengths", [False, True])
def test_pictures_come_at_once_under_their_own_headers(codec: str, lengths: bool) -> None:
    live = LiveVideo()
    for number, (_, data) in enumerate(encode(codec)):
        (picture,) = live.open(message(video.with_lengths(data) if lengths else data, number, codec))
        assert picture.header == number
        assert error(picture.decoded().pixels, scene(number)) < 3
        assert picture.decoded().flaws == ()


def test_reordered_pictures_come_later_under_their_own_headers() -> None:
    packets = encode("h264", 20, 10, b_frames=2, options={"x264-params": "bframes=2"})
    found = shown(LiveVideo(), [data for _, data in packets])
    assert len(found) > 15
    for index, picture in found.items():
        assert error(picture.decoded().pixels, scene(packets[index][0])) < 3


def test_who_comes_in_the_middle_waits_for_the_next_key_frame() -> None:
    packets = [data for _, data in encode()]
    found = shown(LiveVideo(), packets[2:])
    for index in range(3):
        with pytest.raises(MayhemError, match=r"The H\.264 video cannot be decoded before its next key frame\."):
            found[index].decoded()
    assert error(found[3].decoded().pixels, scene(5)) < 3


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_after_a_lost_packet_pictures_are_damaged_until_the_next_key_frame(codec: str) -> None:
    packets = [data for _, data in encode(codec)]
    found = shown(LiveVideo(), [*packets[:2], *packets[3:]], codec)
    assert [index for index, picture in found.items() if picture.decoded().is_damaged] == [2, 3]


def test_rubbish_fails_alone_and_taints_what_builds_on_it() -> None:
    packets = [data for _, data in encode()]
    packets[2] = b"rubbish"
    found = shown(LiveVideo(), packets)
    with pytest.raises(MayhemError, match=r"The H\.264 packet of 7 bytes holds no picture\."):
        found[2].decoded()
    assert [index for index in (0, 1, 3, 4, 5, 6) if found[index].decoded().is_damaged] == [3, 4]


@pytest.mark.parametrize("b_frames", [0, 2])
def test_every_message_comes_out_once_whatever_is_damaged(b_frames: int) -> None:
    options = {"x264-params": f"bframes={b_frames}"}
    packets = [data for _, data in encode("h264", 80, 10, b_frames=b_frames, options=options)]
    for place, data in ((3, b""), (5, b"\0\0\0\1"), (7, packets[7][:20]), (12, packets[12][:-9]), (20, packets[41])):
        packets[place] = data
    live = LiveVideo()
    headers = [picture.header for number, data in enumerate(packets) for picture in live.open(message(data, number))]
    assert len(headers) == len(set(headers))
    assert set(range(40)) <= set(headers)


def test_other_messages_pass_as_they_are() -> None:
    jpeg = message(video.jpeg(scene(0)), said="jpeg")
    assert LiveVideo().open(jpeg) == [jpeg]
    raw = SimpleNamespace(header=0, encoding="rgb8", data=b"")
    assert LiveVideo().open(raw) == [raw]


def test_the_node_answers_a_video_camera(tmp_path: Path) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[24:, :, 0] = 200
    packets = [data for _, data in encode(pictures=[picture] * 300, key_distance=10)]
    model = save_model(tmp_path / "small.onnx")
    peer = Peer()
    process = start_node(
        model_path=model, autostart=True, image_topics="['/cam/h264']", image_type="compressed", reliability="reliable"
    )
    try:
        publisher = peer.node.create_publisher(CompressedImage, "/cam/h264", RELIABLE)
        masks = peer.collect(Image, "/perception/segmentation/mask")
        diagnostics = peer.collect(DiagnosticArray, "/diagnostics")
        sent = iter(packets)
        headers = []

        def answered() -> bool:
            header = peer.header()
            headers.append(header)
            publisher.publish(CompressedImage(header=header, format="h264", data=next(sent)))
            peer.executor.spin_once(timeout_sec=0.1)
            return len(masks) > 3

        peer.wait(answered, "pictures of the video answered", process)
        assert masks[-1].header in headers
        mask = np.frombuffer(masks[-1].data, np.uint8).reshape(48, 64)
        assert (mask != expected_mask(picture)).mean() < 0.05
        publisher.publish(CompressedImage(header=peer.header(), format="h264", data=b"rubbish"))

        def failed() -> bool:
            return any("holds no picture" in status.message for status in statuses(diagnostics, "/cam/h264"))

        peer.wait(failed, "the failure counted", process)
        last = statuses(diagnostics, "/cam/h264")[-1]
        assert count_of(last, "frames in") >= count_of(last, "processed") + count_of(last, "failed")
    finally:
        output = end_node(process)
        peer.close()
    assert "/cam/h264" in output
