"""A picture of a recorded video with the header of the message that it came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mayhem_ros.errors import MayhemError
from mayhem_ros.image_decoding import DecodedImage


@dataclass(frozen=True)
class Header:
    """A `std_msgs/Header`."""

    stamp: Any
    frame_id: str


@dataclass(frozen=True)
class VideoPicture:
    """What a packet became."""

    header: Any
    decoded: DecodedImage


def header_of(message: Any) -> Any:
    """A camera message's header; foxglove's messages have its fields without one.

    Raises:
        MayhemError: it has neither.
    """
    if hasattr(message, "header"):
        return message.header
    if hasattr(message, "timestamp") and hasattr(message, "frame_id"):
        return Header(message.timestamp, message.frame_id)
    raise MayhemError(f"A message of type {type(message).__name__} has no header.")
