"""What every kind of message turns into: rows of numbers, and for some kinds the contents of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from mayhem_train.recordings.ingest.spool import Fields

FILE_FIELDS: Fields = (("width", "<u4"), ("height", "<u4"), ("suffix", "<i4"), ("flawed", "?"))
"""Of a message that becomes a file: columns and rows of its image or cloud, the file's suffix with its dot, and whether
something is wrong with its image though it could be decoded."""


@dataclass(frozen=True)
class Extracted:
    """One message's share.

    Attributes:
        rows: values of the extractor's `fields`, one tuple a row; mostly one.
        data: contents of the message's file.
        suffix: of that file, with its dot; empty where there is none.
    """

    rows: tuple[tuple[Any, ...], ...]
    data: bytes = b""
    suffix: str = ""

    @classmethod
    def file(cls, width: int, height: int, data: bytes, suffix: str, *, flawed: bool = False) -> Extracted:
        """A file, with a row of `FILE_FIELDS`."""
        return cls(((width, height, suffix, flawed),), data, suffix)


class Extractor(Protocol):
    """Turns messages of one kind into what is kept of them; safe to share between threads."""

    @property
    def fields(self) -> Fields:
        """What its rows hold beside what every row does."""

    def extract(self, message: Any) -> Extracted:
        """Works on a message of rosbags.

        Raises:
            MayhemError: the message is damaged, or holds nothing of the kind; without its topic and index.
        """
