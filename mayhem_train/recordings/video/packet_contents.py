"""What every packet of a topic holds, found by looking at all of them once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.video_bitstream import Content, PacketReader
from mayhem_ros.video_packets import VideoPacket


def packet_contents(packets: Iterable[VideoPacket | None]) -> NDArray[np.uint16]:
    """uint16 [N], `Content` of a topic's packets in their order; None stands for a message that holds no packet."""
    readers: dict[str, PacketReader] = {}
    contents = []
    for packet in packets:
        if packet is None:
            contents.append(Content.LOOKED_AT)
        else:
            contents.append(readers.setdefault(packet.codec, PacketReader()).look(packet.codec, packet.data))
    return np.array([int(content) for content in contents], np.uint16)
