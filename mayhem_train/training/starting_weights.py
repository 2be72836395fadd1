"""Starting from an earlier run's weights, as after labelling more frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mayhem_ros.errors import UsageError
from mayhem_train.models.multi_task import MultiTaskNetwork
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.training.trained_network import load_trained_network, misfits


@dataclass(frozen=True)
class StartingWeights:
    """Where weights were taken from.

    Attributes:
        checkpoint: of the earlier run.
        dataset_sha256: of the index it was trained on.
        git_revision: of the code that trained it.
        fresh: the tasks whose heads could not take theirs.
    """

    checkpoint: Path
    dataset_sha256: str
    git_revision: str
    fresh: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a run's record."""
        return {**vars(self), "checkpoint": str(self.checkpoint), "fresh": list(self.fresh)}


def take_weights(network: MultiTaskNetwork, path: Path) -> StartingWeights:
    """Gives a fresh network the weights of an earlier run's checkpoint.

    The body's are always taken, a head's where it is built alike and tells the same classes in the same order: any
    other would have its weights mean something else.

    Args:
        network: fresh; its weights are replaced.
        path: a checkpoint of `mayhem train`.

    Raises:
        MayhemError: the file is missing or no checkpoint.
        UsageError: its body is another.
    """
    trained, earlier = load_trained_network(path)
    if found := misfits(network.body, earlier.body.state_dict()):
        raise UsageError(
            f"--model.start_from {path} is of {_called(trained.specification)}, whose body is not that of "
            f"{_called(network.specification)} ({found}): name a checkpoint of the same network or of one with its "
            "body, or leave the setting out."
        )
    network.body.load_state_dict(earlier.body.state_dict())
    fresh = []
    for task, head in network.heads.items():
        same = task in earlier.heads and not misfits(head, earlier.heads[task].state_dict())
        if same and _classes(network.specification, task) == _classes(trained.specification, task):
            head.load_state_dict(earlier.heads[task].state_dict())
        else:
            fresh.append(task)
    return StartingWeights(path, trained.dataset_sha256, trained.git_revision, tuple(fresh))


def _classes(specification: NetworkSpecification, task: str) -> tuple[str, ...]:
    return specification.detection_classes if task == "detection" else specification.segmentation_classes


def _called(specification: NetworkSpecification) -> str:
    preset = "" if specification.preset == "fair" else f" (preset {specification.preset})"
    return f"{specification.name} on {specification.body}{preset}"
