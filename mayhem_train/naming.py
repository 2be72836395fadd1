"""Looking something up by the name it is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from mayhem_ros.errors import UsageError

Value = TypeVar("Value")


def look_up(kind: str, table: Mapping[str, Value], name: str, aliases: Mapping[str, str] | None = None) -> Value:
    """What a name or an alias stands for.

    Raises:
        UsageError: nothing of this kind has the name; the sentence lists all names and the nearest.
    """
    aliases = aliases or {}
    name = aliases.get(name, name)
    if name not in table:
        nearest = difflib.get_close_matches(name, [*table, *aliases], 1, 0.4)
        hint = f"did you mean {nearest[0]}? All of them are" if nearest else "choose one of"
        raise UsageError(f"There is no {kind} {name!r}: {hint} {', '.join(table)}.")
    return table[name]
