"""Which result belongs to which frame: by header stamp, and by order where frames share a stamp."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

Payload = TypeVar("Payload")


@dataclass(frozen=True)
class Answered(Generic[Payload]):
    """A frame all of whose results are back; times in seconds of one monotonic clock.

    Attributes:
        number: the frame's place among those sent.
        payloads: what came back, by kind.
        latency: from the frame's last sending to its last result; None when it was sent more than once, as nobody can
            tell which sending was answered.
    """

    number: int
    payloads: dict[str, Payload]
    latency: float | None


@dataclass
class _Pending(Generic[Payload]):
    number: int
    sent_at: float
    sendings: int
    payloads: dict[str, Payload]


class Matcher(Generic[Payload]):
    """Holds the frames on their way and puts their results together.

    Args:
        kinds: the results a frame must get to be answered.
    """

    def __init__(self, kinds: Collection[str]) -> None:
        self._kinds = frozenset(kinds)
        self._pending: dict[int, deque[_Pending[Payload]]] = defaultdict(deque)

    def sent(self, number: int, stamp_ns: int, at: float) -> None:
        """Notes that a frame goes out, or goes out again."""
        for pending in self._pending[stamp_ns]:
            if pending.number == number:
                pending.sent_at = at
                pending.sendings += 1
                return
        self._pending[stamp_ns].append(_Pending(number, at, 1, {}))

    def received(self, kind: str, stamp_ns: int, at: float, payload: Payload) -> Answered[Payload] | None:
        """Notes a result; gives the frame when this was its last one.

        Results go to the oldest frame of their stamp that still lacks that kind; results of no such frame are late
        copies and are dropped.
        """
        waiting = self._pending.get(stamp_ns, deque())
        for pending in waiting:
            if kind in pending.payloads:
                continue
            pending.payloads[kind] = payload
            if self._kinds <= pending.payloads.keys():
                waiting.remove(pending)
                latency = at - pending.sent_at if pending.sendings == 1 else None
                return Answered(pending.number, pending.payloads, latency)
            return None
        return None

    def give_up(self, number: int, stamp_ns: int) -> None:
        """Forgets a frame: whatever still comes for it is late."""
        self._pending[stamp_ns] = deque(p for p in self._pending[stamp_ns] if p.number != number)
