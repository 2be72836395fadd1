"""What a camera message holds where it is a packet of a video: which codec, and its bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mayhem_ros.errors import MayhemError

TITLES = {"h264": "H.264", "hevc": "H.265", "av1": "AV1", "vp9": "VP9", "vp8": "VP8", "mjpeg": "Motion JPEG"}
"""The codecs that are decoded, by libavcodec's names."""

# Encoders and containers have names of their own for a codec; the first that is found in a message's word counts.
_NAMES = (
    ("h264", re.compile(r"(?:h|x|lib(?:x|openh))\.?264|\bavc")),
    ("hevc", re.compile(r"(?:h|x|libx)\.?265|hevc|\bhev1|\bhvc1")),
    ("av1", re.compile(r"av1|\bav01")),
    ("vp9", re.compile(r"vp0?9")),
    ("vp8", re.compile(r"vp0?8|libvpx")),
    ("mjpeg", re.compile(r"mjpe?g")),
)
_START_CODES = (b"\0\0\0\1", b"\0\0\1")
_PICTURE_FILES = (b"\xff\xd8", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"BM")


@dataclass(frozen=True)
class VideoPacket:
    """One message's share of a video.

    Attributes:
        codec: a key of `TITLES`.
        data: as the encoder gave it: H.264 and H.265 with start codes (Annex B) or with lengths.
    """

    codec: str
    data: bytes


def video_packet(message: Any) -> VideoPacket | None:
    """The packet in a message, judged by its fields; None where it is no video.

    Video is an `FFMPEGPacket` of ffmpeg_image_transport, whose `encoding` names the encoder before the first `;`, a
    `CompressedVideo` of foxglove, and a `sensor_msgs/CompressedImage` whose `format` names a video codec, or whose
    bytes begin as H.264 or H.265 do; a picture's file in it is none, whatever it is called.

    Raises:
        MayhemError: it is video of a codec that is not decoded.
    """
    if hasattr(message, "pts") and hasattr(message, "encoding"):
        return _packet_of(message.encoding.partition(";")[0], message.data)
    if not hasattr(message, "format") or not hasattr(message, "data"):
        return None
    if hasattr(message, "timestamp"):
        return _packet_of(message.format, message.data)
    head = bytes(message.data[:8])
    if head.startswith(_PICTURE_FILES):
        return None
    codec = _codec(message.format) or (_codec_of(head) if head.startswith(_START_CODES) else None)
    return None if codec is None else VideoPacket(codec, bytes(memoryview(message.data)))


def _packet_of(said: str, data: Any) -> VideoPacket:
    codec = _codec(said)
    if codec is None:
        known = ", ".join(TITLES.values())
        raise MayhemError(f"The video's codec is {said!r}, which is none of those that are decoded ({known}).")
    return VideoPacket(codec, bytes(memoryview(data)))


def _codec(said: str) -> str | None:
    """The codec that a message's word names."""
    return next((codec for codec, name in _NAMES if name.search(said.lower())), None)


def _codec_of(head: bytes) -> str | None:
    """The codec of bytes that begin with a start code, by the head of the first unit behind it.

    H.265's is two bytes, of which the second is hardly ever other than 1 to 3. Behind H.264's one byte stands what is
    none of these but in a supplemental message (6) and in slices that do not begin a picture.
    """
    first, second = (head.partition(b"\0\0\1")[2] + b"\0\0")[:2]
    if not first & 0x81 and second in (1, 2, 3) and first != 6:
        return "hevc"
    return "h264" if first & 0x1F in (1, 5, 6, 7, 8, 9) and not first & 0x80 else None
