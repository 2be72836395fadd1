"""Every parameter of the node once: its type, default, range and description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from mayhem_ros.errors import UsageError
from mayhem_ros.onnx_model import PROVIDERS


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
    score_threshold: float = _parameter(
        -1.0,
        "Detections scoring less are not published; -1: each class's own of the model card.",
        within=(-1, 1),
        live=True,
    )
    class_id_format: str = _parameter(
        "name", "What a detection's class_id holds: the class's name or its number.", choices=("name", "id"), live=True
    )
    autostart: bool = _parameter(False, "The node configures and activates itself; for use without a launch file.")


def declare_parameters(node: Node) -> None:
    """Declares every parameter on the node with its descriptor."""
    for item in fields(Parameters):
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        node.declare_parameter(item.name, default, _descriptor(item.metadata, item.default))


def read_parameters(node: Node) -> Parameters:
    """The parameters' present values.

    Raises:
        UsageError: one is none of its choices.
    """
    values = {item.name: node.get_parameter(item.name).value for item in fields(Parameters)}
    for item in fields(Parameters):
        _check_choice(item.name, values[item.name])
    values["image_topics"] = tuple(values["image_topics"])
    return Parameters(**values)


def check_change(changed: Sequence[Parameter[Any]], *, configured: bool) -> None:
    """Whether these parameters may be set now.

    Raises:
        UsageError: one is none of its choices, or takes effect only when the node is configured, and it is already.
    """
    for parameter in changed:
        item = _FIELDS.get(parameter.name)
        if item is None:
            continue
        _check_choice(parameter.name, parameter.value)
        if configured and not item.metadata["live"]:
            raise UsageError(f"{parameter.name} takes effect when the node is configured: clean it up first.")


_FIELDS = {item.name: item for item in fields(Parameters)}


def _check_choice(name: str, value: Any) -> None:
    choices = _FIELDS[name].metadata["choices"]
    if choices and value not in choices:
        raise UsageError(f"The parameter {name} is {value!r}, which is none of {', '.join(choices)}.")


def _descriptor(metadata: Any, default: Any) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=metadata["description"])
    if metadata["choices"]:
        descriptor.additional_constraints = f"one of {', '.join(metadata['choices'])}"
    if metadata["within"] is not None:
        low, high = metadata["within"]
        if isinstance(default, int):
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    return descriptor
