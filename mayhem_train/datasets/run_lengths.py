"""COCO's compressed run lengths, checked for many masks at once and without drawing any: pycocotools trusts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_LONGEST = 6  # characters of five bits: what the difference of two runs takes where masks have up to 2^28 pixels
_BATCH = 2**18  # characters that are decoded together, so that memory stays small


def first_damaged(masks: Sequence[tuple[str, int]]) -> int | None:
    """The place of a mask, (counts, pixels) of at most 2^28 pixels, whose runs do not add up to its pixels, if any.

    Runs below 0 or beyond the mask count as damage too, though they could cancel out.
    """
    for start, stop in _batches([len(counts) for counts, _ in masks]):
        damaged = _damaged(masks[start:stop])
        if damaged.any():
            return start + int(np.argmax(damaged))
    return None


def _batches(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of texts that hold about as many characters each."""
    ends = np.cumsum([0, *lengths])
    start = 0
    while start < len(lengths):
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] + _BATCH, "right")) - 1)
        yield start, stop
        start = stop


def _damaged(masks: Sequence[tuple[str, int]]) -> NDArray[np.bool_]:
    """bool [N]; where a text is no run lengths at all, only such are told.

    Six bits a character from "0" on, five of them payload, the lowest first and the highest signed, the sixth set where
    the number goes on; from the fourth number on, each is the difference to the run two before.
    """
    pixels = np.array([pixels for _, pixels in masks], np.int64)
    ends = np.cumsum([len(counts) for counts, _ in masks])
    no_text = np.array([not counts or not counts.isascii() for counts, _ in masks])
    if no_text.any():
        return no_text
    codes = np.frombuffer("".join(counts for counts, _ in masks).encode("ascii"), np.uint8) - np.uint8(ord("0"))
    no_text = np.logical_or.reduceat(codes > 63, np.concatenate([[0], ends[:-1]])) | (codes[ends - 1] > 31)
    if no_text.any():
        return no_text

    last = np.flatnonzero(codes < 32)  # of each number
    first = np.concatenate([[0], last[:-1] + 1])
    stops = np.searchsorted(last, ends - 1) + 1  # of each mask's numbers
    starts = np.concatenate([[0], stops[:-1]])
    lengths = (last - first + 1).astype(np.int32)
    if lengths.max() > _LONGEST:
        return np.asarray(np.maximum.reduceat(lengths, starts) > _LONGEST)
    payload = codes & np.uint8(31)
    runs = payload[first].astype(np.int32)
    for place in range(1, int(lengths.max())):
        longer = np.flatnonzero(lengths > place)
        runs[longer] |= payload[first[longer] + place].astype(np.int32) << 5 * place
    negative = np.flatnonzero(payload[last] > 15)
    runs[negative] -= np.int32(1) << 5 * lengths[negative]
    # Sums that overflow come out as they do in pycocotools, which has 32 bits too.
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        for chain in (runs[start + 1 : stop : 2], runs[start + 2 : stop : 2]):
            chain.cumsum(dtype=np.int32, out=chain)
    least, largest = np.minimum.reduceat(runs, starts), np.maximum.reduceat(runs, starts)
    total = np.add.reduceat(runs, starts, dtype=np.int64)
    return np.asarray((least < 0) | (largest > pixels) | (total != pixels))
