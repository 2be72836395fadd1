"""Starts the perception node: `ros2 launch mayhem_ros perception.launch.py model:=model.onnx`."""

from __future__ import annotations

from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, TimerAction
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

# The node's exit codes after a mistake of configuration, which another try would only repeat.
CONFIGURATION_MISTAKES = (1, 2)
RESTART_DELAY_S = 2.0


def generate_launch_description() -> LaunchDescription:
    """The node and its arguments."""
    default_parameters = PathJoinSubstitution([FindPackageShare("mayhem_ros"), "config", "perception.yaml"])
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "model", default_value="", description="The exported model file; empty: as the parameters file says."
            ),
            DeclareLaunchArgument(
                "image_topics",
                default_value="",
                description="The cameras' topics, separated by commas; empty: as the parameters file says.",
            ),
            DeclareLaunchArgument(
                "params_file", default_value=default_parameters, description="The node's parameters (YAML)."
            ),
            DeclareLaunchArgument(
                "provider", default_value="", description="What runs the model; empty: as the parameters file says."
            ),
            DeclareLaunchArgument(
                "threads", default_value="", description="CPU threads of a pass; empty: as the parameters file says."
            ),
            DeclareLaunchArgument("name", default_value="perception", description="The node's name."),
            DeclareLaunchArgument("namespace", default_value="", description="The node's namespace."),
            DeclareLaunchArgument(
                "autostart",
                default_value="true",
                choices=["true", "false"],
                description="Whether the node configures and activates itself; else a lifecycle manager does.",
            ),
            DeclareLaunchArgument(
                "respawn",
                default_value="false",
                choices=["true", "false"],
                description="Whether the node is started again when it crashes; never after a wrong setting.",
            ),
            DeclareLaunchArgument("max_respawns", default_value="5", description="How often at most."),
            DeclareLaunchArgument(
                "log_level",
                default_value="info",
                choices=["debug", "info", "warn", "error", "fatal"],
                description="What the node logs.",
            ),
            OpaqueFunction(function=_perception_node),
        ]
    )


def _perception_node(context: LaunchContext) -> list[Node]:
    """The node; what was given on the command line stands above the parameters file, the rest is left to the file."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    autostart = value("autostart") == "true"
    given: dict[str, object] = {"autostart": autostart}
    if model := value("model"):
        given["model_path"] = ParameterValue(model, value_type=str)  # a name, whatever YAML makes of it
    if topics := value("image_topics"):
        given["image_topics"] = [topic.strip() for topic in topics.split(",")]
    if provider := value("provider"):
        given["provider"] = ParameterValue(provider, value_type=str)
    if threads := value("threads"):
        given["threads"] = _whole_number("threads", threads)
    params_file = Path(value("params_file"))
    if not params_file.is_file():
        raise RuntimeError(f"There is no file {params_file}: name the node's parameters file as params_file:=FILE.")
    if autostart and not model and not _sets_model_path(params_file):
        raise RuntimeError(f"{params_file} names no model: name the exported file as model:=FILE.")
    restarts = _whole_number("max_respawns", value("max_respawns")) if value("respawn") == "true" else 0
    return [_node([str(params_file), given], restarts)]


def _node(parameters: list[str | dict[str, object]], restarts: int) -> Node:
    """The node, which is started again after a crash as often as said."""

    def on_exit(event: ProcessExited, context: LaunchContext) -> list[TimerAction]:
        if event.returncode == 0 or context.is_shutdown:
            return []
        if restarts == 0 or event.returncode in CONFIGURATION_MISTAKES:
            # Nothing but raising gives `ros2 launch` an exit code.
            raise RuntimeError(f"The perception node ended with exit code {event.returncode}.")
        return [TimerAction(period=RESTART_DELAY_S, actions=[_node(parameters, restarts - 1)])]

    return Node(
        package="mayhem_ros",
        executable="perception_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=parameters,
        # The name stands here, since launch_ros would take a second start under a `name` for a second node.
        ros_arguments=[
            "-r",
            ["__node:=", LaunchConfiguration("name")],
            "--log-level",
            LaunchConfiguration("log_level"),
        ],
        on_exit=on_exit,
        output="screen",
    )


def _whole_number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise RuntimeError(f"{name} is {text!r}: give a whole number as {name}:=N.")
    return int(text)


def _sets_model_path(params_file: Path) -> bool:
    """Whether any node in the file has a `model_path` that is not empty; which of them is ours, the node finds out."""
    try:
        waiting = [yaml.safe_load(params_file.read_text())]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RuntimeError(f"{params_file} is no YAML: {' '.join(str(error).split())}.") from error
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if found.get("model_path"):
                return True
            waiting += found.values()
    return False
