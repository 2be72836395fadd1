"""Set-up's own judgement: which ROS it finds, what it misses, and when it starts again."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def _load_set_up() -> ModuleType:
    specification = importlib.util.spec_from_file_location("set_up", ROOT / "environment" / "set_up.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


set_up = _load_set_up()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the fingerprint reads, copied from this checkout."""
    for name in ("setup.cfg", "setup.py", "package.xml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("environment", "interfaces"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def _fingerprint(checkout: Path, python: str = "/usr/bin/python3", ros: str = "") -> str:
    fingerprint: str = set_up.fingerprint_of_inputs(checkout, python, ros)
    return fingerprint


def test_nothing_changed_means_the_same_fingerprint(checkout: Path) -> None:
    before = _fingerprint(checkout)
    (checkout / "environment" / "__pycache__").mkdir()
    (checkout / "environment" / "__pycache__" / "set_up.cpython-311.pyc").write_bytes(b"anything")
    (checkout / "README.md").write_text("no input of set-up")
    assert _fingerprint(checkout) == before


@pytest.mark.parametrize(
    "changed",
    ["setup.cfg", "environment/constraints.txt", "environment/set_up.py", "interfaces/vision_msgs/msg/Point2D.msg"],
)
def test_a_changed_input_changes_the_fingerprint(checkout: Path, changed: str) -> None:
    before = _fingerprint(checkout)
    with (checkout / changed).open("a") as file:
        file.write("\n")
    assert _fingerprint(checkout) != before


def test_another_python_ros_or_place_changes_the_fingerprint(checkout: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(checkout, moved, ignore=shutil.ignore_patterns("moved"))
    fingerprints = {
        _fingerprint(checkout),
        _fingerprint(checkout, python="/usr/bin/python3.12"),
        _fingerprint(checkout, ros="jazzy"),
        _fingerprint(moved),
    }
    assert len(fingerprints) == 4


def test_the_base_python_is_the_same_from_inside_a_virtual_environment(tmp_path: Path) -> None:
    base = set_up.base_python()
    subprocess.check_call([base, "-m", "venv", "--without-pip", tmp_path / "venv"])
    code = "import runpy; print(runpy.run_path('environment/set_up.py')['base_python']())"
    for python in (base, tmp_path / "venv" / "bin" / "python"):
        environment = {"PATH": os.environ["PATH"]}
        assert subprocess.check_output([python, "-c", code], cwd=ROOT, env=environment, text=True).strip() == base


def test_without_a_sourced_ros_none_is_used() -> None:
    assert set_up.sourced_ros({}) == ""
    assert set_up.sourced_ros({"ROS_DISTRO": "noetic", "ROS_ROOT": "/opt/ros/noetic"}) == ""  # ROS 1


@pytest.fixture
def sourced(tmp_path: Path) -> Mapping[str, str]:
    """The environment a ROS 2 distribution's setup.bash leaves, with every package that package.xml names."""
    for package in set_up.ros_packages(ROOT / "package.xml"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    return {
        "PATH": os.environ["PATH"],
        "ROS_DISTRO": "jazzy",
        "AMENT_PREFIX_PATH": "/opt/ros/jazzy",
        "PYTHONPATH": str(tmp_path),
    }


def test_a_sourced_ros_is_used(sourced: Mapping[str, str]) -> None:
    assert set_up.sourced_ros(sourced) == "jazzy"


def test_a_sourced_ros_without_vision_msgs_names_the_package_to_install(sourced: Mapping[str, str]) -> None:
    shutil.rmtree(Path(sourced["PYTHONPATH"]) / "vision_msgs")
    with pytest.raises(set_up.SetUpError) as error:
        set_up.sourced_ros(sourced)
    assert str(error.value) == "ROS 2 jazzy lacks vision_msgs: run `sudo apt install ros-jazzy-vision-msgs`."


def test_a_sourced_ros_for_another_python_is_refused(sourced: Mapping[str, str]) -> None:
    with pytest.raises(set_up.SetUpError, match=r"ROS 2 jazzy is sourced, but .* cannot import its rclpy"):
        set_up.sourced_ros({**sourced, "PYTHONPATH": "/nowhere"})


def test_an_unsupported_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_up.sys, "version_info", (3, 9, 2, "final", 0))
    with pytest.raises(
        set_up.SetUpError, match=r"is Python 3\.9, which is not supported: install one from 3\.10 to 3\.13"
    ):
        set_up.check_python()


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(set_up.SetUpError, match=r"g\+\+ must be there first: run `sudo apt install .*g\+\+`"):
        set_up.check_machine(with_ros=False)


def test_a_full_disk_is_told_in_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(ROOT)
    monkeypatch.setattr(set_up.shutil, "disk_usage", lambda _: usage._replace(free=3_210_000_000))
    with pytest.raises(set_up.SetUpError, match=r"has 3\.2 GB free and set-up needs 10 GB"):
        set_up.check_machine(with_ros=True)


def test_a_user_sees_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    environment = {**os.environ, "ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": "/opt/ros/jazzy", "PYTHONPATH": ""}
    finished = subprocess.run(
        [set_up.base_python(), "environment/set_up.py"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1
    assert finished.stderr.startswith("set-up: ROS 2 jazzy is sourced, but ")


def test_include_folders_of_another_machine_become_this_ones() -> None:
    exported = (
        'INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp312-cp312/include/python3.12;'
        '/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include"'
    )
    mended = set_up.point_at_this_machine(exported, "/usr/include/python3.12", "/venv/numpy/_core/include")
    assert mended == 'INTERFACE_INCLUDE_DIRECTORIES "/usr/include/python3.12;/venv/numpy/_core/include"'
    assert set_up.point_at_this_machine(mended, "/elsewhere", "/elsewhere") == mended


@pytest.mark.parametrize("constraints", [set_up.CONSTRAINTS, set_up.CONSTRAINTS_NUMPY_1], ids=lambda path: path.stem)
def test_every_version_is_pinned_and_no_host_is_named(constraints: Path) -> None:
    lines = constraints.read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins and all("==" in line and "://" not in line and "@" not in line for line in pins)


def test_every_installed_version_is_the_pinned_one() -> None:
    constraints = set_up.CONSTRAINTS_NUMPY_1 if version("numpy").startswith("1.") else set_up.CONSTRAINTS
    lines = constraints.read_text().splitlines()
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    pins = {r.name: str(r.specifier) for r in requirements if r.marker is None or r.marker.evaluate()}
    installed = {name: f"=={_installed_version(name)}" for name in pins if _installed_version(name)}
    assert {"torch", "numpy", "pytest"} <= installed.keys()
    assert installed == {name: pins[name] for name in installed}


def _installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@pytest.mark.parametrize(("version", "file"), [("1.26.4", "constraints-numpy-1.txt"), ("2.1.0", "constraints.txt")])
def test_a_distribution_built_with_numpy_1_keeps_numpy_1(tmp_path: Path, version: str, file: str) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(f"__version__ = {version!r}")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert set_up.constraints_for("jazzy", environment).name == file
    assert set_up.constraints_for("", environment).name == "constraints.txt"


def test_the_constraints_for_numpy_1_pin_numpy_1() -> None:
    pins = [Requirement(line) for line in set_up.CONSTRAINTS_NUMPY_1.read_text().splitlines() if "==" in line]
    for python in ("3.10", "3.12"):  # of Humble and Jazzy
        where = {"python_version": python, "python_full_version": f"{python}.3"}
        chosen = [pin for pin in pins if pin.name == "numpy" and (pin.marker is None or pin.marker.evaluate(where))]
        assert [str(pin.specifier) for pin in chosen] == ["==1.26.4"]
