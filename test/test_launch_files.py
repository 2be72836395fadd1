"""The launch files start what they say, and a failed replay fails the launch."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parents[1] / "launch"
pytest.importorskip("launch_ros", reason="launch_ros comes with ROS")


@pytest.mark.parametrize("code", [0, 3])
def test_a_launch_ends_as_its_replay_does(code: int) -> None:
    from launch import LaunchDescription, LaunchService
    from launch.actions import ExecuteProcess

    handler = runpy.run_path(str(LAUNCH / "replay.launch.py"))["_fail_with_it"]
    service = LaunchService(noninteractive=True)
    command = [sys.executable, "-c", f"raise SystemExit({code})"]
    service.include_launch_description(LaunchDescription([ExecuteProcess(cmd=command, on_exit=handler)]))
    assert (service.run() != 0) == (code != 0)


def test_a_model_called_like_a_number_stays_a_name() -> None:
    from launch import LaunchContext
    from launch_ros.utilities import evaluate_parameters, normalize_parameters

    perception = runpy.run_path(str(LAUNCH / "perception.launch.py"))["_perception_node"]
    context = LaunchContext()
    choices = {"model": "007", "image_topics": "", "params_file": "", "name": "p", "namespace": "", "log_level": "info"}
    context.launch_configurations.update({**choices, "autostart": "true", "respawn": "false"})
    (node,) = perception(context)
    given = node._Node__parameters[-1]
    assert evaluate_parameters(context, normalize_parameters([given]))[0]["model_path"] == "007"
