"""A frame's size is read from the head of its message, equal to that of its pixels in every format of recording."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings_writing import FORMATS, Written, image, jpeg, jpeg_bytes, write

from mayhem_train.recordings.image_sizes import size_in_head
from mayhem_train.recordings.recording import Recording

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
SMALL, LARGE = np.zeros((48, 64, 3), np.uint8), np.zeros((96, 130, 3), np.uint8)


def png_bytes(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def head(message: Written) -> bytes:
    return message.cdr[:200]


@pytest.mark.parametrize("format_", FORMATS)
def test_every_frame_has_a_size_of_its_own(tmp_path: Path, format_: str) -> None:
    raw = [image("/raw", 10**9 * i, 0, pixels, "rgb8") for i, pixels in enumerate((SMALL, LARGE))]
    packed = [
        jpeg("/packed", 10**9 * i, data)
        for i, data in enumerate((jpeg_bytes(LARGE), png_bytes(SMALL), b"GIF89a", jpeg_bytes(SMALL)))
    ]
    path = write(tmp_path, "drive", format_, [*raw, *packed])
    with Recording(path) as recording:
        assert [recording.image_size("/raw", i) for i in (0, 1)] == [(64, 48), (130, 96)]
        assert [recording.image_size("/packed", i) for i in (0, 1, 3)] == [(130, 96), (64, 48), (64, 48)]


def test_nothing_is_decoded_where_the_head_says_it() -> None:
    assert size_in_head(IMAGE, "cdr", head(image("/a", 1, 1, LARGE, "bgr8"))) == (130, 96)
    assert size_in_head(COMPRESSED, "cdr", head(jpeg("/a", 1, png_bytes(LARGE)))) == (130, 96)


def test_a_head_that_does_not_say_it_leaves_it_to_decoding() -> None:
    message = image("/a", 1, 1, LARGE, "rgb8").cdr
    assert size_in_head(IMAGE, "cdr", message[:20]) is None
    assert size_in_head(IMAGE, "cdr", b"") is None
    assert size_in_head(IMAGE, "cdr", image("/a", 1, 1, SMALL[:0], "rgb8").cdr) is None
    assert size_in_head(IMAGE, "cdr", image("/a", 1, 1, SMALL, "i420").cdr) is None  # rows are counted in several ways
    assert size_in_head(COMPRESSED, "cdr", jpeg("/a", 1, jpeg_bytes(SMALL)[:30]).cdr) is None
    assert size_in_head(COMPRESSED, "cdr", jpeg("/a", 1, b"\0\0\0\x01\x67").cdr) is None
