"""How a camera's frames fare: counts, stage times and age, reported as a diagnostic status."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue


@dataclass(frozen=True)
class FrameTiming:
    """Where one frame's time went, in seconds.

    Attributes:
        decode: from the message to the RGB array.
        model: inference; cameras that shared a pass each took all of it.
        publish: building and publishing the messages.
        total: from the subscription's callback to the last publish, waiting included.
        age: from the header's stamp to the last publish, by the node's clock; None of a stamp that is no time.
    """

    decode: float
    model: float
    publish: float
    total: float
    age: float | None

    @property
    def overhead(self) -> float:
        """What the node adds to the model."""
        return self.total - self.model


class Health:
    """Counts of one camera since it was started, and the timings since the last report. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = self._processed = self._failed = self._flawed = 0
        self._reported = (0, 0, 0)
        self._reported_at = time.monotonic()
        self._reason = self._flaw = ""
        self._timings: list[FrameTiming] = []

    def received(self) -> None:
        """A frame arrived."""
        with self._lock:
            self._received += 1

    def processed(self, timing: FrameTiming) -> None:
        """A frame's messages are published."""
        with self._lock:
            self._processed += 1
            self._timings.append(timing)

    def failed(self, reason: str) -> None:
        """A frame could not be decoded or the model failed on it; `reason` is one sentence."""
        with self._lock:
            self._failed += 1
            self._reason = reason

    def flawed(self, flaw: str) -> int:
        """A frame was decoded though something is wrong with it; returns how many were, this one among them."""
        with self._lock:
            self._flawed += 1
            self._flaw = flaw
            return self._flawed

    def report(self, name: str, hardware_id: str, overtaken: int) -> DiagnosticStatus:
        """The state since the last report: ERROR when every frame failed, WARN when some did or none came or went.

        Counts (`frames in` = `processed` + `overtaken` + `failed` + `waiting`, and `flawed` among those that were
        decoded) run from the start; rates and times are of this period.
        """
        with self._lock:
            counts = (self._received, self._processed, self._failed)
            now = time.monotonic()
            seconds = now - self._reported_at
            timings, self._timings = self._timings, []
            received, processed, failed = (new - old for new, old in zip(counts, self._reported, strict=True))
            self._reported, self._reported_at = counts, now
            reason, flawed, flaw = self._reason, self._flawed, self._flaw
        rate = processed / seconds if seconds > 0 else 0.0
        if failed and not processed:
            level, message = DiagnosticStatus.ERROR, f"every frame failed: {reason}"
        elif failed:
            level, message = DiagnosticStatus.WARN, f"{failed} of {failed + processed} frames failed: {reason}"
        elif not received and not processed:
            level, message = DiagnosticStatus.WARN, "no frames arrive"
        elif not processed:  # no error: a pass may take a weak machine longer than a period
            level, message = DiagnosticStatus.WARN, f"frames arrive, but none was answered in the last {seconds:.1f} s"
        else:
            level, message = DiagnosticStatus.OK, f"{rate:.1f} frames/s"
        values = {
            "frames in": str(counts[0]),
            "processed": str(counts[1]),
            "overtaken": str(overtaken),
            "failed": str(counts[2]),
            "waiting": str(counts[0] - counts[1] - counts[2] - overtaken),
            "flawed": str(flawed),
            "last flaw": flaw or "none",
            "frames/s": f"{rate:.1f}",
        }
        for stage in ("decode", "model", "publish", "overhead", "age"):
            found = [getattr(timing, stage) for timing in timings]
            times = np.array([seconds for seconds in found if seconds is not None]) * 1e3
            values[f"{stage} ms (median)"] = f"{np.median(times):.2f}" if len(times) else "n/a"
            values[f"{stage} ms (most)"] = f"{times.max():.2f}" if len(times) else "n/a"
        return DiagnosticStatus(
            level=level,
            name=name,
            message=message,
            hardware_id=hardware_id,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
