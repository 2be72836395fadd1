"""Where a run came from: revision, data, versions and machine."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

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


def environment() -> dict[str, str]:
    """Versions of what computes, and the machine."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "python": platform.python_version(),
        **versions,
        "platform": platform.platform(),
        "processor": torch.cpu.get_capabilities().get("cpu_name", "") or platform.processor(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "command": " ".join(sys.argv),
    }


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
