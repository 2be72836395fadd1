"""From which packet on a video must be decoded to see the picture of another one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.video_bitstream import Content

NOWHERE = -1

_PICTURE, _KEY, _RECOVERY, _LEADING = map(int, (Content.PICTURE, Content.KEY, Content.RECOVERY, Content.LEADING))


@dataclass(frozen=True)
class DecodingStarts:
    """What the contents of a topic's packets say.

    Attributes:
        first: int32 [N], the packet to begin with, `NOWHERE` where the picture needs some from before the first key
            frame, or where the packet holds none.
        clean: int32 [N], the packet from which on all is refreshed: beyond `first` where a stream has no key frames
            but refreshes its pictures bit by bit.
        gaps: int32, ascending: packets before which one is missing.
        keys: int32, ascending: packets with which decoding may begin.
    """

    first: NDArray[np.int32]
    clean: NDArray[np.int32]
    gaps: NDArray[np.int32]
    keys: NDArray[np.int32]

    @property
    def distance(self) -> int | None:
        """The usual number of packets from one key frame to the next; None with fewer than two of them."""
        return int(np.median(np.diff(self.keys))) if len(self.keys) > 1 else None

    def has_gap(self, index: int) -> bool:
        """Whether a packet is missing between the one that decoding begins with and this one."""
        after = np.searchsorted(self.gaps, self.first[index], side="right")
        return bool(after < len(self.gaps) and self.gaps[after] <= index)


def decoding_starts(contents: NDArray[np.uint16]) -> DecodingStarts:
    """By the contents (`Content`) of a topic's packets in their order.

    A key frame frees what follows from all before. After another picture with which decoding may begin, those that are
    shown before it still need what was before, and so do those of a gradual refresh until it is complete.
    """
    first = np.full(len(contents), NOWHERE, np.int32)
    clean = np.full(len(contents), NOWHERE, np.int32)
    before = start = (NOWHERE, NOWHERE)
    refreshing: tuple[int, int] | None = None
    may_lead = False
    for index, content in enumerate(contents.tolist()):
        if not content & _PICTURE:
            continue
        refresh = content >> 8
        begins_after_others = content & _RECOVERY and not content & _KEY
        if content & _KEY:
            start, refreshing, may_lead = (index, index), None, False
        elif begins_after_others and not refresh:
            before, start, refreshing, may_lead = start, (index, index), None, True
        elif refreshing is not None and index >= refreshing[1]:
            start, refreshing = refreshing, None
        may_lead = may_lead and (start[0] == index or bool(content & _LEADING))
        first[index], clean[index] = before if may_lead and start[0] != index else start
        if begins_after_others and refresh and refreshing is None:
            refreshing = (index, index + refresh)
    flags = contents.astype(np.int32)
    may_begin = (flags & Content.PICTURE > 0) & (flags & (Content.KEY | Content.RECOVERY) > 0)
    return DecodingStarts(first, clean, _places(flags & Content.GAP > 0), _places(may_begin))


def _places(chosen: NDArray[np.bool_]) -> NDArray[np.int32]:
    return np.flatnonzero(chosen).astype(np.int32)
