"""How the node's process ends on SIGINT and SIGTERM: well, whenever they come and however often."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_at_once() -> None:
    """From now on a signal ends the process with exit code 0. For the imports, when there is nothing to put away."""
    on_signals(lambda: os._exit(0))


def on_signals(act: Callable[[], object]) -> None:
    """From now on a signal does this. It may interrupt itself: signals come in pairs under `ros2 launch`."""
    for number in _SIGNALS:
        signal.signal(number, lambda *_: act())


def ignore_signals() -> None:
    """From now on signals do nothing. For the end, since Python's own takes a while in which they would kill it."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
