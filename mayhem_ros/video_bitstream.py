"""What a packet of a video holds, out of its own bits: whether decoding may begin there, and whether one was lost."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntFlag

START_CODE = b"\0\0\0\1"
_LONGEST_REFRESH = 255


class Content(IntFlag):
    """What a packet holds; where it is `RECOVERY`, bits 8 to 15 count the pictures until all is refreshed."""

    NONE = 0
    LOOKED_AT = 1
    PICTURE = 2
    KEY = 4
    """A picture that needs none before it, and after which no picture does."""
    RECOVERY = 8
    """Decoding may begin here, but what follows may need earlier pictures for a while, or be shown before it."""
    PARAMETERS = 16
    """Parameter sets, without which no picture is decoded."""
    LEADING = 32
    """A picture that may be shown before a `RECOVERY` which stands before it, and then needs what was before that."""
    GAP = 64
    """A picture before this one is missing."""
    LENGTHS = 128
    """Its units have their lengths before them rather than start codes."""

    @property
    def refresh(self) -> int:
        """How many pictures after a `RECOVERY` are not whole yet."""
        return int(self) >> 8


class PacketReader:
    """Looks at a stream's packets one after the other.

    H.264 is ITU-T H.264 (7.3), H.265 is ITU-T H.265 (7.3): a stream of units, each with its kind in its first byte.
    Of H.264 the pictures' numbers tell whether one was lost; H.265's decoder tells that by itself.
    """

    def __init__(self) -> None:
        self._lengths = False
        self._frame_num_bits: int | None = None
        self._separate_planes = False
        self._last_frame_num: int | None = None

    def look(self, codec: str, data: bytes) -> Content:
        """What this packet holds, the next of the stream."""
        if codec not in ("h264", "hevc"):
            return Content.LOOKED_AT | _CONTENTS[codec](data)
        lengths = has_lengths(data, self._lengths)
        if lengths is not None:
            self._lengths = lengths
        content = Content.LOOKED_AT | (Content.LENGTHS if self._lengths else Content.NONE)
        look = self._h264 if codec == "h264" else self._hevc
        for unit in units(codec, data, lengths=self._lengths):
            try:
                content |= look(unit, content)
            except (IndexError, ValueError):  # cut off within what is read here
                continue
        return content

    def _h264(self, unit: bytes, before: Content) -> Content:
        kind = unit[0] & 0x1F
        if kind == 7:
            self._read_h264_parameters(unit)
            return Content.PARAMETERS
        if kind == 8:
            return Content.PARAMETERS
        if kind == 6:
            return _recovery_point(unit[1:])
        if kind not in (1, 2, 5):
            return Content.NONE
        if Content.PICTURE in before:  # another slice of it
            return Content.NONE
        bits = _Bits(unit[1:32])
        bits.unsigned()  # first_mb_in_slice
        slice_type = bits.unsigned() % 5
        bits.unsigned()  # pic_parameter_set_id
        content = Content.PICTURE
        if kind == 5:
            content |= Content.KEY
        elif slice_type == 1:
            content |= Content.LEADING
        elif slice_type == 2 and Content.PARAMETERS in before:  # what encoders without IDR pictures begin anew with
            content |= Content.RECOVERY
        return content | self._gap(bits, kind == 5)

    def _gap(self, bits: _Bits, is_idr: bool) -> Content:
        """Whether `frame_num` (7.4.3) goes on from the last one."""
        if self._frame_num_bits is None:
            return Content.NONE
        if self._separate_planes:
            bits.take(2)
        number, last = bits.take(self._frame_num_bits), self._last_frame_num
        self._last_frame_num = number
        if is_idr or last is None or number in (last, (last + 1) % 2**self._frame_num_bits):
            return Content.NONE
        return Content.GAP

    def _read_h264_parameters(self, unit: bytes) -> None:
        """Of a sequence parameter set (7.3.2.1.1) what is needed to find a slice's `frame_num`."""
        bits = _Bits(unit[1:])
        profile = bits.take(8)
        bits.take(16)  # constraints and level
        bits.unsigned()
        self._separate_planes = False
        if profile in (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135):
            chroma = bits.unsigned()
            self._separate_planes = chroma == 3 and bool(bits.take(1))
            bits.unsigned(), bits.unsigned(), bits.take(1)  # the samples' depths, lossless
            if bits.take(1):
                for number in range(12 if chroma == 3 else 8):
                    if bits.take(1):
                        _pass_scaling_list(bits, 16 if number < 6 else 64)
        frame_num_bits = bits.unsigned() + 4
        order = bits.unsigned()
        if order == 0:
            bits.unsigned()
        elif order == 1:
            bits.take(1), bits.unsigned(), bits.unsigned()
            for _ in range(min(bits.unsigned(), 255)):
                bits.unsigned()
        bits.unsigned()  # max_num_ref_frames
        gaps_allowed = bits.take(1)  # as where a sender leaves out whole layers of time
        self._frame_num_bits = None if gaps_allowed or frame_num_bits > 16 else frame_num_bits

    def _hevc(self, unit: bytes, before: Content) -> Content:
        kind = unit[0] >> 1 & 0x3F
        if kind in (32, 33, 34):
            return Content.PARAMETERS
        if kind == 39:
            return _recovery_point(unit[2:], signed=True)
        if kind > 23 or Content.PICTURE in before:
            return Content.NONE
        if kind >= 16:
            return Content.PICTURE | (Content.RECOVERY if kind == 21 else Content.KEY)
        return Content.PICTURE | (Content.LEADING if kind in (6, 7, 8, 9) else Content.NONE)


def units(codec: str, data: bytes, *, lengths: bool) -> Iterator[bytes]:
    """The units (NAL) of an H.264 or H.265 packet without what stands between them."""
    if lengths:
        record = _record_units(codec, data)
        yield from _units_by_length(data) if record is None else record
        return
    start = data.find(b"\0\0\1")
    while start >= 0:
        start += 3
        end = data.find(b"\0\0\1", start)
        unit = data[start : len(data) if end < 0 else end].rstrip(b"\0")
        if unit:
            yield unit
        start = end


def parameter_units(codec: str, data: bytes, *, lengths: bool) -> list[bytes]:
    """The parameter sets in a packet."""
    kinds = (7, 8) if codec == "h264" else (32, 33, 34)
    return [unit for unit in units(codec, data, lengths=lengths) if unit_kind(codec, unit) in kinds]


def unit_kind(codec: str, unit: bytes) -> int:
    """A unit's kind (nal_unit_type)."""
    return unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F


def has_lengths(data: bytes, before: bool) -> bool | None:
    """Whether a packet's units have lengths before them (AVCC) and no start codes (Annex B); None where it is neither.

    A length of 256 to 511 looks like a start code, and a start code like such a length: then it is as it was `before`.
    """
    starts = data.startswith((START_CODE, b"\0\0\1")) or b"\0\0\1" in data[:64]
    fits = _fits_lengths(data) or _record_units("h264", data) is not None or _record_units("hevc", data) is not None
    if starts and fits:
        return before
    return fits if starts or fits else None


def _fits_lengths(data: bytes) -> bool:
    place = 0
    while place + 4 < len(data):
        place += 4 + int.from_bytes(data[place : place + 4], "big")
    return place == len(data) > 0


def _units_by_length(data: bytes) -> Iterator[bytes]:
    place = 0
    while place + 4 < len(data):
        end = place + 4 + int.from_bytes(data[place : place + 4], "big")
        if end > place + 4:
            yield data[place + 4 : end]
        place = end


def _record_units(codec: str, data: bytes) -> list[bytes] | None:
    """The parameter sets of a decoder configuration record (ISO 14496-15: avcC, hvcC) that comes as a message."""
    if len(data) < 8 or data[0] != 1:
        return None
    found: list[bytes] = []
    if codec == "h264" and data[4] >= 0xFC and data[5] >= 0xE0:
        place, counts = 6, [data[5] & 0x1F, None]
        for count in counts:
            if count is None:
                count, place = data[place] if place < len(data) else 0, place + 1
            place = _take_sized(data, place, count, found)
    elif codec == "hevc" and len(data) > 23 and data[13] >= 0xF0 and data[15] >= 0xFC:
        place = 23
        for _ in range(data[22]):
            count = int.from_bytes(data[place + 1 : place + 3], "big")
            place = _take_sized(data, place + 3, count, found)
    else:
        return None
    return found if found and place >= 0 else None


def _take_sized(data: bytes, place: int, count: int, found: list[bytes]) -> int:
    """Appends units with 16-bit lengths; where the next thing stands, or what is behind the end."""
    for _ in range(count):
        if place + 2 > len(data):
            break
        size = int.from_bytes(data[place : place + 2], "big")
        if size:
            found.append(data[place + 2 : place + 2 + size])
        place += 2 + size
    return place


def _recovery_point(messages: bytes, *, signed: bool = False) -> Content:
    """What supplemental messages (H.264 D.1.8, H.265 D.2.8) say of a picture from which decoding may begin."""
    place = 0
    while place + 2 < len(messages):
        numbers = []
        for _ in range(2):  # the message's kind and its size: 255 and more as so many bytes of 255 and a rest
            number = 0
            while messages[place] == 255:
                number, place = number + 255, place + 1
            numbers.append(number + messages[place])
            place += 1
        kind, size = numbers
        if kind == 6:
            count = _Bits(messages[place : place + 8]).unsigned()
            if signed:  # exp-Golomb's own order: 1, -1, 2, -2
                count = (count + 1) // 2 if count % 2 else 0
            return Content(Content.RECOVERY | count << 8) if count <= _LONGEST_REFRESH else Content.NONE
        place += size
    return Content.NONE


def _pass_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            number = bits.unsigned()
            following = (last + ((number + 1) // 2 if number % 2 else -(number // 2))) % 256
        last = following or last


class _Bits:
    """Reads bits, most significant first, past the bytes that keep start codes out of the data."""

    def __init__(self, data: bytes) -> None:
        plain = data.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(plain, "big")
        self._left = 8 * len(plain)

    def take(self, count: int) -> int:
        """The next bits as a number; raises ValueError where there are not so many."""
        if count > self._left:
            raise ValueError("the data end here")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def unsigned(self) -> int:
        """The next number in exp-Golomb's code."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _av1(data: bytes) -> Content:
    """By the units of AV1 (5.3): a sequence header comes with a key frame."""
    content = Content.NONE
    place = 0
    while place < len(data):
        head = data[place]
        kind, has_size = head >> 3 & 15, head & 2
        place += 2 if head & 4 else 1
        size, shift = 0, 0
        while has_size and place < len(data):
            size |= (data[place] & 127) << shift
            shift, place = shift + 7, place + 1
            if data[place - 1] < 128:
                break
        if kind == 1:
            content |= Content.KEY | Content.PARAMETERS
        if kind in (3, 6):
            content |= Content.PICTURE
        if not has_size:
            break
        place += size
    return content if Content.PICTURE in content else content & ~Content.KEY


def _vp9(data: bytes) -> Content:
    """By the first byte of VP9's uncompressed header (6.2)."""
    if not data or data[0] >> 6 != 2:
        return Content.NONE
    bits = _Bits(data[:1])
    bits.take(2)
    profile = bits.take(1) + 2 * bits.take(1)
    if profile == 3:
        bits.take(1)
    shows_existing, is_inter = bits.take(1), bits.take(1)
    return Content.PICTURE | (Content.NONE if shows_existing or is_inter else Content.KEY)


def _vp8(data: bytes) -> Content:
    """By the first bit of VP8's frame tag (RFC 6386, 9.1)."""
    return Content.PICTURE | (Content.NONE if data[0] & 1 else Content.KEY) if data else Content.NONE


def _mjpeg(data: bytes) -> Content:
    return Content.PICTURE | Content.KEY if data.startswith(b"\xff\xd8") else Content.NONE


_CONTENTS = {"av1": _av1, "vp9": _vp9, "vp8": _vp8, "mjpeg": _mjpeg}
