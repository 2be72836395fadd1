"""Starting from an earlier run's weights, as after labelling more frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mayhem_ros.errors import UsageError
from mayhem_train.models.class_rows import class_rows, move_class_rows
from mayhem_train.models.multi_task import MultiTaskNetwork
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.training.trained_network import load_trained_network, misfits

_NAMED = 10  # classes of a kind, in the sentence


@dataclass(frozen=True)
class TakenClasses:
    """What became of the classes of a head that took an earlier one's weights.

    Attributes:
        kept: those that both have.
        fresh: those that only this one has.
        dropped: those that only the earlier one had.
    """

    kept: tuple[str, ...]
    fresh: tuple[str, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class StartingWeights:
    """Where weights were taken from.

    Attributes:
        checkpoint: of the earlier run.
        dataset_sha256: of the index it was trained on.
        git_revision: of the code that trained it.
        fresh: the tasks whose heads could not take theirs.
        classes: the tasks whose heads tell other classes now, and what became of these.
    """

    checkpoint: Path
    dataset_sha256: str
    git_revision: str
    fresh: tuple[str, ...]
    classes: Mapping[str, TakenClasses]

    def __str__(self) -> str:
        parts = [f"Starting from {self.checkpoint}"]
        if self.fresh:
            parts.append(f"fresh: the heads of {', '.join(self.fresh)}")
        for task, taken in self.classes.items():
            said = [
                f"{verb} {_listed(names)}"
                for verb, names in (("keeps", taken.kept), ("begins anew with", taken.fresh), ("drops", taken.dropped))
                if names
            ]
            parts.append(f"of its classes {task} {', '.join(said)}")
        return f"{'; '.join(parts)}."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a run's record."""
        classes = {
            task: {name: list(names) for name, names in vars(taken).items()} for task, taken in self.classes.items()
        }
        return {**vars(self), "checkpoint": str(self.checkpoint), "fresh": list(self.fresh), "classes": classes}


def take_weights(network: MultiTaskNetwork, path: Path) -> StartingWeights:
    """Gives a fresh network the weights of an earlier run's checkpoint.

    The body's are always taken, and a head's where it is built alike. Of the rows that belong to one class each, those
    of the background and of classes with the same names go to where the classes stand now; the others start fresh.

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
    fresh, classes = [], {}
    for task, head in network.heads.items():
        if task not in earlier.heads or not _built_alike(head, earlier.heads[task]):
            fresh.append(task)
            continue
        by_class = class_rows(head)
        others = {name: value for name, value in earlier.heads[task].state_dict().items() if name not in by_class}
        head.load_state_dict(others, strict=False)
        now, before = _classes(network.specification, task), _classes(trained.specification, task)
        move_class_rows(head, now, earlier.heads[task], before)
        if now != before and by_class:
            classes[task] = TakenClasses(
                tuple(name for name in now if name in before),
                tuple(name for name in now if name not in before),
                tuple(name for name in before if name not in now),
            )
    return StartingWeights(path, trained.dataset_sha256, trained.git_revision, tuple(fresh), classes)


def _classes(specification: NetworkSpecification, task: str) -> tuple[str, ...]:
    return specification.detection_classes if task == "detection" else specification.segmentation_classes


def _built_alike(head: nn.Module, earlier: nn.Module) -> bool:
    """Whether two heads have the same weights but for the number of classes."""
    by_class, found = class_rows(head), earlier.state_dict()
    own = {name: value for name, value in head.state_dict().items() if name in by_class}
    return by_class == class_rows(earlier) and not misfits(head, {**found, **own})


def _called(specification: NetworkSpecification) -> str:
    preset = "" if specification.preset == "fair" else f" (preset {specification.preset})"
    return f"{specification.name} on {specification.body}{preset}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
