"""Every parameter of the node once: its type, default, range and description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from mayhem_ros.decoded_image import MAX_PIXELS
from mayhem_ros.errors import UsageError
from mayhem_ros.onnx_model import PROVIDERS

CARD_THRESHOLDS = -1.0
"""The `score_threshold` that stands for each class's own."""


def _parameter(
    default: Any,
    description: str,
    *,
    choices: Sequence[str] = (),
    within: tuple[float, float] | None = None,
    live: bool = False,
) -> Any:
    """A field and what its descriptor says; `live` ones may change while the node is configured."""
    return field(
        default=default, metadata={"description": description, "choices": choices, "within": within, "live": live}
    )


@dataclass(frozen=True)
class Parameters:
    """The node's parameters as they were when it was configured."""

    model_path: str = _parameter("", "The exported model file (.onnx).")
    provider: str = _parameter(
        "auto", "What runs the model. auto: CUDA where there is one, else the CPU.", choices=PROVIDERS
    )
    threads: int = _parameter(0, "CPU threads of one pass; 0: as many as cores.", within=(0, 256))
    image_topics: tuple[str, ...] = _parameter(
        ("image",), "The cameras' topics. Results of one camera appear under ~/, of several under ~/<topic>/."
    )
    image_type: str = _parameter(
        "auto",
        "The topics' type: Image (raw) or CompressedImage (compressed). "
        "auto: CompressedImage where the topic's name, after remapping, ends in /compressed.",
        choices=("auto", "raw", "compressed"),
    )
    reliability: str = _parameter(
        "best_effort",
        "Of the image subscriptions. best_effort meets every publisher.",
        choices=("best_effort", "reliable"),
    )
    queue_depth: int = _parameter(5, "Images the middleware keeps for each subscription.", within=(1, 1000))
    frame_policy: str = _parameter(
        "newest",
        "newest: a frame that arrives while the model is busy overtakes the one waiting. every: all wait in order.",
        choices=("newest", "every"),
    )
    max_pixels: int = _parameter(
        MAX_PIXELS, "Images that claim to have more pixels are refused before they are decoded.", within=(1, 2**31 - 1)
    )
    damaged_images: str = _parameter(
        "accept",
        "accept: a JPEG image whose data are damaged is answered as far as it can be decoded. refuse: it is not.",
        choices=("accept", "refuse"),
        live=True,
    )
    score_threshold: float = _parameter(
        CARD_THRESHOLDS,
        "Detections scoring less are not published, 0 to 1; -1: each class's own of the model card.",
        within=(CARD_THRESHOLDS, 1),
        live=True,
    )
    class_id_format: str = _parameter(
        "name", "What a detection's class_id holds: the class's name or its number.", choices=("name", "id"), live=True
    )
    autostart: bool = _parameter(False, "The node configures and activates itself; for use without a launch file.")


def declare_parameters(node: Node) -> None:
    """Declares every parameter on the node with its descriptor.

    Raises:
        UsageError: one was given a value of another type, or none at all as in `image_topics:=[]`.
    """
    for item in fields(Parameters):
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        node.declare_parameter(item.name, default, _descriptor(item.metadata, item.default))
        _check_type(item.name, node.get_parameter_or(item.name).value)


def unknown_parameters(node: Node) -> list[str]:
    """What was given to the node when it was started, but is none of its parameters; ROS says nothing of it."""
    return [name for name in node._parameter_overrides if not node.has_parameter(name)]


def read_parameters(node: Node) -> Parameters:
    """The parameters' present values.

    Raises:
        UsageError: one is not what it may be.
    """
    values = {item.name: node.get_parameter(item.name).value for item in fields(Parameters)}
    for name, value in values.items():
        _check_value(name, value)
    values["image_topics"] = tuple(values["image_topics"])
    return Parameters(**values)


def changes(changed: Sequence[Parameter[Any]], settings: Parameters | None) -> dict[str, Any]:
    """Those of the parameters to be set that are other than what the node is configured with (None: it is not yet).

    Raises:
        UsageError: one is not what it may be, or takes effect only when the node is configured, and it is already.
    """
    new = {}
    for parameter in changed:
        item = _FIELDS.get(parameter.name)
        if item is None:
            continue
        _check_value(parameter.name, parameter.value)
        value = tuple(parameter.value) if isinstance(item.default, tuple) else parameter.value
        if settings is None or value == getattr(settings, parameter.name):
            continue
        if not item.metadata["live"]:
            raise UsageError(f"{parameter.name} takes effect when the node is configured: clean it up first.")
        new[parameter.name] = value
    return new


_FIELDS = {item.name: item for item in fields(Parameters)}
_KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", tuple: "a list of texts"}


def _check_type(name: str, value: Any) -> None:
    """ROS's own check would not take 1 for a float, and says the types' numbers instead of their names."""
    kind = type(_FIELDS[name].default)
    if kind is tuple:
        fits = isinstance(value, list) and all(isinstance(text, str) for text in value)
    else:
        fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        found = "empty" if value is None else repr(value)
        raise UsageError(f"The parameter {name} is {found}, and has to be {_KINDS[kind]}.")


def _check_value(name: str, value: Any) -> None:
    _check_type(name, value)
    choices = _FIELDS[name].metadata["choices"]
    if choices and value not in choices:
        raise UsageError(f"The parameter {name} is {value!r}, which is none of {', '.join(choices)}.")
    if name == "score_threshold" and not (value == CARD_THRESHOLDS or 0 <= value <= 1):  # NaN neither
        raise UsageError(
            f"The parameter score_threshold is {value:g}: choose 0 to 1, or -1 for each class's own of the model card."
        )


def _descriptor(metadata: Any, default: Any) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=metadata["description"], dynamic_typing=True)
    if metadata["choices"]:
        descriptor.additional_constraints = f"one of {', '.join(metadata['choices'])}"
    if metadata["within"] is not None:
        low, high = metadata["within"]
        if isinstance(default, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    return descriptor
