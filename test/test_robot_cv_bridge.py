"""Wherever ROS 2's cv_bridge can be imported, its conversions of raw images and ours are equal to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from mayhem_ros.image_decoding import decode_image

cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge is not installed (ros-<distribution>-cv-bridge)")
sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="ROS 2's messages are not installed")

CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "mono": 1}
ENCODINGS = [
    *(f"{name}{bits}" for name in CHANNELS for bits in (8, 16)),
    *(f"bayer_{pattern}{bits}" for pattern in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16)),
    "yuv422",
    "yuv422_yuy2",
]


@pytest.fixture(scope="module")
def bridge():
    if not hasattr(cv_bridge, "getCvType"):
        pytest.skip("this cv_bridge is ROS 1's, in Python alone")
    return cv_bridge.CvBridge()


@pytest.mark.parametrize("padding", [0, 24])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_raw_images_are_converted_as_by_cv_bridge(bridge, encoding: str, padding: int) -> None:
    height, width = 48, 64
    is_yuv = encoding.startswith("yuv")
    bits = 8 if is_yuv or not encoding.endswith("16") else 16
    channels = 2 if is_yuv else CHANNELS.get(encoding.rstrip("0123456789"), 1)
    samples = np.random.default_rng(1).integers(0, 2**bits, (height, width * channels), np.uint16)
    rows = np.frombuffer(samples.astype(f"<u{bits // 8}").tobytes(), np.uint8).reshape(height, -1)
    rows = np.concatenate([rows, np.full((height, padding), 0xAB, np.uint8)], axis=1)
    image = sensor_msgs.Image(height=height, width=width, encoding=encoding, step=rows.shape[1], data=rows.tobytes())
    np.testing.assert_array_equal(decode_image(image), bridge.imgmsg_to_cv2(image, "rgb8"))
