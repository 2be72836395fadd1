"""A camera's video as it comes in: every packet is decoded in its turn, whatever becomes of its picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mayhem_ros.decoded_image import DecodedImage
from mayhem_ros.errors import MayhemError
from mayhem_ros.video_bitstream import Content, PacketReader
from mayhem_ros.video_decoder import LONGEST_DELAY, DecodedPicture, VideoDecoder, with_start_codes
from mayhem_ros.video_packets import TITLES, VideoPacket, video_packet


@dataclass(frozen=True)
class LivePicture:
    """A picture in the place of the message that its packet came in, or why there is none.

    Attributes:
        header: the message's.
        picture: what came out of the decoder; it becomes pixels only when it is wanted.
        flaw: what is wrong with it, in words.
    """

    header: Any
    picture: DecodedPicture | Exception
    flaw: str | None = None

    def decoded(self) -> DecodedImage:
        """The picture as RGB; raises what hindered it."""
        if isinstance(self.picture, Exception):
            raise self.picture
        flaws = () if self.flaw is None else (self.flaw,)
        return DecodedImage(self.picture.rgb(), flaws, is_damaged=bool(flaws))


class LiveVideo:
    """One camera's decoder. Not for several threads.

    Args:
        max_pixels: larger pictures are refused.
    """

    def __init__(self, max_pixels: int | None = None) -> None:
        self._max_pixels = max_pixels
        self._codec = ""
        self._decoder: VideoDecoder | None = None
        self._reader = PacketReader()
        self._headers: dict[int, Any] = {}
        self._number = 0
        self._has_begun = False
        self._flaw: str | None = None

    def open(self, message: Any) -> list[Any]:
        """What to look at in the place of a message: itself, or where it is a packet, the pictures that come out.

        A stream whose pictures are reordered gives some later, so that there may be none now, or several. In the end
        each message has come out once, if only as the reason why there is no picture.
        """
        try:
            packet = video_packet(message)
            opened: list[Any] = [message] if packet is None else self._decode(packet, message.header)
        except Exception as error:  # whatever one message does, the next one is to be seen
            self._flaw = self._flaw or str(error)
            if self._headers.get(self._number) is message.header:
                del self._headers[self._number]
            opened = [LivePicture(message.header, error)]
        return [*self._given_up(), *opened]

    def _given_up(self) -> list[LivePicture]:
        """Those of which no picture can come out any more."""
        lost = [number for number in self._headers if number <= self._number - LONGEST_DELAY]
        return [
            LivePicture(
                self._headers.pop(number),
                MayhemError(f"No picture came out of a packet of {TITLES[self._codec]} video."),
            )
            for number in lost
        ]

    def _decode(self, packet: VideoPacket, header: Any) -> list[LivePicture]:
        if self._decoder is None or packet.codec != self._codec:
            self._decoder, self._codec = VideoDecoder(packet.codec, self._max_pixels), packet.codec
            self._reader, self._has_begun = PacketReader(), False
        content = self._reader.look(packet.codec, packet.data)
        self._note(content)
        self._number += 1
        self._headers[self._number] = header
        data = with_start_codes(packet.codec, packet.data, lengths=Content.LENGTHS in content)
        pictures, trouble = self._decoder.decode(self._number, data)
        title = TITLES[packet.codec]
        if Content.PICTURE not in content:
            raise MayhemError(f"The {title} packet of {len(packet.data)} bytes holds no picture.")
        if not self._has_begun:
            raise MayhemError(f"The {title} video cannot be decoded before its next key frame.")
        self._flaw = self._flaw or trouble
        if trouble is not None and not pictures:
            raise MayhemError(f"The {title} packet cannot be decoded: {trouble}.")
        return [
            LivePicture(self._headers.pop(picture.number), picture, self._flaw or _damage(picture))
            for picture in pictures
            if picture.number in self._headers
        ]

    def _note(self, content: Content) -> None:
        """Whether pictures come from here on, and whether they are whole."""
        if Content.PICTURE not in content:
            return
        if Content.KEY in content or (Content.RECOVERY in content and not content.refresh):
            self._has_begun, self._flaw = True, None
        elif Content.GAP in content:
            self._flaw = self._flaw or "a packet on which it builds is missing"


def _damage(picture: DecodedPicture) -> str | None:
    return None if picture.is_whole else "it, or a picture on which it builds, is damaged"
