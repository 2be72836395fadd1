"""How large a message's image is, read from the head of its bytes: nothing is decoded."""

from __future__ import annotations

import struct
from typing import Literal

from mayhem_ros.errors import MayhemError
from mayhem_ros.jpeg import JPEG_START, read_jpeg_header
from mayhem_ros.png import PNG_START
from mayhem_ros.raw_encodings import Layout, layout_of

IMAGE_HEAD = 2**16
"""Bytes of a message within which the size stands, unless a JPEG holds large metadata before it."""

_MOST_PIXELS = 2**28


def size_in_head(type_name: str, encoding: str, head: bytes) -> tuple[int, int] | None:
    """(width, height) of a `sensor_msgs/Image`, or of the JPEG or PNG in a `CompressedImage`.

    Args:
        type_name: "sensor_msgs/msg/Image" or "sensor_msgs/msg/CompressedImage".
        encoding: how the message is serialised, "cdr" or "ros1".
        head: its first bytes.

    Returns:
        None where only decoding can tell.
    """
    try:
        fields = _Fields(head, aligned=encoding == "cdr")
        fields.text()  # the header's frame_id
        if type_name == "sensor_msgs/msg/CompressedImage":
            fields.text()
            fields.number()  # how long the data are
            width, height = _compressed_size(head[fields.place :])
        else:
            height, width = fields.number(), fields.number()
            if not isinstance(layout_of(fields.text()), Layout):
                return None  # of planes drivers count the rows in several ways
    except (struct.error, IndexError, MayhemError):
        return None
    return (width, height) if 0 < width * height <= _MOST_PIXELS else None


class _Fields:
    """Reads what follows a message's stamp."""

    def __init__(self, head: bytes, *, aligned: bool) -> None:
        self._head = head
        self._aligned = aligned
        # After CDR's encapsulation of four bytes, or ROS 1's sequence number of as many, two numbers of the stamp.
        self.place = 12
        self._order: Literal["<", ">"] = ">" if aligned and not head[1] & 1 else "<"

    def number(self) -> int:
        if self._aligned:
            self.place += -self.place % 4
        (value,) = struct.unpack_from(f"{self._order}I", self._head, self.place)
        self.place += 4
        return int(value)

    def text(self) -> str:
        length = self.number()
        text = self._head[self.place : self.place + length]
        self.place += length
        return text.decode("latin-1")


def _compressed_size(data: bytes) -> tuple[int, int]:
    """(width, height), or zeros."""
    if data.startswith(PNG_START) and data[12:16] == b"IHDR":
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if not data.startswith(JPEG_START):
        return 0, 0
    header = read_jpeg_header(data, "The image")
    return header.width, header.height
