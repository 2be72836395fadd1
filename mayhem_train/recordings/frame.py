"""The name of one camera image: its recording, its topic, and its place among that topic's messages."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from mayhem_ros.errors import MayhemError

_NAME = re.compile(r"^(?P<recording>[^/\\]+)-(?P<index>[0-9]{6,12})\.(?:png|jpg|jpeg)$", re.IGNORECASE)


@dataclass(frozen=True)
class Frame:
    """One message of an image topic.

    Attributes:
        recording: the recording's stem (file or folder name without `.bag`, `.db3`, `.mcap` or an archive's suffix), in
            one spelling.
        topic: the topic as recorded.
        index: counts that topic's messages in the recording from 0.
        log_time_ns: when the message was recorded, ns since the epoch.
        stamp_ns: the message header's stamp, ns since the epoch; None exactly where this very message has no readable
            header, because its type has none or its bytes are damaged.
    """

    recording: str
    topic: str
    index: int
    log_time_ns: int
    stamp_ns: int | None

    @property
    def name(self) -> str:
        """The frame's name in CVAT and in extracted image files."""
        return frame_name(self.recording, self.index)


def frame_name(recording: str, index: int) -> str:
    """`<recording>-<index:06d>.png`."""
    return f"{recording}-{index:06d}.png"


def parse_frame_name(name: str) -> tuple[str, int]:
    """The recording's stem and the frame's index that a name stands for; subfolders are refused.

    Raises:
        MayhemError: the name leaves its folder or is not `<recording>-<index>.png`.
    """
    match = _NAME.match(name)
    if match is None or match["recording"].startswith("."):
        raise MayhemError(f"Image name {name!r} is not <recording>-<index>.png: name it as it was exported.")
    return one_spelling(match["recording"]), int(match["index"])


def one_spelling(name: str) -> str:
    """A recording's name as it is compared: "ü" is one letter, where macOS spells it as two."""
    return unicodedata.normalize("NFC", name)
