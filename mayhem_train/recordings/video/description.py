"""What is known of a recorded video without decoding it."""

from __future__ import annotations

from dataclasses import dataclass

from mayhem_ros.video_bitstream import Content
from mayhem_train.recordings.recording import Recording
from mayhem_train.recordings.video.decoding_starts import NOWHERE


@dataclass(frozen=True)
class VideoDescription:
    """A video.

    Attributes:
        codec: as "H.264", of the first packet.
        key_frames: how many packets decoding may begin with.
        key_distance: the usual number of packets from one key frame to the next; None with fewer than two.
        problems: one sentence each: what cannot be decoded, or not whole.
    """

    codec: str
    key_frames: int
    key_distance: int | None
    problems: tuple[str, ...]


def describe_video(recording: Recording, topic: str) -> VideoDescription:
    """Looks at every packet, unless the recording's index knows them already.

    Raises:
        UsageError: there is no such topic.
    """
    video = recording.video(topic)
    where = f"on {topic} of {recording.path}"
    has_picture = video.contents & Content.PICTURE > 0
    early = int((has_picture & (video.starts.first == NOWHERE)).sum())
    without = int((~has_picture).sum())
    gaps = len(video.starts.gaps)
    problems = []
    if not len(video.starts.keys):
        problems.append(f"The video {where} has no key frame: none of it can be decoded.")
    elif early:
        problems.append(f"{early} packets {where} cannot be decoded: the pictures they build on were not recorded.")
    if without:
        holds = "hold" if without > 1 else "holds"
        problems.append(f"{without} of {len(has_picture)} messages {where} {holds} no picture of the video.")
    if gaps:
        problems.append(
            f"Packets are missing at {gaps} place{'s' * (gaps > 1)} {where}: "
            "pictures from there to the next key frame are flawed."
        )
    return VideoDescription(video.codec, len(video.starts.keys), video.starts.distance, tuple(problems))
