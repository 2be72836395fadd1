"""What every file format offers: an index of its messages, and any one message by its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ENTRY = np.dtype(
    [("log_time_ns", "<i8"), ("storage", "<i4"), ("connection", "<i4"), ("block", "<i8"), ("offset", "<i8")]
)
"""One message: when it was recorded, in which file (a number the recording gives), on which of the connections, and
where: `offset` within the chunk that begins at byte `block`, or within the file itself where `block` is 0."""


@dataclass(frozen=True)
class Connection:
    """One writer of one topic.

    Attributes:
        topic: the topic as recorded.
        type: the message type as "sensor_msgs/msg/Image"; empty where the recording does not say.
        encoding: how its messages are serialised: "cdr", "ros1", or a name that cannot be read.
        definition: the type's definition with those of its parts; empty where the recording has none.
        definition_format: "ros2msg", "ros2idl", "ros1msg", or empty.
    """

    topic: str
    type: str
    encoding: str
    definition: str = ""
    definition_format: str = ""


@dataclass(frozen=True)
class StorageIndex:
    """All that one file holds.

    Attributes:
        connections: numbered as `entries["connection"]` numbers them.
        entries: `ENTRY` [N], in file order; `storage` is 0.
        compression: names of the compressions in use, sorted; empty for none.
        problems: what is damaged, one sentence each; the rest is in `entries`.
    """

    connections: tuple[Connection, ...]
    entries: NDArray[np.void]
    compression: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Storage(Protocol):
    """A file of messages. It pickles, and opens its file again by itself in every process that reads from it.

    Attributes:
        damage: what `read` came upon in this process though it gave something, one sentence each.
    """

    name: str
    path: Path
    damage: list[str]

    def index(self) -> StorageIndex:
        """Where every message lies; payloads are not read as long as the file's own index is whole."""

    def read(self, block: int, offset: int, size: int | None = None) -> bytes:
        """A message as it was serialised, or only its first `size` bytes.

        Raises:
            MayhemError: the bytes there are damaged or gone.
        """

    def check(self) -> Iterator[str]:
        """Reads the file and gives a sentence for everything that contradicts its own checksums and structure."""

    def close(self) -> None:
        """Closes the file; reading opens it again."""


def normalise_type(name: str) -> str:
    """ "sensor_msgs/Image" and "sensor_msgs/msg/Image" as "sensor_msgs/msg/Image"."""
    package, slash, rest = name.partition("/")
    return f"{package}/msg/{rest}" if slash and "/" not in rest else name


def in_file_order(parts: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    """Entries of one file joined and sorted by where they lie."""
    entries = np.concatenate(parts) if parts else np.zeros(0, ENTRY)
    # Where the block is 0 the offset is one in the file, comparable with where the other messages' chunks begin.
    place = np.where(entries["block"] > 0, entries["block"], entries["offset"])
    return entries[np.lexsort((entries["offset"], place))]
