"""What an ingest is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mayhem_ros.errors import UsageError
from mayhem_ros.intensity_range import IntensityRange

FORMS = {
    "colour": ("png", "jpg", "none"),
    "depth": ("auto", "png", "tiff", "none"),
    "clouds": ("pcd", "ply", "none"),
    "imu": ("csv", "parquet", "none"),
    "poses": ("csv", "parquet", "none"),
    "camera_info": ("yaml", "json", "none"),
    "table": ("csv", "parquet", "none"),
}
"""For every kind of data the forms it can be written in; the first one is the default."""

NONE = "none"


@dataclass(frozen=True)
class IngestOptions:
    """What is extracted, and in which form ("none": not at all); these, and nothing else, decide what is written.

    Attributes:
        colour: "png" or "jpg"; JPEG messages are copied byte for byte as "jpg".
        depth: "png" (16 bit, as recorded), "tiff" (float32, metres), or "auto": each image in the one that holds it
            exactly as it was recorded.
        clouds: "pcd" or "ply".
        imu: "csv" or "parquet".
        poses: "csv" or "parquet"; odometry, poses and transforms.
        camera_info: "yaml" or "json".
        table: "csv" or "parquet": the table that pairs every colour frame with the nearest of all else.
        topics: only these; all of the recording where it is empty.
        max_offset_ns: what is further than this from a colour frame is not paired with it, and no acceleration is
            interpolated further than this from a measured one.
        jpeg_quality: 1 to 100, of pictures that are not JPEG already.
        distro: whose message definitions to take where a recording has none.
        intensity_range: what the pictures of 16-bit cameras show; None is the full range.
    """

    colour: str = "png"
    depth: str = "auto"
    clouds: str = "pcd"
    imu: str = "csv"
    poses: str = "csv"
    camera_info: str = "yaml"
    table: str = "csv"
    topics: tuple[str, ...] = ()
    max_offset_ns: int = 50_000_000
    jpeg_quality: int = 95
    distro: str | None = None
    intensity_range: IntensityRange | None = None

    def __post_init__(self) -> None:
        for kind, forms in FORMS.items():
            if getattr(self, kind) not in forms:
                raise UsageError(
                    f"{kind} cannot be written as {getattr(self, kind)!r}: choose one of {', '.join(forms)}."
                )
        if all(getattr(self, kind) == NONE for kind in FORMS):
            raise UsageError("Nothing is asked for: every kind of data is set to none.")
        if self.max_offset_ns < 0:
            raise UsageError(f"The offset limit {self.max_offset_ns / 1e9} s is negative: choose 0 or more.")
        if not 1 <= self.jpeg_quality <= 100:
            raise UsageError(f"The JPEG quality {self.jpeg_quality} is not within 1 to 100.")

    def to_json(self) -> dict[str, Any]:
        """As the manifest holds them."""
        numbers = None if self.intensity_range is None else list(self.intensity_range)
        return {**asdict(self), "topics": sorted(set(self.topics)), "intensity_range": numbers}
