"""Every parameter is declared once with what it may be, and a wrong value is answered with a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter
from robot_small_model import save_model

from mayhem_ros.errors import UsageError
from mayhem_ros.parameters import Parameters, changes, declare_parameters, read_parameters
from mayhem_ros.perception_node import PerceptionNode

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    context = Context()
    rclpy.init(context=context)
    yield context
    rclpy.shutdown(context=context)


def node_with(context: Context, **parameters: object) -> Node:
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    return Node("node", context=context, parameter_overrides=overrides)


def test_what_is_not_given_has_its_default(context: Context) -> None:
    node = node_with(context)
    declare_parameters(node)
    assert read_parameters(node) == Parameters()


def test_what_is_given_is_read_in_its_type(context: Context) -> None:
    given = {
        "model_path": "m.onnx",
        "image_topics": ["/a", "/b"],
        "score_threshold": 0.5,
        "autostart": True,
        "threads": 2,
    }
    node = node_with(context, **given)
    declare_parameters(node)
    expected = Parameters(
        model_path="m.onnx", image_topics=("/a", "/b"), score_threshold=0.5, autostart=True, threads=2
    )
    assert read_parameters(node) == expected


def test_descriptors_say_what_a_parameter_is_and_may_be(context: Context) -> None:
    node = node_with(context)
    declare_parameters(node)
    assert all(node.describe_parameter(item.name).description for item in fields(Parameters))
    assert node.describe_parameter("provider").additional_constraints == "one of auto, cpu, cuda, tensorrt, openvino"
    (threads,) = node.describe_parameter("threads").integer_range
    assert (threads.from_value, threads.to_value) == (0, 256)
    (score,) = node.describe_parameter("score_threshold").floating_point_range
    assert (score.from_value, score.to_value) == (-1.0, 1.0)


def test_values_out_of_range_are_refused(context: Context) -> None:
    for name, value in (("threads", -1), ("queue_depth", 0), ("score_threshold", 1.5)):
        with pytest.raises(InvalidParameterValueException, match=name):
            declare_parameters(node_with(context, **{name: value}))


def test_words_that_are_no_choice_are_refused(context: Context) -> None:
    node = node_with(context, frame_policy="oldest")
    declare_parameters(node)
    with pytest.raises(UsageError, match="The parameter frame_policy is 'oldest', which is none of newest, every"):
        read_parameters(node)


def test_only_live_parameters_change_while_the_node_is_configured() -> None:
    live = [Parameter("score_threshold", value=0.5), Parameter("class_id_format", value="id")]
    assert changes(live, Parameters()) == {"score_threshold": 0.5, "class_id_format": "id"}
    assert changes([Parameter("use_sim_time", value=True)], Parameters()) == {}
    assert changes([Parameter("provider", value="cuda")], None) == {}
    with pytest.raises(UsageError, match="provider takes effect when the node is configured"):
        changes([Parameter("provider", value="cuda")], Parameters())
    with pytest.raises(UsageError, match="provider is 'gpu', which is none of auto, cpu"):
        changes([Parameter("provider", value="gpu")], None)


def test_setting_every_parameter_to_the_value_it_has_changes_nothing() -> None:
    settings = Parameters(model_path="m.onnx", image_topics=("/a", "/b"), score_threshold=1.0, threads=2)
    values = {item.name: getattr(settings, item.name) for item in fields(Parameters)}
    values |= {"image_topics": ["/a", "/b"], "score_threshold": 1}
    assert changes([Parameter(name, value=value) for name, value in values.items()], settings) == {}


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, 0.5, -1, -1.0])
def test_the_score_threshold_is_a_number_from_0_to_1_or_the_cards(context: Context, value: float) -> None:
    node = node_with(context, score_threshold=value)
    declare_parameters(node)
    assert read_parameters(node).score_threshold == value
    assert node.set_parameters([Parameter("score_threshold", value=value)])[0].successful


@pytest.mark.parametrize("value", [-0.5, -0.001, 2, -2, float("nan"), float("inf"), "high", True, None])
def test_another_score_threshold_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match=f"The parameter score_threshold is ('?{value}'?|empty)(,|:) "):
        changes([Parameter("score_threshold", value=value)], Parameters())


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("image_topics", None, "is empty, and has to be a list of texts"),
        ("image_topics", "/camera", "is '/camera', and has to be a list of texts"),
        ("image_topics", [1, 2], "is .*1, 2.*, and has to be a list of texts"),
        ("threads", 2.0, "is 2.0, and has to be a whole number"),
        ("threads", True, "is True, and has to be a whole number"),
        ("score_threshold", "high", "is 'high', and has to be a number"),
        ("score_threshold", False, "is False, and has to be a number"),
        ("autostart", 1, "is 1, and has to be true or false"),
        ("model_path", 7, "is 7, and has to be a text"),
    ],
)
def test_a_value_of_another_type_is_told_what_it_has_to_be(
    context: Context, name: str, value: object, told: str
) -> None:
    with pytest.raises(UsageError, match=f"The parameter {name} {told}"):
        declare_parameters(node_with(context, **{name: value}))
    with pytest.raises(UsageError, match=f"The parameter {name} {told}"):
        changes([Parameter(name, value=value)], Parameters())


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({}, "The parameter model_path is empty"),
        ({"provider": "gpu"}, "The parameter provider is 'gpu', which is none of auto"),
        ({"image_topics": ["/a", "/a/compressed"]}, "image_topics names /a, /a/compressed after remapping"),
        ({"image_topics": []}, "image_topics names nothing after remapping: name one topic or more"),
        ({"image_topics": ["/a", ""]}, "leave the empty name out"),
        ({"score_threshold": -0.5}, "The parameter score_threshold is -0.5: choose 0 to 1, or -1"),
        ({"image_topics": ["/q/{bad}"]}, "image_topics names '/q/{bad}', which is no topic"),
        ({"image_topics": ["a b"]}, "image_topics names 'a b', which is no topic"),
    ],
)
def test_a_node_told_nonsense_stays_unconfigured_and_says_why(
    context: Context, tmp_path: Path, capfd: pytest.CaptureFixture[str], parameters: dict[str, object], sentence: str
) -> None:
    if parameters:
        parameters = {"model_path": str(save_model(tmp_path / "m.onnx")), **parameters}
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    node = PerceptionNode(context=context, parameter_overrides=overrides)
    try:
        assert not node.start()
    finally:
        node.destroy_node()
    error = capfd.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert "runs on" not in error  # nobody waits for a model to learn it


def test_a_misspelt_parameter_is_named(context: Context, capfd: pytest.CaptureFixture[str]) -> None:
    given = {"threshold": 0.5, "use_sim_time": False, "threads": 1, "image_topic": "/a"}
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    PerceptionNode(context=context, parameter_overrides=overrides).destroy_node()
    assert (
        "threshold, image_topic: no parameters of this node; `ros2 param list` names its own." in capfd.readouterr().err
    )


def test_the_shipped_configuration_names_every_parameter_with_its_default() -> None:
    shipped = yaml.safe_load((ROOT / "config" / "perception.yaml").read_text())["/**"]["ros__parameters"]
    defaults = {
        item.name: list(item.default) if isinstance(item.default, tuple) else item.default
        for item in fields(Parameters)
    }
    assert shipped == defaults
