"""Of two cameras one breaks in every way; the other is answered whole, and each frame is counted once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from numpy.typing import NDArray
from rcl_interfaces.msg import Log
from robot_peer import RELIABLE, Peer, count_of, end_node, image_of, picture, start_node, statuses
from robot_small_model import BOXES, FAULTS, expected_mask, faulty_model
from sensor_msgs.msg import Image
from std_msgs.msg import Header

NO_TIMES = (Time(sec=-5, nanosec=999999999), Time(), Time(sec=2**31 - 1, nanosec=2**32 - 1), Time(sec=-(2**31)))


class Pair:
    """A healthy camera and a broken one before one node; images of one size, so that they share passes."""

    def __init__(self, peer: Peer, process: subprocess.Popen[str]) -> None:
        self.peer = peer
        self.process = process
        self.healthy = peer.node.create_publisher(Image, "/healthy", RELIABLE)
        self.broken = peer.node.create_publisher(Image, "/broken", RELIABLE)
        self.healthy_masks = peer.collect(Image, "/perception/healthy/segmentation/mask")
        self.broken_masks = peer.collect(Image, "/perception/broken/segmentation/mask")
        self.diagnostics = peer.collect(DiagnosticArray, "/diagnostics")
        self.log = peer.collect(Log, "/rosout")
        for publisher, masks in ((self.healthy, self.healthy_masks), (self.broken, self.broken_masks)):
            peer.until_answered(publisher, image_of(seen(0, 1)), masks)
        peer.wait(lambda: statuses(self.diagnostics, "/broken"), "the first report", process)

    def send(self, images: list[Image]) -> None:
        """Publishes the broken camera's images, each beside a healthy one, and waits for the healthy one's masks."""
        self.healthy_masks.clear()
        self.broken_masks.clear()
        sent = []
        for image in images:
            healthy = image_of(seen(0, 2))
            healthy.header = self.peer.header()
            self.broken.publish(image)
            self.healthy.publish(healthy)
            sent.append(healthy.header)
        self.peer.wait(lambda: len(self.healthy_masks) >= len(sent), "the healthy camera's masks", self.process)
        assert [mask.header for mask in self.healthy_masks] == sent

    def status(self, camera: str, condition: Callable[[DiagnosticStatus], bool]) -> DiagnosticStatus:
        """The camera's first report of which the condition holds."""

        def found() -> list[DiagnosticStatus]:
            return [status for status in statuses(self.diagnostics, camera) if condition(status)]

        return self.peer.wait(found, f"a report of {camera}", self.process)[0]

    def failed(self, camera: str = "/broken") -> int:
        return count_of(statuses(self.diagnostics, camera)[-1], "failed")


def seen(fault: int, count: int) -> NDArray[np.uint8]:
    """A picture of which the faulty model says that fault and that count."""
    pixels = picture(count)
    pixels[0, 0, 0] = fault
    return pixels


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    process = start_node(
        model_path=faulty_model(tmp_path_factory.mktemp("model") / "faulty.onnx"),
        image_topics="[/healthy, /broken]",
        reliability="reliable",
        frame_policy="every",
        queue_depth=100,
        autostart="true",
    )
    peer = Peer()
    try:
        yield Pair(peer, process)
    finally:
        peer.close()
        end_node(process)


def stamped(pixels: NDArray[np.uint8], stamp: Time) -> Image:
    image = image_of(pixels)
    image.header = Header(stamp=stamp, frame_id="broken")
    return image


def test_stamps_that_are_no_time_are_answered_like_others_and_harm_nobody(pair: Pair) -> None:
    images = [stamped(seen(0, k % 4), NO_TIMES[k % len(NO_TIMES)]) for k in range(40)]
    before = pair.failed()
    pair.send(images)
    pair.peer.wait(lambda: len(pair.broken_masks) >= len(images), "the broken camera's masks", pair.process)
    assert [mask.header for mask in pair.broken_masks] == [image.header for image in images]
    assert pair.status("/broken", lambda status: count_of(status, "processed") >= 40).level == DiagnosticStatus.OK
    assert pair.failed() == before


@pytest.mark.parametrize(
    ("fault", "count", "reason"),
    [
        ("NaN box", 1, "the box [1.0, nan, 11.0, 22.0]"),
        ("infinite box", 1, "the box [1.0, 2.0, inf, 22.0]"),
        ("NaN score", 1, "the score nan"),
        ("score 87", 1, "the score 87"),
        ("label 9", 1, "the detection class 9, but its card knows 1 person, 2 agv, 3 box"),
        ("label -1", 1, "the detection class -1, but its card knows 1 person, 2 agv, 3 box"),
        ("surface 7", 1, "the segmentation class 7, but its card knows 0 background, 1 floor"),
        ("none", len(BOXES) + 1, "the count 5 for 4 boxes"),
        ("none", 255, "the count 255 for 4 boxes"),
    ],
)
def test_a_frame_of_which_the_model_says_nonsense_is_refused_by_name(
    pair: Pair, fault: str, count: int, reason: str
) -> None:
    before = pair.failed()
    pair.send([image_of(seen(FAULTS.index(fault), count))] * 5)
    status = pair.status("/broken", lambda status: count_of(status, "failed") == before + 5)
    assert f"faulty.onnx gave {reason}" in status.message
    assert pair.broken_masks == []


def test_a_frame_that_fails_the_whole_pass_fails_alone(pair: Pair) -> None:
    before = pair.failed()
    pair.send([image_of(seen(len(FAULTS), 1))] * 20)
    status = pair.status("/broken", lambda status: count_of(status, "failed") == before + 20)
    assert "faulty.onnx failed on 1 images of 22x15 pixels" in status.message
    assert pair.broken_masks == []


def test_of_two_broken_cameras_both_are_named(pair: Pair) -> None:
    before = {"/broken": pair.failed("/broken"), "/healthy": pair.failed("/healthy")}
    for camera, publisher in (("/broken", pair.broken), ("/healthy", pair.healthy)):
        for second in range(70, 75):
            image = image_of(seen(0, 1), "h264")
            image.header = Header(stamp=Time(sec=second, nanosec=5))
            publisher.publish(image)
        pair.status(camera, lambda status, camera=camera: count_of(status, "failed") == before[camera] + 5)

    def said() -> list[str]:
        return [entry.msg for entry in pair.log if "'h264'" in entry.msg]

    pair.peer.wait(lambda: len(said()) >= 2, "both warnings", pair.process)
    assert [sentence.partition(":")[0] for sentence in said()] == [
        "/broken, frame 70.000000005",
        "/healthy, frame 70.000000005",
    ]


def test_every_frame_is_counted_once(pair: Pair) -> None:
    pair.send([image_of(seen(k % 3, 1)) for k in range(30)])
    for camera in ("/healthy", "/broken"):
        status = pair.status(camera, lambda status: count_of(status, "waiting") == 0 and count_of(status, "failed") > 0)
        counts = [count_of(status, key) for key in ("processed", "failed", "overtaken")]
        assert count_of(status, "frames in") == sum(counts)


def test_the_next_frame_of_a_broken_camera_is_answered(pair: Pair) -> None:
    sent = image_of(seen(0, 3))
    (mask,) = pair.peer.exchange(pair.broken, sent, pair.broken_masks)
    np.testing.assert_array_equal(np.frombuffer(mask.data, np.uint8).reshape(15, 22), expected_mask(seen(0, 3)))
