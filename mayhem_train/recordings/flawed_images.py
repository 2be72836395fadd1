"""Flawed images in a sentence: how many, and a few by name with what is wrong with them."""

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


def flawed_images(count: int, where: str = "") -> str:
    """The beginning of a sentence on images that were decoded although something is wrong with them."""
    if count == 1:
        return f"1 image{where} is flawed, but was decoded"
    return f"{count} images{where} are flawed, but were decoded"
