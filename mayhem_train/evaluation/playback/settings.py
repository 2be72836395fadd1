"""How a recording is played to the node: pace, thresholds, and how long to wait."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mayhem_ros.errors import UsageError

LOCK_STEP = "lock-step"
REAL_TIME = "real-time"
MODES = (LOCK_STEP, REAL_TIME)
LOCK_STEP_THRESHOLD = 0.01
"""Average precision looks at the whole ranking of boxes, far below what a robot acts on."""


@dataclass(frozen=True)
class PlaybackSettings:
    """How a recording is played, and how long to wait (seconds).

    Attributes:
        mode: `LOCK_STEP` sends a frame when the one before is answered, so that none is lost and all are scored, and
            the node publishes nearly every box. `REAL_TIME` keeps the recorded pace, whatever is lost, with the node
            as it is on the robot.
        rate: of the recorded pace; only in real time.
        score_threshold: boxes scoring less are not published; -1 is each class's own of the model card, None is
            `LOCK_STEP_THRESHOLD` in lock-step and the card's in real time.
        provider: the node's parameter.
        threads: the node's parameter.
        start_timeout: until the node is ready.
        frame_timeout: until a frame counts as lost in lock-step.

    Raises:
        UsageError: a value is out of range.
    """

    mode: str = LOCK_STEP
    rate: float = 1.0
    score_threshold: float | None = None
    provider: str = "auto"
    threads: int = 0
    start_timeout: float = 180.0
    frame_timeout: float = 60.0

    def __post_init__(self) -> None:
        from mayhem_ros.onnx_model import PROVIDERS  # late: ONNX Runtime takes longer to load than --help may

        if self.mode not in MODES:
            raise UsageError(f"The mode {self.mode!r} is none of {', '.join(MODES)}.")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise UsageError(f"The rate {self.rate:g} is no pace: choose a number above 0.")
        if self.rate != 1 and self.mode == LOCK_STEP:
            raise UsageError("In lock-step there is no pace to change: leave --rate out or choose --mode real-time.")
        if self.score_threshold is not None and not (self.score_threshold == -1 or 0 <= self.score_threshold <= 1):
            raise UsageError(f"The score threshold {self.score_threshold:g} is not between 0 and 1, nor -1.")
        if self.provider not in PROVIDERS:
            raise UsageError(f"The provider {self.provider!r} is none of {', '.join(PROVIDERS)}.")
        if not 0 <= self.threads <= 256:
            raise UsageError(f"--threads {self.threads} is not from 0 to 256.")

    @property
    def threshold(self) -> float | None:
        """What the node is told, None for the model card's thresholds."""
        if self.score_threshold is None:
            return LOCK_STEP_THRESHOLD if self.mode == LOCK_STEP else None
        return None if self.score_threshold < 0 else self.score_threshold
