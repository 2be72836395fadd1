"""Decodes a video packet by packet, and says of every picture whether the decoder complained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.decoded_image import MAX_PIXELS
from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.video_bitstream import START_CODE, units
from mayhem_ros.video_packets import TITLES

LONGEST_DELAY = 32
"""Packets until a picture comes out: no codec holds back more than 16."""

_DECODERS = {"av1": "libdav1d"}  # libavcodec's own needs a graphics card


@dataclass(frozen=True)
class DecodedPicture:
    """One picture as it came out of the decoder.

    Attributes:
        number: of the packet that it came in.
        is_whole: False where the decoder says that it or what it refers to is damaged.
    """

    number: int
    is_whole: bool
    frame: Any

    def rgb(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], by the colour matrix and the range that the stream names (BT.601 where it names none)."""
        import av.logging

        with av.logging.Capture():  # it warns of every picture of full range that its format has a newer name
            return np.ascontiguousarray(self.frame.to_ndarray(format="rgb24"))


class VideoDecoder:
    """A decoder of one codec, in this thread alone: processes decode several videos at once.

    Args:
        codec: as `VideoPacket` names it.
        max_pixels: larger pictures are refused before memory is taken for them; without it `MAX_PIXELS`.

    Raises:
        UsageError: PyAV is not installed.
        MayhemError: it cannot decode this codec.
    """

    def __init__(self, codec: str, max_pixels: int | None = None) -> None:
        self._av = _pyav(codec)
        try:
            self._context = self._av.CodecContext.create(_DECODERS.get(codec, codec), "r")
        except (ValueError, self._av.FFmpegError) as error:
            raise MayhemError(
                f"The images are {TITLES[codec]} video, which this PyAV cannot decode ({error}): install the PyAV that "
                "pip has (pip install av)."
            ) from error
        self._context.thread_count = 1
        # A damaged picture comes out too, and is marked as such; where decoding may begin is known from the packets.
        self._context.flags |= self._av.codec.context.Flags.output_corrupt
        self._max_pixels = max_pixels or MAX_PIXELS
        self._context.options = {"max_pixels": str(self._max_pixels)}

    def decode(self, number: int, data: bytes) -> tuple[list[DecodedPicture], str | None]:
        """The pictures that come out when this packet goes in, mostly its own, and what the decoder complains of."""
        if not data:
            return [], None
        packet = self._av.Packet(data)
        packet.pts = number
        return self._run(packet)

    def rest(self) -> list[DecodedPicture]:
        """The pictures that were held back to be given out in the order of time; the decoder then begins anew."""
        pictures, _ = self._run(None)
        self.reset()
        return pictures

    def reset(self) -> None:
        """Forgets the pictures: the next packet is one where decoding may begin."""
        self._context.flush_buffers()

    def _run(self, packet: Any) -> tuple[list[DecodedPicture], str | None]:
        frames: list[Any] = []
        error: str | None = None
        with self._av.logging.Capture() as log:
            try:
                frames = self._context.decode(packet)
            except (self._av.FFmpegError, MemoryError, ValueError) as raised:
                error = getattr(raised, "strerror", None) or str(raised)
        complaints = [self._said(text) for level, _, text in log if self._is_severe(level, text)]
        pictures = [DecodedPicture(frame.pts, not frame.is_corrupt, frame) for frame in frames if frame.pts is not None]
        return pictures, complaints[0] if complaints else error

    def _said(self, text: str) -> str:
        if "max pixel count" in text:
            return f"its pictures have more than {self._max_pixels} pixels"
        return text.strip()

    def _is_severe(self, level: int, text: str) -> bool:
        """Whether a picture may be wrong; H.265 cut short is only warned of, H.264's housekeeping harms none."""
        return (level <= self._av.logging.ERROR and not text.startswith("mmco")) or "undecodable" in text


def with_start_codes(codec: str, data: bytes, *, lengths: bool, parameters: Iterable[bytes] = ()) -> bytes:
    """A packet as the decoder takes it, behind parameter sets that it needs and does not hold itself."""
    before = b"".join(START_CODE + unit for unit in parameters)
    if not lengths:
        return before + data
    return before + b"".join(START_CODE + unit for unit in units(codec, data, lengths=True))


def _pyav(codec: str) -> Any:
    try:
        import av
        import av.logging
    except ImportError as error:
        raise UsageError(
            f"The images are {TITLES[codec]} video, which needs PyAV ({error}): install it with pip install av."
        ) from error
    av.logging.set_level(av.logging.WARNING)  # what it says is caught above
    av.logging.set_skip_repeated(False)
    return av
