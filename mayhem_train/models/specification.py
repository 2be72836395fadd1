"""What identifies a network: enough to build it again around a checkpoint's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Preset = Literal["fair", "original"]


@dataclass(frozen=True)
class NetworkSpecification:
    """A network by its name, body, input size in pixels, class names (background left out) and preset.

    A network of one task needs only that task's kind of classes; those of the other kind, which the data may have,
    it leaves alone. The preset is "fair", networks that can be compared with one another, or "original", the networks
    of the original work to the last trainable parameter.
    """

    name: str
    body: str
    height: int
    width: int
    detection_classes: tuple[str, ...] = ()
    segmentation_classes: tuple[str, ...] = ()
    preset: Preset = "fair"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> NetworkSpecification:
        """The inverse of `to_dict`. Raises KeyError where a field is missing; older checkpoints name no preset."""
        return cls(
            name=str(fields["name"]),
            body=str(fields["body"]),
            height=int(fields["height"]),
            width=int(fields["width"]),
            detection_classes=tuple(fields["detection_classes"]),
            segmentation_classes=tuple(fields["segmentation_classes"]),
            preset=fields.get("preset", "fair"),
        )
