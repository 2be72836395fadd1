"""A six-frame drive for the small model of `robot_small_model`, with labels whose scores are worked out by hand.

The model sees the first `blue` of its four constant boxes and floor where red is above 127. Floor is predicted on the
lower 12 of 24 rows and labelled on the lower 10. Frame 3's data are too short, so that it cannot be decoded, and frame
5 is not labelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pycocotools import mask as rle_codec
from robot_small_model import BOXES
from rosbags.rosbag2 import Writer
from rosbags.rosbag2.enums import StoragePlugin
from rosbags.typesys import Stores, get_typestore

from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex, LabelledImage, SurfaceLabel

TOPIC = "/camera/image"
WIDTH, HEIGHT = 32, 24
SEEN = (1, 2, 0, 1, 4, 2)  # how many boxes the model sees on each frame
CORRUPT = 3
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 50_000_000

PERSON, BOX, AGV, FLOOR = 1, 2, 3, 4
"""The index's own ids, which are not those of the model card: there agv is 2 and box 3."""

FRAMES_OUT, FRAMES_SCORED = 5, 4
FLOOR_IOU, BACKGROUND_IOU = 10 / 12, 12 / 14
AGV_AP = 76 / 101
"""Three of four are found, all at precision 1: COCO counts recalls 0.00, 0.01 … 1.00."""
PERSON_AP = BOX_AP = 1.0
MAP = (AGV_AP + PERSON_AP + BOX_AP) / 3


def write_drive(
    path: Path,
    *,
    stamps: Sequence[int] | None = None,
    corrupt: bool = True,
    only: int | None = None,
    seen: Sequence[int] = SEEN,
) -> Path:
    """Writes the drive as a rosbag2 folder; `stamps` in ns replace the headers', `only` is the one frame to write."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    image, header, time = (
        types.types[name] for name in ("sensor_msgs/msg/Image", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, image.__msgtype__, typestore=types)
        for index, count in enumerate(seen):
            if only not in (None, index):
                continue
            pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            pixels[12:, :, 0] = 200
            pixels[0, 0, 2] = count
            data = pixels.reshape(-1)
            stamp = stamp_ns(index) if stamps is None else stamps[index]
            message = image(
                header=header(stamp=time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id="camera"),
                height=HEIGHT,
                width=WIDTH,
                encoding="rgb8",
                is_bigendian=0,
                step=3 * WIDTH,
                data=data[:100] if corrupt and index == CORRUPT else data,
            )
            log_time = START_NS + index * PERIOD_NS
            writer.write(connection, log_time, types.serialize_cdr(message, image.__msgtype__))
    return path


def stamp_ns(index: int) -> int:
    """A frame's header stamp."""
    return START_NS + index * PERIOD_NS - 3_000_001


def labels(recording: str, *, extra: Sequence[Category] = ()) -> DatasetIndex:
    """The labels of a drive written under that name; `extra` adds classes that label nothing."""
    agv, person, box = (tuple(float(v) for v in BOXES[k]) for k in (0, 1, 2))
    boxes = {
        0: (BoxLabel(AGV, agv),),
        1: (BoxLabel(AGV, agv), BoxLabel(PERSON, person)),
        2: (BoxLabel(AGV, agv),),
        3: (BoxLabel(AGV, agv),),
        4: (BoxLabel(AGV, agv), BoxLabel(PERSON, person), BoxLabel(BOX, box)),
    }
    floor = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    floor[14:] = 1
    rle = rle_codec.encode(floor)
    surface = SurfaceLabel(FLOOR, {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")})
    categories = (
        Category(PERSON, "person", True),
        Category(BOX, "box", True),
        Category(AGV, "agv", True),
        Category(FLOOR, "floor", False),
        *extra,
    )
    images = tuple(
        LabelledImage(
            id=index + 1,
            width=WIDTH,
            height=HEIGHT,
            recording=recording,
            topic=TOPIC,
            index=index,
            log_time_ns=START_NS + index * PERIOD_NS,
            stamp_ns=stamp_ns(index),
            split="val",
            boxes=boxes[index],
            surfaces=(surface,),
        )
        for index in boxes
    )
    return DatasetIndex(categories, images)
