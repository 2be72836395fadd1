"""Camera calibrations as YAML in the layout of ROS's camera_calibration_parsers, or the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mayhem_train.recordings.ingest.extraction import Extracted
from mayhem_train.recordings.ingest.spool import Fields


@dataclass(frozen=True)
class CameraInfoExtractor:
    """sensor_msgs/CameraInfo; its row names the calibration, so that a change shows."""

    fields: Fields = (("calibration", "<i4"),)

    def extract(self, message: Any) -> Extracted:
        """The whole calibration as the row's name."""
        return Extracted(((json.dumps(calibration(message)),),))


def calibration(message: Any) -> dict[str, Any]:
    """Everything of a sensor_msgs/CameraInfo of ROS 1 or 2 but its stamp."""
    d, k, r, p = (getattr(message, name, getattr(message, name.upper(), ())) for name in "dkrp")
    region = message.roi
    return {
        "image_width": int(message.width),
        "image_height": int(message.height),
        "camera_name": message.header.frame_id,
        "camera_matrix": _matrix(k, 3, 3),
        "distortion_model": message.distortion_model,
        "distortion_coefficients": _matrix(d, 1, len(d)),
        "rectification_matrix": _matrix(r, 3, 3),
        "projection_matrix": _matrix(p, 3, 4),
        "binning_x": int(message.binning_x),
        "binning_y": int(message.binning_y),
        "roi": {
            "x_offset": int(region.x_offset),
            "y_offset": int(region.y_offset),
            "height": int(region.height),
            "width": int(region.width),
            "do_rectify": bool(region.do_rectify),
        },
    }


def calibration_bytes(name: str, form: str) -> bytes:
    """The contents of a file in that form ("yaml" or "json"), from the name that a row holds."""
    fields = json.loads(name)
    if form == "json":
        return (json.dumps(fields, indent=2) + "\n").encode()
    return yaml.safe_dump(fields, sort_keys=False, default_flow_style=None, width=100).encode()


def _matrix(values: Sequence[float], rows: int, columns: int) -> dict[str, Any]:
    return {"rows": rows, "cols": columns, "data": [float(value) for value in values]}
