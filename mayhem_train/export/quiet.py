"""Exporters' remarks, of which a user can make nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def only_errors(logger: str = "") -> Iterator[None]:
    """Lets a logger, by name or else the root, tell errors only; afterwards it is as it was."""
    quietened = logging.getLogger(logger)
    level = quietened.level
    quietened.setLevel(logging.ERROR)
    try:
        yield
    finally:
        quietened.setLevel(level)
