"""Any picture of a recorded video by its place: decoded from the key frame before it, or on from where reading is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.image_decoding import DecodedImage
from mayhem_ros.video_bitstream import Content, parameter_units, unit_kind
from mayhem_ros.video_decoder import LONGEST_DELAY, DecodedPicture, VideoDecoder, with_start_codes
from mayhem_ros.video_packets import TITLES, VideoPacket
from mayhem_train.recordings.failing_disk import is_of_the_disk
from mayhem_train.recordings.storages.per_process import PerProcess
from mayhem_train.recordings.video.decoding_starts import NOWHERE, decoding_starts
from mayhem_train.recordings.video.kept_pictures import KeptPictures

_FARTHEST_PARAMETERS = 64  # messages with parameter sets that are looked through for those of a key frame
_PARAMETER_KINDS = {"h264": {7, 8}, "hevc": {32, 33, 34}}


class VideoCamera:
    """The pictures of a topic's packets, each by the place of the packet that it came in.

    It holds one decoder, which goes on from the last picture where the next one is asked for: reading in order decodes
    every packet once. A copy in another process has a decoder of its own.

    Args:
        read: gives the packet at a place.
        contents: uint16 [N], `Content` of all of them.

    Attributes:
        contents: as given.
        starts: what they say of where decoding may begin.
    """

    def __init__(self, read: Callable[[int], VideoPacket], contents: NDArray[np.uint16]) -> None:
        self._read = read
        self.contents = contents
        self.starts = decoding_starts(contents)
        self._run: PerProcess[_Run] = PerProcess(_Run)
        self._kept: KeptPictures | None = None
        self._sizes: dict[int, tuple[int, int]] = {}

    @property
    def codec(self) -> str:
        """What the first packet is that can be read, as "H.264"; empty where there is none."""
        for index in range(len(self.contents)):
            with suppress(MayhemError):
                return TITLES[self._read(index).codec]
        return ""

    def picture(self, index: int) -> DecodedImage:
        """The picture of a packet, damaged where it or one on which it builds is damaged or missing.

        Raises:
            UsageError: PyAV is not installed.
            MayhemError: no picture comes of the packet.
        """
        kept = self._kept
        if kept is None or index not in kept.wanted:
            return self._picture(index)
        picture = kept.load(index)
        return self._fill(kept, index) if picture is None else picture

    def size(self, index: int) -> tuple[int, int]:
        """(width, height) of a packet's picture, which is that of the one that decoding begins with.

        Raises:
            UsageError, MayhemError: as `picture`, of the latter.
        """
        first = int(self.starts.first[index])
        if first not in self._sizes:
            frame = self._decoded(index if first == NOWHERE else first).frame
            self._sizes[first] = frame.width, frame.height
        return self._sizes[first]

    def keep(self, kept: KeptPictures) -> None:
        """Lets the pictures that it wants be decoded once: whoever asks for one has all that build on the same packet
        decoded and kept, so that no order of asking decodes a packet twice."""
        self._kept = kept

    def _fill(self, kept: KeptPictures, index: int) -> DecodedImage:
        first = self.starts.first[index]
        with kept.filling(int(first)):
            picture = kept.load(index)  # another process may just have filled it in
            if picture is not None:
                return picture
            asked: DecodedImage | MayhemError | None = None
            for place in np.flatnonzero(self.starts.first == first).tolist() if first != NOWHERE else [index]:
                if place not in kept.wanted:
                    continue
                result = self._picture_or_problem(place)
                kept.save(place, result)
                asked = result if place == index else asked
            self.close()  # there may be many recordings, and the next picture is hardly ever decoded from here on
        if isinstance(asked, DecodedImage):
            return asked
        assert asked is not None
        raise asked

    def _picture_or_problem(self, index: int) -> DecodedImage | MayhemError:
        try:
            return self._picture(index)
        except MayhemError as error:
            if isinstance(error, UsageError) or is_of_the_disk(error):
                raise
            return error

    def _picture(self, index: int) -> DecodedImage:
        picture = self._decoded(index)
        flaw = self._flaw(picture)
        return DecodedImage(picture.rgb(), (flaw,) if flaw else (), is_damaged=flaw is not None)

    def close(self) -> None:
        """Gives the decoder's memory back."""
        self._run.take()

    def _decoded(self, index: int) -> DecodedPicture:
        first = int(self.starts.first[index])
        if first == NOWHERE:
            raise MayhemError(self._why_nowhere(index))
        run = self._run.get()
        if index not in run.waiting and not self._leads_to(run, index, first):
            self._begin(run, first)
        while index not in run.waiting and not run.ended and run.next <= index + LONGEST_DELAY:
            self._go_on(run, index)
        run.waiting = {number: picture for number, picture in run.waiting.items() if number >= index}
        if index not in run.waiting:
            reason = run.troubles.get(index, "the decoder gives no picture for it")
            raise MayhemError(f"The {TITLES[run.codec]} packet cannot be decoded: {reason}.")
        return run.waiting[index]

    def _why_nowhere(self, index: int) -> str:
        packet = self._read(index)  # raises where the message itself cannot be read
        title = TITLES[packet.codec]
        if not self.contents[index] & Content.PICTURE:
            return f"The {title} packet of {len(packet.data)} bytes holds no picture."
        if not len(self.starts.keys):
            return f"The {title} video has no key frame, from which alone it could be decoded."
        return (
            f"The {title} video cannot be decoded before its first key frame, which is message {self.starts.keys[0]}."
        )

    def _leads_to(self, run: _Run, index: int, first: int) -> bool:
        """Whether going on gives the same picture as decoding from `first` on."""
        passes = first == run.next and not self.contents[first] & Content.KEY
        to_come = index >= run.next or index in run.held_back
        return not run.ended and to_come and (first in run.firsts or passes)

    def _begin(self, run: _Run, first: int) -> None:
        codec = self._read(first).codec
        if run.decoder is None or run.codec != codec:
            run.decoder, run.codec = VideoDecoder(codec), codec
        else:
            run.decoder.reset()
        run.began, run.firsts, run.next, run.ended = first, [first], first, False
        run.waiting, run.held_back, run.troubles = {}, set(), {}

    def _go_on(self, run: _Run, wanted: int) -> None:
        """Decodes the next packet, or has the decoder give out its last pictures where it must begin anew."""
        assert run.decoder is not None
        number = run.next
        is_over = number == len(self.contents) or (number != run.began and self.contents[number] & Content.KEY)
        if is_over:
            pictures, run.ended = run.decoder.rest(), True
        else:
            pictures = self._decode(run, number)
            run.next += 1
        for picture in pictures:
            run.held_back.discard(picture.number)
            if picture.number >= wanted and not self._lacks_references(run, picture.number):
                run.waiting[picture.number] = picture

    def _decode(self, run: _Run, number: int) -> list[DecodedPicture]:
        assert run.decoder is not None
        try:
            packet = self._read(number)
        except MayhemError as error:
            if is_of_the_disk(error):
                raise
            run.troubles[number] = str(error)
            return []
        if packet.codec != run.codec:
            run.troubles[number] = f"it is {TITLES[packet.codec]}"
            return []
        if self.starts.first[number] == number != run.began:
            run.firsts = [run.firsts[-1], number]
            run.troubles = {place: trouble for place, trouble in run.troubles.items() if place >= run.firsts[0]}
        parameters = self._parameters(number, packet) if number == run.began else []
        data = with_start_codes(packet.codec, packet.data, lengths=self._has_lengths(number), parameters=parameters)
        pictures, trouble = run.decoder.decode(number, data)
        if trouble is not None and not self._lacks_references(run, number):
            run.troubles[number] = trouble
        run.held_back = {place for place in run.held_back if place > number - LONGEST_DELAY} | {number}
        return pictures

    def _lacks_references(self, run: _Run, number: int) -> bool:
        """Whether a picture needs some from before the one that the decoder began with."""
        return bool(self.starts.first[number] < run.began)

    def _flaw(self, picture: DecodedPicture) -> str | None:
        run, index = self._run.get(), picture.number
        first, clean = int(self.starts.first[index]), int(self.starts.clean[index])
        if index in run.troubles:
            return run.troubles[index]
        for number, trouble in run.troubles.items():
            if clean <= number < index:
                return f"message {number}, on which it builds, is damaged ({trouble})"
        if self.starts.has_gap(index):
            return "a packet on which it builds is missing"
        # Where a stream is refreshed bit by bit the decoder goes on to mark what began without a key frame.
        return None if picture.is_whole or first != clean else "it, or a picture on which it builds, is damaged"

    def _parameters(self, first: int, packet: VideoPacket) -> list[bytes]:
        """The parameter sets that a key frame needs and does not bring: the last ones before it, or the next ones."""
        missing = set(_PARAMETER_KINDS.get(packet.codec, ()))
        for unit in parameter_units(packet.codec, packet.data, lengths=self._has_lengths(first)):
            missing.discard(unit_kind(packet.codec, unit))
        places = np.flatnonzero(self.contents & Content.PARAMETERS)
        before, after = places[places < first][::-1], places[places > first]
        found: list[bytes] = []
        for place in [*before.tolist(), *after.tolist()][:_FARTHEST_PARAMETERS]:
            if not missing:
                break
            packet = self._read(place)
            sets = parameter_units(packet.codec, packet.data, lengths=self._has_lengths(place))
            found += [unit for unit in sets if unit_kind(packet.codec, unit) in missing]
            missing -= {unit_kind(packet.codec, unit) for unit in sets}
        return sorted(found, key=lambda unit: unit_kind(packet.codec, unit))

    def _has_lengths(self, index: int) -> bool:
        return bool(self.contents[index] & Content.LENGTHS)


@dataclass
class _Run:
    """Where one process's decoder is.

    Attributes:
        began: the packet that it began with.
        firsts: of that one and those passed since with which it might have begun, the last two.
        next: the packet that comes next.
        ended: whether it has given out its last pictures.
        waiting: pictures by number that were not asked for yet, and the last that was.
        held_back: packets that went in and whose pictures have not come out.
        troubles: what was wrong with packets, by their places.
    """

    decoder: VideoDecoder | None = None
    codec: str = ""
    began: int = 0
    firsts: list[int] = field(default_factory=list)
    next: int = 0
    ended: bool = True
    waiting: dict[int, DecodedPicture] = field(default_factory=dict)
    held_back: set[int] = field(default_factory=set)
    troubles: dict[int, str] = field(default_factory=dict)
