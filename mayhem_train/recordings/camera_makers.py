"""Bags that camera makers' own software records: what they say beside ROS's conventions, and where.

RealSense's SDK (librealsense, `src/media/ros`) names a stream's images `/device_0/sensor_0/Depth_0/image/data`. It
records depth as mono16, infrared of 16 bits as 16UC1, and says on an option's topic, in old versions on a sensor's
`property` topic, how many metres one unit of depth is. New versions also append that number to each image, behind what
the message's definition describes, and mark such messages with the frame "1". Orbbec's (`src/media/ros`) names them
`/cam/sensor_<number>/frameType_<number>`, where 3 is depth.
"""

from __future__ import annotations

import re
import struct

import numpy as np

_REALSENSE = re.compile(r"(?P<sensor>/device_\d+/sensor_\d+)/(?P<stream>[^/]+)_\d+/image/data")
_ORBBEC = re.compile(r"/cam/sensor_\d+/frameType_(?P<kind>\d+)")
_ORBBEC_DEPTH = "3"
DEPTH_UNITS = "Depth Units"
"""What RealSense's SDK calls the option."""

INFRARED_16 = "16UC1"
"""How it calls grey of 16 bits, which is depth elsewhere."""

_IMAGE = "sensor_msgs/msg/Image"
_UNIT = struct.Struct("<f")


def is_depth_stream(topic: str) -> bool | None:
    """Whether images of a topic are depth by such a name; None where the topic is called otherwise."""
    if match := _REALSENSE.fullmatch(topic):
        return match["stream"] == "Depth"
    if match := _ORBBEC.fullmatch(topic):
        return match["kind"] == _ORBBEC_DEPTH
    return None


def depth_unit_topics(topic: str) -> tuple[str, ...]:
    """Where RealSense's SDK says what the depth on `topic` is in: Float32 on the first, KeyValue on the second."""
    match = _REALSENSE.fullmatch(topic)
    if match is None:
        return ()
    return f"{match['sensor']}/option/{DEPTH_UNITS}/value", f"{match['sensor']}/property"


def split_depth_unit(name: str, data: bytes) -> tuple[memoryview, float | None]:
    """A ROS 1 message of type `name` as its definition describes it, and the metres of one unit behind it, if any."""
    whole = memoryview(data)
    if name != _IMAGE or data[12:17] != b"\1\0\0\0001":  # behind sequence number and stamp: the frame "1"
        return whole, None
    try:
        at = 17 + 8  # behind height and width
        at += 4 + int.from_bytes(data[at : at + 4], "little")  # the encoding
        at += 5  # byte order and step
        at += 4 + int.from_bytes(data[at : at + 4], "little")  # the pixels
        (unit,) = _UNIT.unpack(data[at:])
    except struct.error:
        return whole, None
    return whole[:at], decimal(unit) if unit > 0 else None


def decimal(number: float) -> float:
    """The number that somebody typed before it became a float32: 0.00025, not 0.0002500000118743628."""
    return float(str(np.float32(number)))
