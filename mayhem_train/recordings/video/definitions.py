"""The types of video packets, which no ROS distribution has among its own: for recordings without definitions."""

from __future__ import annotations

FFMPEG_PACKET = "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
COMPRESSED_VIDEO = "foxglove_msgs/msg/CompressedVideo"

DEFINITIONS = {
    FFMPEG_PACKET: """std_msgs/Header header
int32 width
int32 height
string encoding
uint64 pts
uint8 flags
bool is_bigendian
uint8[] data
""",
    COMPRESSED_VIDEO: """builtin_interfaces/Time timestamp
string frame_id
uint8[] data
string format
""",
}
