"""The table of colour frames, each with what every other sensor measured nearest to it in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_train.recordings.clocks import clock_difference_ns, tell_time
from mayhem_train.recordings.frame import frame_name
from mayhem_train.recordings.ingest.places import image_file
from mayhem_train.recordings.ingest.spool import BLOCK, Names, Spool
from mayhem_train.recordings.ingest.tables import Block
from mayhem_train.recordings.nearest import nearest


@dataclass(frozen=True)
class Track:
    """One topic as the table sees it.

    Attributes:
        kind: "colour", "depth" and so on.
        file: where all of its messages are, relative to the recording's folder; empty where each has a file of its
            own, or nothing was written.
    """

    topic: str
    kind: str
    spool: Spool
    file: str = ""


@dataclass(frozen=True)
class Partner:
    """A track that frames are paired with, and what its columns begin with."""

    prefix: str
    track: Track


def common_clock(one: Spool, other: Spool) -> str:
    """The column by which two topics are paired: their stamps where both have some of one clock, else the log times."""
    stamped = all(tell_time(spool.column("stamp_ns")) for spool in (one, other))
    return "stamp_ns" if stamped and not difference_ns(one, other) else "log_time_ns"


def difference_ns(one: Spool, other: Spool) -> int:
    """How far the clock that stamps one topic is behind that of another, 0 for one clock."""
    return clock_difference_ns(*(spool.column(name) for spool in (one, other) for name in ("stamp_ns", "log_time_ns")))


def pair(frames: Spool, partner: Spool, limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each frame the position of the partner's nearest usable row, or -1, and how much later that is, ns.

    By their `common_clock`. A message without a stamp on a topic that has them belongs to nothing.
    """
    clock = common_clock(frames, partner)
    times, others = frames.column(clock), partner.column(clock)
    candidates = np.flatnonzero(partner.column("usable") & ((others != 0) | (clock == "log_time_ns")))
    found = nearest(times, others[candidates], limit)
    if clock == "stamp_ns":
        found[times == 0] = -1
    positions = np.where(found >= 0, candidates[found] if len(candidates) else -1, -1)
    offsets = np.where(found >= 0, (others[positions] if len(others) else 0) - times, 0)
    return positions, offsets


def frame_blocks(
    stem: str, frames: Sequence[Track], partners: Sequence[Partner], limit: int, names: Names
) -> Iterator[Block]:
    """The table's columns, a block of rows at a time: first the first track's frames, by index."""
    for track in frames:
        pairs = [pair(track.spool, partner.track.spool, limit) for partner in partners]
        for start in range(0, max(len(track.spool), 1), BLOCK):
            span = np.arange(start, min(start + BLOCK, len(track.spool)))
            rows = track.spool.take(span)
            indices = rows["index"].tolist()
            columns: dict[str, Any] = {
                "frame": [frame_name(stem, index) for index in indices],
                "recording": [stem] * len(rows),
                "topic": [track.topic] * len(rows),
                "index": rows["index"],
                "log_time_ns": rows["log_time_ns"],
                "stamp_ns": np.ma.masked_equal(rows["stamp_ns"], 0),
                "file": _files(stem, track, rows, names),
            }
            for partner, (positions, offsets) in zip(partners, pairs, strict=True):
                columns.update(_columns(stem, partner, positions[span], offsets[span], names))
            yield columns


def _columns(
    stem: str, partner: Partner, positions: NDArray[np.int64], offsets: NDArray[np.int64], names: Names
) -> dict[str, Any]:
    track, found = partner.track, positions >= 0
    rows = np.zeros(len(positions), track.spool.dtype)
    rows[found] = track.spool.take(positions[found])
    stamps = rows["stamp_ns"]
    files = _files(stem, track, rows, names)
    return {
        f"{partner.prefix}_topic": [track.topic if there else None for there in found.tolist()],
        f"{partner.prefix}_index": np.ma.masked_array(rows["index"], ~found),
        f"{partner.prefix}_stamp_ns": np.ma.masked_array(stamps, ~found | (stamps == 0)),
        f"{partner.prefix}_offset_ns": np.ma.masked_array(offsets, ~found),
        f"{partner.prefix}_file": [file if there else None for file, there in zip(files, found.tolist(), strict=True)],
    }


def _files(stem: str, track: Track, rows: NDArray[np.void], names: Names) -> list[str | None]:
    """Where each row's message lies; None where it was not extracted."""
    if "suffix" not in (track.spool.dtype.names or ()):
        return [track.file or None] * len(rows)
    columns = (rows[name].tolist() for name in ("index", "suffix", "usable"))
    return [
        image_file(track.kind, track.topic, stem, index, names[suffix]) if usable else None
        for index, suffix, usable in zip(*columns, strict=True)
    ]
