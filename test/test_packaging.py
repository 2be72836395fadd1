"""One ament_python package under two names: what colcon and pip read from it, and that nothing is left out."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from recordings_writing import colour_pixels, image, write

from mayhem_train.cli import VERBS

ROOT = Path(__file__).resolve().parents[1]

# The messages whose definition must be the distribution's to the byte, or DDS will not match publisher and subscriber.
TYPE_HASHES = {
    "Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "LabelInfo": "RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
}


@pytest.fixture(scope="module")
def setup_data() -> dict[str, object]:
    """What setup.py declares, read as colcon reads it: run up to the configuration, printed, parsed as literals."""
    code = (
        "import sys, setuptools\n"
        "from distutils.core import run_setup\n"
        "found = run_setup('setup.py', ('--dry-run',), stop_after='config')\n"
        "print({name: getattr(found, name, None) or getattr(found.metadata, name) for name in sys.argv[1:]})"
    )
    names = ["name", "version", "license", "maintainer_email", "python_requires", "packages", "package_data"]
    names += ["data_files", "entry_points", "install_requires", "extras_require"]
    printed = subprocess.check_output([sys.executable, "-c", code, *names], cwd=ROOT, text=True)
    data = ast.literal_eval(printed)
    assert isinstance(data, dict)
    return data


def test_package_xml_and_setup_cfg_say_the_same(setup_data: dict[str, object]) -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    maintainer = package.find("maintainer")
    assert maintainer is not None
    assert package.get("format") == "3"
    assert package.findtext("export/build_type") == "ament_python"
    assert package.findtext("name") == setup_data["name"] == "mayhem_ros"
    assert package.findtext("version") == setup_data["version"]
    assert package.findtext("license") == setup_data["license"] == "Apache-2.0"
    assert maintainer.get("email") == setup_data["maintainer_email"]


def test_catkin_pkg_accepts_package_xml() -> None:
    catkin_pkg = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg comes with ROS or the interfaces extra")
    warnings: list[str] = []
    package = catkin_pkg.parse_package(str(ROOT / "package.xml"), warnings=warnings)
    package.validate(warnings=warnings)  # an invalid e-mail makes colcon take it for a plain Python package, silently
    assert warnings == []


def test_what_only_pypi_has_is_named_where_rosdep_is_told_to_skip_it() -> None:
    """Ubuntu refuses PyPI's packages outside of a virtual environment, and with them the whole of `rosdep install`."""
    catkin_pkg = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg comes with ROS or the interfaces extra")
    package = catkin_pkg.parse_package(str(ROOT / "package.xml"))
    package.evaluate_conditions({"MAYHEM_ROBOT": "1"})
    from_pypi = {d.name for d in package.exec_depends if d.evaluated_condition and d.name.endswith("-pip")}
    (command,) = [line for line in (ROOT / "README.md").read_text().splitlines() if "rosdep install" in line]
    assert "-t exec" in command
    assert set(command.split("--skip-keys ")[1].strip("'").split()) == from_pypi


def test_a_robot_can_leave_the_workstation_out() -> None:
    catkin_pkg = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg comes with ROS or the interfaces extra")
    package = catkin_pkg.parse_package(str(ROOT / "package.xml"))

    def dependencies(environment: dict[str, str]) -> set[str]:
        package.evaluate_conditions(environment)
        return {d.name for d in package.exec_depends if d.evaluated_condition}

    assert {"rclpy", "vision_msgs", "python3-onnxruntime-pip", "python3-pytorch-pip"} <= dependencies({})
    assert dependencies({}) ^ dependencies({"MAYHEM_GPU": "1"}) == {
        "python3-onnxruntime-pip",
        "python3-onnxruntime-gpu-pip",
    }
    assert dependencies({}) - dependencies({"MAYHEM_ROBOT": "1"}) >= {"python3-pytorch-pip", "python3-rosbags-pip"}


def test_both_names_are_in_the_ament_index(setup_data: dict[str, object]) -> None:
    assert _destinations(setup_data)["share/ament_index/resource_index/packages"] == {"mayhem_ros", "mayhem_train"}


def test_every_verb_is_an_executable_of_mayhem_train(setup_data: dict[str, object]) -> None:
    executables = ROOT / "executables" / "mayhem_train"
    assert {path.name for path in executables.iterdir()} == set(VERBS), "link ../verb under the verb's name"
    assert all(path.resolve() == ROOT / "executables" / "verb" for path in executables.iterdir())
    assert all(os.access(path, os.X_OK) for path in executables.iterdir())
    assert _destinations(setup_data)["lib/mayhem_train"] == set(VERBS)
    assert _destinations(setup_data)["lib/mayhem_ros"] == {"perception_node"}


@pytest.mark.parametrize("verb", ["inspect", "import-cvat"])
def test_an_executable_runs_the_verb_it_is_called_by(verb: str) -> None:
    command = [sys.executable, ROOT / "executables" / "mayhem_train" / verb, "--help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.check_output(command, env=environment, text=True)
    assert printed.startswith(f"usage: mayhem {verb} ")


def test_an_executable_may_start_workers(tmp_path: Path) -> None:
    """Workers that are spawned import the executable, which must not run the verb again."""
    frames = [image("/camera", k, k, colour_pixels(k), "rgb8") for k in range(2)]
    drives = [write(tmp_path, name, "mcap", frames) for name in ("one", "two")]
    out = tmp_path / "kept.json"
    command = [ROOT / "executables" / "mayhem_train" / "prune", *drives, "--workers", "2", "--out", out]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *command], env=environment, check=True, stdout=subprocess.DEVNULL)
    assert set(json.loads(out.read_text())["kept"]) >= {"one-000000.png", "two-000000.png"}


def test_the_command_of_a_workspace_runs_in_the_environment_that_is_activated(tmp_path: Path) -> None:
    """`colcon build` runs in the system's Python, which has none of the libraries from PyPI."""
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path)]
    subprocess.check_call([*command, "install_scripts", "--install-dir", str(tmp_path / "bin")], cwd=ROOT)
    assert (tmp_path / "bin" / "mayhem").read_text().startswith("#!/usr/bin/env python3\n")


def test_each_name_has_its_package_xml(setup_data: dict[str, object]) -> None:
    for name in ("mayhem_ros", "mayhem_train"):
        assert _destinations(setup_data)[f"share/{name}"] == {"package.xml"}


def test_launch_files_and_configurations_are_installed(setup_data: dict[str, object]) -> None:
    destinations = _destinations(setup_data)
    for folder in ("launch", "config"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert path.name in destinations[f"share/mayhem_ros/{path.parent.relative_to(ROOT)}"]


def test_every_package_and_its_files_are_installed(setup_data: dict[str, object]) -> None:
    packages, package_data = setup_data["packages"], setup_data["package_data"]
    assert isinstance(packages, list) and isinstance(package_data, dict)
    for top in ("mayhem_ros", "mayhem_train"):
        for path in (ROOT / top).rglob("*"):
            if path.suffix == ".py":
                assert ".".join(path.parent.relative_to(ROOT).parts) in packages, f"{path.parent} lacks __init__.py"
            elif path.is_file() and "__pycache__" not in path.parts:
                globs = {
                    p
                    for package, ps in package_data.items()
                    for g in ps
                    for p in (ROOT / package.replace(".", "/")).glob(g)
                }
                assert path in globs, f"{path} is missing from package_data in setup.cfg"


@pytest.mark.parametrize(("package", "extras"), [("mayhem_ros", ["video"]), ("mayhem_train", ["train", "cluster"])])
def test_every_import_is_declared(setup_data: dict[str, object], package: str, extras: list[str]) -> None:
    declared = {canonicalize_name(Requirement(text).name) for text in _requirements(setup_data, extras)}
    ros = {key.text for key in ElementTree.parse(ROOT / "package.xml").iter("exec_depend")}
    distributions = packages_distributions()
    for module in _imported_modules(ROOT / package):
        names = {canonicalize_name(name) for name in distributions.get(module, [module])}
        assert module in ros or names & declared, (
            f"{package} imports {module}, which setup.cfg or package.xml must declare"
        )


def test_colcon_leaves_the_interface_package_alone() -> None:
    assert (ROOT / "interfaces" / "vision_msgs" / "COLCON_IGNORE").is_file()


@pytest.mark.parametrize("message", TYPE_HASHES)
def test_vision_msgs_is_the_distributions_to_the_byte(message: str) -> None:
    import vision_msgs

    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    for root in (*prefixes, *Path(vision_msgs.__file__).parents):
        description = root / "share" / "vision_msgs" / "msg" / f"{message}.json"
        if description.is_file():
            hashes = {h["type_name"]: h["hash_string"] for h in json.loads(description.read_text())["type_hashes"]}
            assert hashes[f"vision_msgs/msg/{message}"] == TYPE_HASHES[message]
            return
    pytest.skip("this ROS 2 distribution has no type hashes yet")


def _destinations(setup_data: dict[str, object]) -> dict[str, set[str]]:
    data_files = setup_data["data_files"]
    assert isinstance(data_files, list)
    return {folder: {Path(source).name for source in sources} for folder, sources in data_files}


def _requirements(setup_data: dict[str, object], extras: list[str]) -> list[str]:
    requirements, of_extras = setup_data["install_requires"], setup_data["extras_require"]
    assert isinstance(requirements, list) and isinstance(of_extras, dict)
    return [*requirements, *(text for extra in extras for text in of_extras[extra])]


def _imported_modules(package: Path) -> set[str]:
    """The top-level modules of other projects that the package's files import."""
    modules: set[str] = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(str(node.module).partition(".")[0])
    return modules - set(sys.stdlib_module_names) - {"mayhem_ros", "mayhem_train"}
