"""What a figure belongs to: the model, the labels, the machine and the software versions."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mayhem_ros.model_card import ModelCard

_PACKAGES = ("onnxruntime", "numpy", "opencv-python-headless", "rclpy", "rosbags", "faster-coco-eval")


@dataclass(frozen=True)
class ModelSummary:
    """The model that was judged."""

    path: str
    sha256: str
    card: ModelCard

    @classmethod
    def of(cls, path: Path, card: ModelCard) -> ModelSummary:
        """Of the file at `path`, whose card this is."""
        return cls(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), card)


@dataclass(frozen=True)
class DatasetSummary:
    """The labels it was judged by; `split` is None where all of the index was used."""

    path: str
    sha256: str
    split: str | None


@dataclass(frozen=True)
class Machine:
    """The computer a figure belongs to.

    Attributes:
        cpu: the processor's model name.
        cores: how many of them this process may use.
        system: operating system, kernel and architecture.
    """

    cpu: str
    cores: int
    system: str


def this_machine() -> Machine:
    """Describes the machine this runs on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        cpu=models[0] if models else platform.processor() or platform.machine(),
        cores=cores,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
    )


def software_versions() -> dict[str, str]:
    """Versions of what decides a figure; packages that are not installed as Python packages are left out."""
    versions = {"python": platform.python_version()}
    if "ROS_DISTRO" in os.environ:
        versions["ros"] = os.environ["ROS_DISTRO"]
    for package in ("mayhem_ros", *_PACKAGES):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
