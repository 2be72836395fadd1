"""Numbers as annotation files write them: Python would also take 1_0 and the digits of every script."""

from __future__ import annotations


def plain(text: str) -> str:
    """The text of one number or of many, for `float`, `int` or numpy to read.

    Raises:
        ValueError: it holds an underscore or something beyond ASCII.
    """
    if "_" in text or not text.isascii():
        raise ValueError("not written in plain digits")
    return text
