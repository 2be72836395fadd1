"""Where a run came from: revision, data, versions and machine."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "onnx", "onnxruntime")


def git_revision() -> str:
    """The revision of this software's checkout, "+changes" where files differ from it, or "unknown" without one."""
    folder = Path(__file__).parent
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{revision}+changes" if changed else revision


def environment() -> dict[str, Any]:
    """Versions of what computes, every installed package's among them, and the machine."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    described = [found.metadata for found in metadata.distributions()]  # parsed anew each time it is asked for
    installed = {about["Name"]: about["Version"] for about in described if about["Name"]}
    return {
        "python": platform.python_version(),
        **versions,
        "platform": platform.platform(),
        "processor": torch.cpu.get_capabilities().get("cpu_name", "") or platform.processor(),
        "accelerators": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda or "none",
        "host": platform.node(),
        "command": shlex.join(sys.argv),
        "packages": dict(sorted(installed.items(), key=lambda item: item[0].lower())),
    }


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
