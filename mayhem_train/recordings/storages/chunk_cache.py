"""The chunks decompressed last, since the next message often lies in the same one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

CAPACITY = 64 * 2**20


class ChunkCache:
    """Keeps the newest chunks while they fit in `capacity` bytes, and always the newest one."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._chunks: OrderedDict[int, bytes] = OrderedDict()

    def get(self, position: int, decompress: Callable[[int], bytes]) -> bytes:
        """The chunk at `position`, decompressed now if it is not at hand."""
        chunk = self._chunks.pop(position, None)
        if chunk is None:
            chunk = decompress(position)
        self._chunks[position] = chunk
        while len(self._chunks) > 1 and sum(map(len, self._chunks.values())) > self._capacity:
            self._chunks.popitem(last=False)
        return chunk
