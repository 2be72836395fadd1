"""Starts the perception node: `ros2 launch mayhem_ros perception.launch.py model:=model.onnx`."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


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
                description="Whether the node is started again when it dies.",
            ),
            DeclareLaunchArgument(
                "log_level",
                default_value="info",
                choices=["debug", "info", "warn", "error", "fatal"],
                description="What the node logs.",
            ),
            OpaqueFunction(function=_perception_node),
        ]
    )


def _perception_node(context: LaunchContext) -> list[LifecycleNode]:
    """The node; what was given on the command line stands above the parameters file, the rest is left to the file."""
    given: dict[str, object] = {"autostart": LaunchConfiguration("autostart").perform(context) == "true"}
    if model := LaunchConfiguration("model").perform(context):
        given["model_path"] = ParameterValue(model, value_type=str)  # a name, whatever YAML makes of it
    if topics := LaunchConfiguration("image_topics").perform(context):
        given["image_topics"] = [topic.strip() for topic in topics.split(",")]
    node = LifecycleNode(
        package="mayhem_ros",
        executable="perception_node",
        name=LaunchConfiguration("name"),
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), given],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        respawn=LaunchConfiguration("respawn").perform(context) == "true",
        respawn_delay=2.0,
        output="screen",
    )
    return [node]
