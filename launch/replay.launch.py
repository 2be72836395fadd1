"""Scores a model on a recording: `ros2 launch mayhem_ros replay.launch.py recording:=drive.mcap model:=model.onnx`."""

from __future__ import annotations

import shlex

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage


def generate_launch_description() -> LaunchDescription:
    """`mayhem replay` and its arguments; it starts the node itself."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("recording", description="The recording to play (.mcap, .db3, .bag or a folder)."),
            DeclareLaunchArgument("model", description="The exported model file."),
            DeclareLaunchArgument(
                "index", default_value="", description="The dataset index with the truth; empty: nothing is scored."
            ),
            DeclareLaunchArgument("out", default_value="replay", description="The folder for the report."),
            DeclareLaunchArgument("arguments", default_value="", description="More arguments of `mayhem replay`."),
            OpaqueFunction(function=_replay),
        ]
    )


def _replay(context: LaunchContext) -> list[ExecuteProcess]:
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    index = ["--index", value("index")] if value("index") else []
    command = [
        ExecutableInPackage(package="mayhem_train", executable="replay"),
        value("recording"),
        *("--model", value("model"), *index, "--out", value("out")),
        *shlex.split(value("arguments")),
    ]
    return [ExecuteProcess(cmd=command, output="screen", on_exit=_fail_with_it)]


def _fail_with_it(event: ProcessExited, context: LaunchContext) -> None:
    """`ros2 launch` ends with 0 whatever its processes do, unless a handler raises."""
    if event.returncode != 0:
        raise RuntimeError(f"mayhem replay ended with exit code {event.returncode}.")
