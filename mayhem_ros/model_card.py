"""What a model file promises: its task, classes, thresholds, input and origin, kept in the ONNX file's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

from mayhem_ros.errors import MayhemError
from mayhem_ros.intensity_range import IntensityRange

METADATA_KEY = "mayhem_model_card"
FORMAT_VERSION = 2
READ_VERSIONS = (1, FORMAT_VERSION)
"""1 knew no intensity range."""
TASKS = ("multitask", "detection", "segmentation")
PRECISIONS = ("fp32", "fp16", "int8")


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
    """What the graph's input `images` takes: uint8 [N, H, W, 3] RGB, any size; it was trained for the size named.

    `intensity_range` is how 16-bit cameras become such images (see `decode_image`); None is the full range.
    """

    height: int
    width: int
    layout: str = "NHWC"
    dtype: str = "uint8"
    colour: str = "RGB"
    intensity_range: IntensityRange | None = None

    def __post_init__(self) -> None:
        for name, value in (("height", self.height), ("width", self.width)):
            if type(value) is not int or value <= 0:
                raise ValueError(f"the input's {name} is {value!r}, no number of pixels")
        found = (self.layout, self.dtype, self.colour)
        if found != ("NHWC", "uint8", "RGB"):
            raise ValueError(f"the input is {found}, not ('NHWC', 'uint8', 'RGB')")
        if self.intensity_range is not None:
            IntensityRange.of(self.intensity_range)


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
    """The whole card; `precision` is what the network computes its features in."""

    task: str
    detection_classes: tuple[DetectionClass, ...]
    segmentation_classes: tuple[SegmentationClass, ...]
    input: InputSpecification
    origin: Origin
    precision: str = "fp32"
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version not in READ_VERSIONS:
            readable = " and ".join(map(str, READ_VERSIONS))
            raise ValueError(f"format_version is {self.format_version}, and this software reads {readable}")
        if self.task not in TASKS:
            raise ValueError(f"task is {self.task!r}, not one of {', '.join(TASKS)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}, not one of {', '.join(PRECISIONS)}")
        if self.task != "segmentation" and not self.detection_classes:
            raise ValueError(f"task {self.task} has no detection classes")
        if self.task != "detection" and not self.segmentation_classes:
            raise ValueError(f"task {self.task} has no segmentation classes")
        _check_classes("detection", self.detection_classes, first=1)
        _check_classes("segmentation", self.segmentation_classes, first=0)
        for thing in self.detection_classes:
            if not 0 <= thing.score_threshold <= 1:  # NaN neither
                raise ValueError(f"the score threshold of {thing.name} is {thing.score_threshold}, not from 0 to 1")
        surfaces = {kind.id: kind.name for kind in self.segmentation_classes}
        if surfaces and surfaces.get(0) != "background":
            raise ValueError(f"segmentation class 0 is {surfaces.get(0)!r}, not 'background'")

    def to_json(self) -> str:
        """The card as JSON, keys sorted.

        Raises:
            ValueError: a metric is no finite number, for which JSON has no name.
        """
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Reads a card.

        Raises:
            ValueError: a field is missing, unknown or of the wrong kind; the message says which.
        """
        try:
            fields: dict[str, Any] = dict(json.loads(text, parse_constant=_refuse_constant))
            return cls(
                task=fields["task"],
                detection_classes=tuple(
                    DetectionClass(int(c["id"]), str(c["name"]), float(c["score_threshold"]))
                    for c in fields["detection_classes"]
                ),
                segmentation_classes=tuple(
                    SegmentationClass(int(c["id"]), str(c["name"])) for c in fields["segmentation_classes"]
                ),
                input=_input(fields["input"]),
                origin=Origin(**fields["origin"]),
                precision=fields.get("precision", "fp32"),  # what cards of older files say nothing of
                format_version=int(fields["format_version"]),
            )
        except KeyError as error:
            raise ValueError(f"the field {error} is missing") from error
        except TypeError as error:
            raise ValueError(str(error)) from error


def _input(fields: Mapping[str, Any]) -> InputSpecification:
    found = fields.get("intensity_range")
    return InputSpecification(**{**fields, "intensity_range": None if found is None else IntensityRange.of(found)})


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


def _check_classes(kind: str, classes: Sequence[DetectionClass | SegmentationClass], first: int) -> None:
    ids = [c.id for c in classes]
    names = [c.name for c in classes]
    for number in ids:
        if not first <= number <= 255:
            raise ValueError(f"the {kind} class id {number} is not from {first} to 255")
        if ids.count(number) > 1:
            raise ValueError(f"two {kind} classes have the id {number}")
    for name in names:
        if not name.strip():
            raise ValueError(f"a {kind} class has no name")
        if names.count(name) > 1:
            raise ValueError(f"two {kind} classes are called {name}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
