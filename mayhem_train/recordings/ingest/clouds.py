"""Point clouds with all their fields as binary PCD or PLY."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.ingest.extraction import FILE_FIELDS, Extracted
from mayhem_train.recordings.ingest.spool import Fields

# sensor_msgs/PointField
_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_PLY_TYPES = {
    "i1": "char",
    "u1": "uchar",
    "i2": "short",
    "u2": "ushort",
    "i4": "int",
    "u4": "uint",
    "f4": "float",
    "f8": "double",
}


@dataclass(frozen=True)
class CloudField:
    """One field of every point: `count` values of the numpy type `kind` ("f4", little-endian without saying so)."""

    name: str
    kind: str
    count: int


@dataclass(frozen=True)
class Cloud:
    """A cloud without padding.

    Attributes:
        points: structured [height * width], a field for each of `fields`, row by row; NaN points among them.
        fields: in the order of the message.
        width, height: of an organised cloud; height is 1 otherwise.
    """

    points: NDArray[np.void]
    fields: tuple[CloudField, ...]
    width: int
    height: int


@dataclass(frozen=True)
class CloudExtractor:
    """sensor_msgs/PointCloud2 in `form`, "pcd" or "ply"."""

    form: str
    fields: Fields = FILE_FIELDS

    def extract(self, message: Any) -> Extracted:
        """Packs the points; raises MayhemError where the data do not fit their description."""
        cloud = read_cloud(message)
        data = pcd_bytes(cloud) if self.form == "pcd" else ply_bytes(cloud)
        return Extracted.file(cloud.width, cloud.height, data, f".{self.form}")


def read_cloud(message: Any) -> Cloud:
    """A sensor_msgs/PointCloud2 of any layout: fields of any type, count and place, padded points and rows, both byte
    orders. Values are only moved, never converted, so that packed colours keep their bits.

    Raises:
        MayhemError: the data do not fit their description.
    """
    height, width, step = int(message.height), int(message.width), int(message.point_step)
    found = f"The {width}x{height} cloud with point step {step} and {len(message.data)} bytes of data"
    if not message.fields:
        raise MayhemError(f"{found} has no fields.")
    names = _unique([field.name for field in message.fields])
    fields, offsets = [], []
    for name, field in zip(names, message.fields, strict=True):
        kind = _DATATYPES.get(field.datatype)
        if kind is None:
            raise MayhemError(f"{found} has a field {field.name!r} of the unknown datatype {field.datatype}.")
        fields.append(CloudField(name, kind, max(int(field.count), 1)))  # some drivers write 0 and mean 1
        offsets.append(int(field.offset))
        if offsets[-1] + np.dtype(kind).itemsize * fields[-1].count > step:
            raise MayhemError(f"{found} has a field {field.name!r} that does not fit into a point.")
    row_step = int(message.row_step) if height > 1 else width * step  # drivers without rows leave it out
    if row_step < width * step:
        raise MayhemError(f"{found} has rows of {row_step} bytes, too short for their points.")
    if width and height and len(message.data) < row_step * (height - 1) + width * step:
        raise MayhemError(f"{found} is cut off: there should be {row_step * height}.")
    order = ">" if message.is_bigendian else "<"
    recorded = np.dtype(
        {
            "names": names,
            "formats": [(order + field.kind, (field.count,)) for field in fields],
            "offsets": offsets,
            "itemsize": step,
        }
    )
    packed = np.dtype([(field.name, "<" + field.kind, (field.count,)) for field in fields])
    points = np.zeros((height, width), packed)
    if points.size:
        source: NDArray[np.void] = np.ndarray((height, width), recorded, message.data, strides=(row_step, step))
        for name in names:
            points[name] = source[name]
    return Cloud(points.reshape(-1), tuple(fields), width, height)


def pcd_bytes(cloud: Cloud) -> bytes:
    """The Point Cloud Data file format 0.7, DATA binary."""
    header = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        "FIELDS " + " ".join(field.name for field in cloud.fields),
        "SIZE " + " ".join(field.kind[1] for field in cloud.fields),
        "TYPE " + " ".join(field.kind[0].upper() for field in cloud.fields),
        "COUNT " + " ".join(str(field.count) for field in cloud.fields),
        f"WIDTH {cloud.width}",
        f"HEIGHT {cloud.height}",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {cloud.width * cloud.height}",
        "DATA binary",
    ]
    return "\n".join(header).encode() + b"\n" + cloud.points.tobytes()


def ply_bytes(cloud: Cloud) -> bytes:
    """PLY, binary little-endian; a field of several values becomes one property each, `name_0` and so on.

    An organised cloud's size is in `obj_info num_cols` and `num_rows`, as range grids have it.
    """
    names = [
        field.name if field.count == 1 else f"{field.name}_{k}" for field in cloud.fields for k in range(field.count)
    ]
    kinds = [_PLY_TYPES[field.kind] for field in cloud.fields for _ in range(field.count)]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"obj_info num_cols {cloud.width}",
        f"obj_info num_rows {cloud.height}",
        f"element vertex {cloud.width * cloud.height}",
        *(f"property {kind} {name}" for name, kind in zip(_unique(names), kinds, strict=True)),
        "end_header",
    ]
    return "\n".join(header).encode() + b"\n" + cloud.points.tobytes()


def _unique(names: Sequence[str]) -> list[str]:
    """Names that the files' headers can hold, one word each, none twice."""
    words: list[str] = []
    for name in names:
        word = candidate = re.sub(r"[^\x21-\x7e]", "_", name) or "_"
        number = 2
        while candidate in words:
            candidate = f"{word}_{number}"
            number += 1
        words.append(candidate)
    return words
