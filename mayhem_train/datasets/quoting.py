"""Values out of files as errors repeat them: in quotes, and cut in the middle where they are long."""

from __future__ import annotations

import reprlib

_LONGEST = 80  # characters

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = _LONGEST


def quoted(value: object) -> str:
    """What `repr` says, of a long value its beginning and its end."""
    return _repr.repr(value)
