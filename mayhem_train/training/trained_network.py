"""What a checkpoint says about its network besides the weights, and how to get the network back."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn

from mayhem_ros.errors import MayhemError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.models.network import MultiTaskNetwork, build_network
from mayhem_train.models.specification import NetworkSpecification

CHECKPOINT_KEY = "mayhem"
# torch's unpickler checks little, so a file of another kind fails in many ways.
_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    struct.error,
    pickle.UnpicklingError,
    BadZipFile,
)


@dataclass(frozen=True)
class TrainedNetwork:
    """A network's specification, what validation said of it, and where it comes from.

    Metrics without ground truth are None, as is the intensity range of a dataset that has none.
    """

    specification: NetworkSpecification
    score_thresholds: Mapping[str, float]
    metrics: Mapping[str, float | None]
    balancer: str
    seed: int
    dataset_sha256: str
    git_revision: str
    intensity_range: IntensityRange | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, which `torch.load(weights_only=True)` takes."""
        plain_range = None if self.intensity_range is None else list(self.intensity_range)
        return {**asdict(self), "intensity_range": plain_range}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TrainedNetwork:
        """The inverse of `to_dict`. Raises KeyError where a field is missing, ValueError where one cannot be."""
        numbers = fields.get("intensity_range")  # which checkpoints of old have not
        return cls(
            specification=NetworkSpecification.from_dict(fields["specification"]),
            score_thresholds=dict(fields["score_thresholds"]),
            metrics=dict(fields["metrics"]),
            balancer=str(fields["balancer"]),
            seed=int(fields["seed"]),
            dataset_sha256=str(fields["dataset_sha256"]),
            git_revision=str(fields["git_revision"]),
            intensity_range=None if numbers is None else IntensityRange.of(numbers),
        )


def load_trained_network(path: Path) -> tuple[TrainedNetwork, MultiTaskNetwork]:
    """A checkpoint's description and its network, in evaluation mode on the CPU.

    Raises:
        MayhemError: the file is missing, is no checkpoint of this software, or its weights do not fit.
    """
    trained, weights = _description_and_weights(path)
    network = build_network(trained.specification, "none")
    if found := misfits(network, weights):
        raise MayhemError(
            f"The weights in {path} do not fit {trained.specification.name} on {trained.specification.body} "
            f"({found}): another version of it wrote them, so train again."
        )
    network.load_state_dict(weights)
    return trained, network.eval()


def read_description(path: Path) -> TrainedNetwork:
    """What a checkpoint says about its network.

    Raises:
        MayhemError: the file is missing or is no checkpoint of this software.
    """
    return _description_and_weights(path)[0]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The checkpoint's dictionary, read without running any code it may hold.

    Raises:
        MayhemError: the file is missing or is no checkpoint.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        with ZipFile(path) as archive:  # torch compares no checksums
            if damaged := archive.testzip():
                raise BadZipFile(damaged)
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        else:
            reason = "it is truncated, damaged or something else"
        raise MayhemError(
            f"Cannot read the checkpoint {path} ({reason}): name a .ckpt file of `mayhem train`."
        ) from error
    if not isinstance(checkpoint, dict):
        raise MayhemError(f"{path} holds no checkpoint: name a .ckpt file of `mayhem train`.")
    return checkpoint


def _description_and_weights(path: Path) -> tuple[TrainedNetwork, dict[str, Tensor]]:
    checkpoint = read_checkpoint(path)
    try:
        return TrainedNetwork.from_dict(checkpoint[CHECKPOINT_KEY]), weights_of("network", checkpoint)
    except (KeyError, TypeError, ValueError) as error:
        raise MayhemError(
            f"{path} is no checkpoint of `mayhem train` ({type(error).__name__}: {error}): name one of its checkpoints."
        ) from error


def weights_of(part: str, checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Of a checkpoint's weights those of its network or balancer, by the part's own names.

    Raises KeyError where there are none at all.
    """
    weights, prefix = dict(checkpoint["state_dict"]), f"{part}."
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


def misfits(module: nn.Module, found: Mapping[str, Tensor]) -> str:
    """In a few words, which weights a module and those found do not share; empty where they share all.

    What modules keep besides weights may be of any shape, and is left out.
    """
    expected, found = _plain(module.state_dict()), _plain(found)
    parts = (
        ("missing", [name for name in expected if name not in found]),
        ("unknown", [name for name in found if name not in expected]),
        (
            "of another shape",
            [name for name in expected if name in found and expected[name].shape != found[name].shape],
        ),
    )
    return "; ".join(
        f"{len(names)} {kind}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        for kind, names in parts
        if names
    )


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.endswith("_extra_state")}
