"""A few flawed images by name, each with what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence


def listed_flaws(flawed: Sequence[tuple[str, str]], named: int) -> str:
    """`0 (its end marker is missing), 1, 2 and 3 more` of (name, flaw): a flaw is said where it differs from the last.

    Args:
        flawed: in order, at least one.
        named: so many at most are.
    """
    parts = []
    last = ""
    for name, flaw in flawed[:named]:
        parts.append(name if flaw == last else f"{name} ({flaw})")
        last = flaw
    more = len(flawed) - len(parts)
    return ", ".join(parts) + (f" and {more} more" if more else "")
