"""The walls between the packages: the robot knows nothing of training, and imports run downwards only."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

NOT_ON_THE_ROBOT = {"torch", "torchvision", "lightning", "pytorch_lightning", "rosbags", "mayhem_train"}

# What each room of mayhem_train may import, besides itself and what lies outside the package.
SHARED = {"console", "outputs", "shipped", "naming"}
ROOMS_BELOW = {
    "__init__": {"waiting_threads"},
    "waiting_threads": set[str](),
    "console": set[str](),
    "naming": set[str](),
    "outputs": set[str](),
    "shipped": set[str](),
    "models": SHARED,
    "balancing": SHARED,
    "recordings": SHARED,
    "datasets": SHARED | {"recordings"},
    "evaluation": SHARED | {"recordings", "datasets"},
    "training": SHARED | {"models", "balancing", "recordings", "datasets", "evaluation"},
    "export": SHARED | {"models", "balancing", "recordings", "datasets", "evaluation", "training"},
    "sweep": SHARED | {"models", "balancing", "recordings", "datasets", "evaluation", "training"},
}
ROOMS_BELOW["commands"] = set(ROOMS_BELOW)
ROOMS_BELOW["cli"] = {*ROOMS_BELOW["commands"], "commands"}

THE_REPLAY = {"evaluation/playback/playback.py", "evaluation/replay/replay.py"}
ROS = {"rclpy", "rcl_interfaces", "lifecycle_msgs", "sensor_msgs", "std_msgs", "vision_msgs", "diagnostic_msgs"}


def test_the_robot_imports_nothing_of_training() -> None:
    assert violations_on_the_robot(ROOT / "mayhem_ros") == []


def test_the_robot_loads_nothing_of_training_at_run_time() -> None:
    modules = [f"mayhem_ros.{path.stem}" for path in sorted((ROOT / "mayhem_ros").glob("*.py"))]
    code = "import importlib, json, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code, *modules], cwd=ROOT, text=True))
    assert {"mayhem_ros", "rclpy", "numpy"} <= set(loaded)
    assert NOT_ON_THE_ROBOT & set(loaded) == set()


def test_only_the_replay_speaks_ros_on_the_workstation() -> None:
    assert violations_of_ros(ROOT / "mayhem_train", ROOT / "mayhem_ros") == []


def test_imports_run_downwards_only() -> None:
    assert violations_of_order(ROOT / "mayhem_train") == []


@pytest.mark.parametrize(
    "line",
    [
        "import torch.nn as nn",
        "from mayhem_train import cli",
        "def f():\n    import rosbags",
        "import numpy, torchvision",
    ],
)
def test_an_import_of_training_on_the_robot_is_found(tmp_path: Path, line: str) -> None:
    module = _plant(tmp_path / "mayhem_ros" / "node.py", line)
    assert [path for path, _ in violations_on_the_robot(tmp_path / "mayhem_ros")] == [module]


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("recordings/frame.py", "from mayhem_train.datasets.index import DatasetIndex"),
        ("evaluation/replay/replay.py", "from mayhem_train.training import module"),
        ("models/lraspp.py", "import mayhem_train.balancing.balancer"),
        ("models/lraspp.py", "from mayhem_train import recordings"),
        ("models/lraspp.py", "from ..training import module"),
        ("balancing/weighting.py", "def f():\n    from mayhem_train.models import lraspp"),
        ("outputs.py", "from mayhem_train.recordings import frame"),
        ("training/module.py", "from mayhem_train.commands import train"),
    ],
)
def test_an_import_upwards_is_found(tmp_path: Path, module: str, line: str) -> None:
    planted = _plant(tmp_path / "mayhem_train" / module, line)
    assert [path for path, _ in violations_of_order(tmp_path / "mayhem_train")] == [planted]


def test_an_import_downwards_is_no_violation(tmp_path: Path) -> None:
    _plant(
        tmp_path / "mayhem_train" / "datasets" / "cvat.py", "from mayhem_train.recordings import frame\nimport torch"
    )
    _plant(tmp_path / "mayhem_train" / "datasets" / "inner" / "part.py", "from ..cvat import read\nfrom . import other")
    assert violations_of_order(tmp_path / "mayhem_train") == []


def test_a_room_without_a_place_in_the_order_is_found(tmp_path: Path) -> None:
    module = _plant(tmp_path / "mayhem_train" / "utils" / "misc.py", "from mayhem_train.models import lraspp")
    assert [path for path, _ in violations_of_order(tmp_path / "mayhem_train")] == [module]


@pytest.mark.parametrize("line", ["import rclpy", "from rclpy.node import Node", "from mayhem_ros.node import Node"])
def test_ros_outside_the_replay_is_found(tmp_path: Path, line: str) -> None:
    _plant(tmp_path / "mayhem_ros" / "node.py", "def f():\n    from mayhem_ros.topics import names")
    _plant(tmp_path / "mayhem_ros" / "topics.py", "import rclpy")
    _plant(tmp_path / "mayhem_train" / "evaluation" / "replay" / "replay.py", line)
    planted = _plant(tmp_path / "mayhem_train" / "evaluation" / "replay" / "report.py", line)
    found = violations_of_ros(tmp_path / "mayhem_train", tmp_path / "mayhem_ros")
    assert [path for path, _ in found] == [planted]


def violations_on_the_robot(package: Path) -> list[tuple[Path, str]]:
    """Every import in the robot's package of something that is not on the robot."""
    return [(path, name) for path, name in _imports(package) if name.partition(".")[0] in NOT_ON_THE_ROBOT]


def violations_of_ros(workstation: Path, robot: Path) -> list[tuple[Path, str]]:
    """Every import of rclpy, or of a robot module that needs it, in the workstation's package outside the replay."""
    needing = _modules_that_need_rclpy(robot)
    return [
        (path, name)
        for path, name in _imports(workstation)
        if path.relative_to(workstation).as_posix() not in THE_REPLAY
        and (name.partition(".")[0] in ROS or any(_is_inside(name, module) for module in needing))
    ]


def violations_of_order(package: Path) -> list[tuple[Path, str]]:
    """Every import between rooms of the package that does not run downwards."""
    found = []
    for path, name in _imports(package):
        parts = name.split(".")
        if parts[0] != package.name or len(parts) == 1:
            continue
        importing = path.relative_to(package).parts[0].removesuffix(".py")
        allowed = ROOMS_BELOW.get(importing, set()) | {importing}
        if parts[1] not in allowed:
            found.append((path, name))
    return found


def _modules_that_need_rclpy(robot: Path) -> set[str]:
    """The robot's modules that import ROS, themselves or through one another."""
    imports: dict[str, set[str]] = {}
    for path, name in _imports(robot):
        imports.setdefault(f"{robot.name}.{path.stem}", set()).add(name)
    needing: set[str] = set()
    while True:
        more = {
            module
            for module, names in imports.items()
            if any(name.partition(".")[0] in ROS or any(_is_inside(name, n) for n in needing) for name in names)
        }
        if more == needing:
            return needing
        needing = more


def _is_inside(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _imports(package: Path) -> Iterator[tuple[Path, str]]:
    """Every import statement below the folder, wherever in the file it stands, by its full dotted name."""
    for path in sorted(package.rglob("*.py")):
        if path.name == "__init__.py" and not path.stat().st_size:
            continue
        own_package = [package.name, *path.relative_to(package).parts[:-1]]
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = own_package[: len(own_package) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                yield from ((path, f"{module}.{alias.name}") for alias in node.names)


def _plant(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    return path
