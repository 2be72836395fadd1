"""A flawed image is answered, said once and counted; a damaged one as the parameter says; a huge one never."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import Log
from robot_peer import RELIABLE, Peer, count_of, end_node, picture, start_node, statuses
from robot_small_model import save_model
from sensor_msgs.msg import CompressedImage, Image

WHOLE = cv2.imencode(".jpg", picture(1, 120, 160))[1].tobytes()
NO_END = WHOLE[:-2]
DAMAGED = WHOLE[: len(WHOLE) // 2] + bytes(20) + WHOLE[len(WHOLE) // 2 + 50 :]
HUGE = cv2.imencode(".jpg", picture(1, 200, 200))[1].tobytes()


class Camera:
    """A camera of JPEG images before one node."""

    def __init__(self, peer: Peer, process: subprocess.Popen[str]) -> None:
        self.peer = peer
        self.process = process
        self.publisher = peer.node.create_publisher(CompressedImage, "/cam/compressed", RELIABLE)
        self.masks = peer.collect(Image, "/perception/segmentation/mask")
        self.diagnostics = peer.collect(DiagnosticArray, "/diagnostics")
        self.log = peer.collect(Log, "/rosout")
        peer.until_answered(self.publisher, CompressedImage(format="jpeg", data=WHOLE), self.masks)

    def answers(self, data: bytes, times: int = 1) -> list[Any]:
        for _ in range(times):
            self.peer.exchange(self.publisher, CompressedImage(format="jpeg", data=data), self.masks)
        return self.masks

    def status(self, key: str, count: int) -> DiagnosticStatus:
        def found() -> list[DiagnosticStatus]:
            reports = statuses(self.diagnostics, "/cam/compressed")
            return [status for status in reports if count_of(status, key) == count]

        return self.peer.wait(found, f"{count} {key}", self.process)[0]


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Camera]:
    process = start_node(
        model_path=save_model(Path(tmp_path_factory.mktemp("model")) / "small.onnx"),
        image_topics="[/cam/compressed]",
        reliability="reliable",
        frame_policy="every",
        max_pixels=160 * 120,
        autostart="true",
    )
    peer = Peer()
    try:
        yield Camera(peer, process)
    finally:
        peer.close()
        end_node(process)


def test_flawed_and_damaged_images_are_answered_said_once_and_counted(camera: Camera) -> None:
    camera.answers(NO_END, 3)
    camera.answers(DAMAGED, 2)
    status = camera.status("flawed", 5)
    assert count_of(status, "failed") == 0
    (said,) = [entry.msg for entry in camera.log if "flawed" in entry.msg]
    assert said == (
        "/cam/compressed: an image is flawed, but was decoded (its end marker is missing); the diagnostics count such "
        "images"
    )


def test_damaged_images_are_refused_where_the_parameter_says_so(camera: Camera) -> None:
    assert camera.peer.set_parameter("damaged_images", "refuse").successful
    camera.publisher.publish(CompressedImage(format="jpeg", data=DAMAGED))
    status = camera.status("failed", 1)
    assert "The image is damaged (Corrupt JPEG data" in status.message
    assert "and damaged_images is refuse." in status.message
    camera.answers(NO_END)  # no pixel of it is wrong
    assert not camera.peer.set_parameter("damaged_images", "sometimes").successful


def test_images_beyond_max_pixels_are_refused(camera: Camera) -> None:
    camera.publisher.publish(CompressedImage(format="jpeg", data=HUGE))
    assert "is 200x200 pixels, more than the 19200 that are decoded at most" in camera.status("failed", 2).message
    camera.answers(WHOLE)
