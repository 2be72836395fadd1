"""Installs the two packages as one ament_python package; names, dependencies and options stand in setup.cfg."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup


def data_files(source: str, destination: str) -> list[tuple[str, list[str]]]:
    """The files under `source`, folder by folder, each to be installed at the same place under `destination`."""
    folders: dict[str, list[str]] = {}
    for path in sorted(Path(source).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            folder = (Path(destination) / path.parent.relative_to(source)).as_posix()
            folders.setdefault(folder, []).append(path.as_posix())
    return list(folders.items())


setup(
    python_requires=">=3.10, <3.14",  # here, because colcon cannot read it from setup.cfg
    data_files=[
        # Two names for one package: `ros2 run mayhem_train …` is found as `ros2 run mayhem_ros …` is.
        ("share/ament_index/resource_index/packages", ["resource/mayhem_ros", "resource/mayhem_train"]),
        ("share/mayhem_ros", ["package.xml"]),
        ("share/mayhem_train", ["package.xml"]),  # of every name in the index, tools look for one
        *data_files("launch", "share/mayhem_ros/launch"),
        *data_files("config", "share/mayhem_ros/config"),
        *data_files("executables/mayhem_ros", "lib/mayhem_ros"),
        *data_files("executables/mayhem_train", "lib/mayhem_train"),
    ],
)
