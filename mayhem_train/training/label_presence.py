"""Whether the labels have what the network is to learn, and what it is to be judged by."""

from __future__ import annotations

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.index import Category, DatasetIndex

_SHAPES = {"detection": "box", "segmentation": "surface"}


def missing_labels(index: DatasetIndex, tasks: tuple[str, ...]) -> list[str]:
    """A sentence for every class that no frame to train on, or none to validate on, shows.

    Args:
        index: all splits.
        tasks: of the network.

    Raises:
        MayhemError: no frame to train on has any label of one of the tasks, which would learn that there is nothing.
    """
    shown = {split: {shown for i in index.split(split).images for shown in i.shown} for split in ("train", "val")}
    sentences = []
    for task in tasks:
        if task not in _SHAPES:
            continue
        classes: tuple[Category, ...] = index.things if task == "detection" else index.surfaces
        if not any(kind.id in shown["train"] for kind in classes):
            raise MayhemError(
                f"No frame to train on has a {_SHAPES[task]}, so there is no {task} to learn: label some, or choose a "
                "--model.name without it."
            )
        absent = {split: [kind.name for kind in classes if kind.id not in shown[split]] for split in shown}
        if absent["train"]:
            sentences.append(f"no frame to train on shows {', '.join(absent['train'])}, which cannot be learned.")
        if absent["val"]:
            sentences.append(f"no frame to validate on shows {', '.join(absent['val'])}, which is not scored.")
    return sentences
