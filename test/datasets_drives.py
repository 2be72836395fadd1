"""Tiny drives for the dataset tests: real rosbag2 recordings whose every pixel is known, and CVAT files beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

WIDTH, HEIGHT = 64, 48
TOPIC = "/camera/image"
START_NS = 1_000_000_000
PERIOD_NS = 100_000_000
# The header's stamp lies this much before the log time.
LAG_NS = 7_000_000


def picture(recording: str, index: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """uint8 [height, width, 3] RGB: noise that follows from the frame's name."""
    generator = np.random.default_rng([index, *recording.encode()])
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_drive(folder: Path, stem: str, count: int, *, width: int = WIDTH, height: int = HEIGHT) -> Path:
    """Writes `count` rgb8 frames to the rosbag2 recording `folder/stem`."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    image_type, header_type, time_type = (
        types.types[name] for name in ("sensor_msgs/msg/Image", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    folder.mkdir(parents=True, exist_ok=True)
    with Writer(folder / stem, version=9) as writer:
        connection = writer.add_connection(TOPIC, image_type.__msgtype__, typestore=types)
        for index in range(count):
            log_time = START_NS + index * PERIOD_NS
            stamp = log_time - LAG_NS
            message = image_type(
                header=header_type(stamp=time_type(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id="camera"),
                height=height,
                width=width,
                encoding="rgb8",
                is_bigendian=0,
                step=3 * width,
                data=picture(stem, index, width, height).reshape(-1),
            )
            writer.write(connection, log_time, types.serialize_cdr(message, image_type.__msgtype__))
    return folder / stem


def image_element(name: str, *shapes: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    """One `<image>` with its shapes."""
    return f'<image id="0" name="{name}" width="{width}" height="{height}">{"".join(shapes)}</image>'


def box_element(label: str, x1: float, y1: float, x2: float, y2: float, more: str = "") -> str:
    """One `<box>`."""
    return f'<box label="{label}" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}" {more}></box>'


def polygon_element(label: str, points: str, z_order: int = 0) -> str:
    """One `<polygon>`."""
    return f'<polygon label="{label}" points="{points}" z_order="{z_order}"></polygon>'


def write_cvat(path: Path, *images: str, labels: Sequence[str] = ()) -> Path:
    """Writes a CVAT for images 1.1 file."""
    declared = "".join(f"<label><name>{label}</name></label>" for label in labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>'
        f"<meta><task><labels>{declared}</labels></task></meta>{''.join(images)}</annotations>"
    )
    return path


def tracked_box(
    frame: int, x1: float, y1: float, x2: float, y2: float, *, keyframe: int = 1, outside: int = 0, more: str = ""
) -> str:
    """A `<box>` of a track."""
    return (
        f'<box frame="{frame}" keyframe="{keyframe}" outside="{outside}" occluded="0" '
        f'xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}" z_order="0" {more}></box>'
    )


def track_element(label: str, *shapes: str, more: str = "") -> str:
    """A `<track>` of these shapes."""
    return f'<track id="0" label="{label}" source="manual" {more}>{"".join(shapes)}</track>'


def write_cvat_video(
    path: Path,
    *tracks: str,
    source: str = "drive-a.mp4",
    start: int = 0,
    stop: int = 9,
    frame_filter: str = "",
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Path:
    """Writes the "CVAT for video 1.1" file of one task."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task><name>a task</name>'
        f"<mode>interpolation</mode><start_frame>{start}</start_frame><stop_frame>{stop}</stop_frame>"
        f"<frame_filter>{frame_filter}</frame_filter><original_size><width>{size[0]}</width>"
        f"<height>{size[1]}</height></original_size><source>{source}</source></task></meta>"
        f"{''.join(tracks)}</annotations>"
    )
    return path
