"""One stretch of a recording, written `recording:start:stop` in frames or in seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mayhem_ros.errors import UsageError
from mayhem_train.recordings.frame import one_spelling

_BOUND = re.compile(r"(?P<frame>[0-9]+)|(?P<seconds>[0-9]+(?:\.[0-9]*)?)s")


@dataclass(frozen=True)
class TimeBlock:
    """The frames of a recording from `start` to before `stop`; None is open.

    Attributes:
        recording: its stem.
        start: the first frame's index, or seconds after the recording's first labelled frame.
        stop: likewise.
        in_seconds: which of the two.
    """

    recording: str
    start: float | None
    stop: float | None
    in_seconds: bool = False

    def indices(self, times_ns: Mapping[int, int]) -> frozenset[int]:
        """Which of the recording's labelled frames, index -> log time, lie in the block."""
        first = min(times_ns.values(), default=0)
        places = {index: (time - first) / 1e9 if self.in_seconds else float(index) for index, time in times_ns.items()}
        low = -float("inf") if self.start is None else self.start
        high = float("inf") if self.stop is None else self.stop
        return frozenset(index for index, place in places.items() if low <= place < high)

    def __str__(self) -> str:
        unit = "s" if self.in_seconds else ""
        bounds = ("" if bound is None else f"{bound:g}{unit}" for bound in (self.start, self.stop))
        return ":".join((self.recording, *bounds))


def parse_block(text: str) -> TimeBlock:
    """`drive-1:300:600` (frames), `drive-1:20s:35.5s` (seconds), `drive-1:300:` (to the end).

    Raises:
        UsageError: the text is none of these, or holds no time at all.
    """
    recording, *bounds = text.rsplit(":", 2)
    values: list[float | None] = []
    units: set[str] = set()
    for bound in bounds:
        match = _BOUND.fullmatch(bound)
        if match is None and bound:
            raise _refused(text)
        values.append(None if match is None else float(match["frame"] or match["seconds"]))
        units |= set() if match is None else {"frames" if match["frame"] else "seconds"}
    if not recording or len(values) != 2 or len(units) != 1:
        raise _refused(text)
    start, stop = values
    if start is not None and stop is not None and start >= stop:
        raise UsageError(f"The block {text!r} ends before it begins: give recording:start:stop with start < stop.")
    return TimeBlock(one_spelling(recording), start, stop, units == {"seconds"})


def _refused(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is no block of a recording: write recording:start:stop in frames (drive-1:300:600) "
        "or seconds (drive-1:20s:35s); one end may be left open."
    )
