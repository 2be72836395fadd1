"""The launch files start what they say, and a failed replay fails the launch."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parents[1] / "launch"
pytest.importorskip("launch_ros", reason="launch_ros comes with ROS")

Launched = Callable[..., tuple[int, list[str]]]


@pytest.mark.parametrize("code", [0, 3])
def test_a_launch_ends_as_its_replay_does(code: int) -> None:
    from launch import LaunchDescription, LaunchService
    from launch.actions import ExecuteProcess

    handler = runpy.run_path(str(LAUNCH / "replay.launch.py"))["_fail_with_it"]
    service = LaunchService(noninteractive=True)
    command = [sys.executable, "-c", f"raise SystemExit({code})"]
    service.include_launch_description(LaunchDescription([ExecuteProcess(cmd=command, on_exit=handler)]))
    assert (service.run() != 0) == (code != 0)


NODE = """\
#!{python}
import os, signal, sys
with open({ran!r}, "a") as file:
    print(*sys.argv[1:], file=file)
exec({ending!r})
"""


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launched:
    """Launches a node that only notes its arguments and ends as told: the exit code, and each start's arguments."""
    from launch import LaunchService
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    prefix = tmp_path / "prefix"
    index = prefix / "share" / "ament_index" / "resource_index" / "packages" / "mayhem_ros"
    config = prefix / "share" / "mayhem_ros" / "config" / "perception.yaml"
    executable = prefix / "lib" / "mayhem_ros" / "perception_node"
    for path in (index, config, executable):
        path.parent.mkdir(parents=True)
    index.touch()
    config.write_text((LAUNCH.parent / "config" / "perception.yaml").read_text())
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(prefix), prepend=os.pathsep)
    ran = tmp_path / "ran"

    def launch(ending: str = "", **arguments: str) -> tuple[int, list[str]]:
        executable.write_text(NODE.format(python=sys.executable, ran=str(ran), ending=ending))
        executable.chmod(0o755)
        source = PythonLaunchDescriptionSource(str(LAUNCH / "perception.launch.py"))
        service = LaunchService(noninteractive=True)
        service.include_launch_description(IncludeLaunchDescription(source, launch_arguments=arguments.items()))
        code = service.run()
        return code, ran.read_text().splitlines() if ran.exists() else []

    return launch


@pytest.mark.parametrize(("ending", "failed"), [("", 0), ("sys.exit(1)", 1), ("sys.exit(2)", 1)])
def test_a_launch_ends_as_its_node_does(launched: Launched, ending: str, failed: int) -> None:
    code, starts = launched(ending, model="model.onnx")
    assert (code, len(starts)) == (failed, 1)


def test_a_node_that_crashes_is_started_again_as_often_as_said(launched: Launched) -> None:
    code, starts = launched("os.kill(os.getpid(), signal.SIGKILL)", model="m.onnx", respawn="true", max_respawns="1")
    assert (code, len(starts)) == (1, 2)


@pytest.mark.parametrize("code", [1, 2])
def test_a_mistake_of_configuration_is_not_tried_again(launched: Launched, code: int) -> None:
    assert launched(f"sys.exit({code})", model="m.onnx", respawn="true")[0] == 1
    assert len(launched(f"sys.exit({code})", model="m.onnx", respawn="true")[1]) == 2


def test_a_node_that_ended_as_it_was_asked_is_not_started_again(launched: Launched) -> None:
    code, starts = launched("", model="m.onnx", respawn="true")
    assert (code, len(starts)) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "perception.yaml names no model: name the exported file as model:=FILE."),
        ({"model": "m", "params_file": "/no.yaml"}, "There is no file /no.yaml: name the node's parameters file as"),
        ({"model": "m", "threads": "two"}, "threads is 'two': give a whole number as threads:=N."),
    ],
)
def test_a_wrong_argument_is_told_before_anything_starts(
    launched: Launched, caplog: pytest.LogCaptureFixture, arguments: dict[str, str], sentence: str
) -> None:
    assert launched(**arguments) == (1, [])
    assert sentence in caplog.text


def test_a_parameters_file_may_name_the_model(launched: Launched, tmp_path: Path) -> None:
    params_file = tmp_path / "mine.yaml"
    params_file.write_text("/**:\n  ros__parameters:\n    model_path: mine.onnx\n")
    assert len(launched(params_file=str(params_file))[1]) == 1


def test_without_autostart_the_model_may_come_later(launched: Launched) -> None:
    assert len(launched(autostart="false")[1]) == 1


def test_what_was_typed_stands_above_the_parameters_file(launched: Launched) -> None:
    """A model or provider called like a number stays a name."""
    ending = """
import yaml
found = {}
for option, file in zip(sys.argv, sys.argv[1:]):
    if option == "--params-file":
        for parameters in yaml.unsafe_load(open(file)).values():  # lists are written as tuples
            found.update(parameters["ros__parameters"])
wanted = dict(model_path="007", provider="cpu", threads=2, image_topics=("a", "b"), autostart=True)
sys.exit(wanted != {name: found[name] for name in wanted})
"""
    assert launched(ending, model="007", provider="cpu", threads="2", image_topics="a, b")[0] == 0
