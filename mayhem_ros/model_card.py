"""What a model file promises: its task, classes, thresholds, input and origin, kept in the ONNX file's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mayhem_ros.errors import MayhemError

METADATA_KEY = "mayhem_model_card"
FORMAT_VERSION = 1
TASKS = ("multitask", "detection", "segmentation")


@dataclass(frozen=True)
class DetectionClass:
    """One kind of object: `id` is its value in the output `labels`, below `score_threshold` it is not published."""

    id: int
    name: str
    score_threshold: float


@dataclass(frozen=True)
class SegmentationClass:
    """One kind of surface: `id` is its value in the output `mask`; 0 is always "background"."""

    id: int
    name: str


@dataclass(frozen=True)
class InputSpecification:
    """What the graph's input `images` takes: uint8 [N, H, W, 3] RGB, any size; it was trained for the size named."""

    height: int
    width: int
    layout: str = "NHWC"
    dtype: str = "uint8"
    colour: str = "RGB"


@dataclass(frozen=True)
class Origin:
    """Where the weights come from."""

    model: str
    balancer: str
    seed: int
    dataset_sha256: str
    git_revision: str
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelCard:
    """The whole card."""

    task: str
    detection_classes: tuple[DetectionClass, ...]
    segmentation_classes: tuple[SegmentationClass, ...]
    input: InputSpecification
    origin: Origin
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ValueError(f"format_version is {self.format_version}, and this software reads {FORMAT_VERSION}")
        if self.task not in TASKS:
            raise ValueError(f"task is {self.task!r}, not one of {', '.join(TASKS)}")
        if self.task != "segmentation" and not self.detection_classes:
            raise ValueError(f"task {self.task} has no detection classes")
        if self.task != "detection" and not self.segmentation_classes:
            raise ValueError(f"task {self.task} has no segmentation classes")

    def to_json(self) -> str:
        """The card as JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Reads a card.

        Raises:
            ValueError: a field is missing, unknown or of the wrong kind; the message says which.
        """
        try:
            fields: dict[str, Any] = dict(json.loads(text))
            return cls(
                task=fields["task"],
                detection_classes=tuple(
                    DetectionClass(int(c["id"]), str(c["name"]), float(c["score_threshold"]))
                    for c in fields["detection_classes"]
                ),
                segmentation_classes=tuple(
                    SegmentationClass(int(c["id"]), str(c["name"])) for c in fields["segmentation_classes"]
                ),
                input=InputSpecification(**fields["input"]),
                origin=Origin(**fields["origin"]),
                format_version=int(fields["format_version"]),
            )
        except KeyError as error:
            raise ValueError(f"the field {error} is missing") from error
        except TypeError as error:
            raise ValueError(str(error)) from error


def read_card(metadata: Mapping[str, str], path: str) -> ModelCard:
    """The card in an ONNX file's metadata.

    Raises:
        MayhemError: there is none, or it is not valid.
    """
    if METADATA_KEY not in metadata:
        raise MayhemError(f"{path} carries no model card: export it with `mayhem export`.")
    try:
        return ModelCard.from_json(metadata[METADATA_KEY])
    except ValueError as error:
        raise MayhemError(f"{path} carries an invalid model card ({error}): export it again.") from error
