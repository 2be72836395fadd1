"""Odometry, poses and transforms as rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mayhem_train.recordings.ingest.extraction import Extracted
from mayhem_train.recordings.ingest.spool import Fields, Names, Spool
from mayhem_train.recordings.ingest.tables import Block

TRANSFORMS = "tf2_msgs/msg/TFMessage"
POSE_TYPES = (
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "geometry_msgs/msg/TransformStamped",
    "geometry_msgs/msg/Pose",
)

_POSE = ("x", "y", "z", "qx", "qy", "qz", "qw")
_TWIST = ("vx", "vy", "vz", "wx", "wy", "wz")
_NO_TWIST = (np.nan,) * len(_TWIST)


@dataclass(frozen=True)
class PoseExtractor:
    """One row a pose: metres, quaternion, and of odometry the twist in metres and radians a second, else NaN."""

    fields: Fields = (("child_frame_id", "<i4"), *((name, "<f8") for name in (*_POSE, *_TWIST)))

    def extract(self, message: Any) -> Extracted:
        """The pose of any of `POSE_TYPES`."""
        if hasattr(message, "twist"):
            return Extracted(((message.child_frame_id, *_pose(message.pose.pose), *_twist(message.twist.twist)),))
        if hasattr(message, "transform"):
            return Extracted((_transform(message),))
        pose = getattr(message, "pose", message)
        return Extracted((("", *_pose(getattr(pose, "pose", pose)), *_NO_TWIST),))


@dataclass(frozen=True)
class TransformsExtractor:
    """One row a transform, several a message; each with the stamp and the frames of its own header."""

    fields: Fields = (
        *PoseExtractor.fields,
        ("transform_stamp_ns", "<i8"),
        ("parent_frame_id", "<i4"),
    )

    def extract(self, message: Any) -> Extracted:
        """Every transform of a tf2_msgs/TFMessage."""
        return Extracted(
            tuple(
                (
                    *_transform(transform),
                    transform.header.stamp.sec * 10**9 + transform.header.stamp.nanosec,
                    transform.header.frame_id,
                )
                for transform in message.transforms
            )
        )


def pose_block(spool: Spool, positions: np.ndarray[Any, np.dtype[np.int64]], names: Names) -> Block:
    """Columns of a table of poses or transforms."""
    rows = spool.take(positions)
    own_header = "parent_frame_id" in spool.dtype.fields if spool.dtype.fields else False
    stamps = rows["transform_stamp_ns" if own_header else "stamp_ns"]
    frames = rows["parent_frame_id" if own_header else "frame_id"]
    columns: dict[str, Any] = {
        "index": rows["index"],
        "log_time_ns": rows["log_time_ns"],
        "stamp_ns": np.ma.masked_equal(stamps, 0),
        "frame_id": [names[number] for number in frames.tolist()],
        "child_frame_id": [names[number] for number in rows["child_frame_id"].tolist()],
    }
    return {**columns, **{name: rows[name] for name in (*_POSE, *_TWIST)}}


def _pose(pose: Any) -> tuple[float, ...]:
    position, q = pose.position, pose.orientation
    return position.x, position.y, position.z, q.x, q.y, q.z, q.w


def _twist(twist: Any) -> tuple[float, ...]:
    linear, angular = twist.linear, twist.angular
    return linear.x, linear.y, linear.z, angular.x, angular.y, angular.z


def _transform(message: Any) -> tuple[Any, ...]:
    translation, q = message.transform.translation, message.transform.rotation
    pose = translation.x, translation.y, translation.z, q.x, q.y, q.z, q.w
    return message.child_frame_id, *pose, *_NO_TWIST
