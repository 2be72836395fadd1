"""A recorded video as the raw images that its camera saw, serialised as ROS 2 does it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.failing_disk import is_of_the_disk
from mayhem_train.recordings.recording import IMAGE, RecordedMessage, Recording
from mayhem_train.recordings.video.video_picture import header_of

_LITTLE_ENDIAN = b"\0\1\0\0"  # CDR's encapsulation
_NOTHING = np.zeros((0, 0, 3), np.uint8)


def raw_images(recording: Recording, topic: str) -> Iterator[RecordedMessage]:
    """Every message of the topic as a `sensor_msgs/Image` of rgb8 with the same header, in the order of log time.

    One whose picture cannot be decoded becomes an image without pixels, which no receiver can decode either.

    Raises:
        UsageError: there is no such topic.
        MayhemError: a message has no readable header.
    """
    for _, index in recording.places([topic]):
        message = recording.read_message(topic, index)
        try:
            pixels = recording.read_image(topic, index)
        except MayhemError as error:
            if is_of_the_disk(error):
                raise
            pixels = _NOTHING
        with recording.naming(topic, index):
            cdr = image_cdr(header_of(message), pixels)
        yield RecordedMessage(topic, IMAGE, index, int(recording.log_times_ns(topic)[index]), cdr)


def image_cdr(header: Any, pixels: NDArray[np.uint8]) -> bytes:
    """A `sensor_msgs/Image` of uint8 [H, W, 3] RGB."""
    height, width = pixels.shape[:2]
    seconds = header.stamp.sec & 0xFFFFFFFF
    body = struct.pack("<II", seconds, header.stamp.nanosec) + _string(header.frame_id)
    body += bytes(-len(body) % 4) + struct.pack("<II", height, width) + _string("rgb8") + b"\0"
    body += bytes(-len(body) % 4) + struct.pack("<II", 3 * width, pixels.size)
    return _LITTLE_ENDIAN + body + pixels.tobytes()


def _string(text: str) -> bytes:
    data = text.encode() + b"\0"
    return struct.pack("<I", len(data)) + data
