"""Whether the labels have what the network is to learn, and what it is to be judged by."""

from __future__ import annotations

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.description.summary import summarise
from mayhem_train.datasets.index import DatasetIndex

_SHAPES = {"detection": "box", "segmentation": "surface"}


def missing_labels(index: DatasetIndex, tasks: tuple[str, ...]) -> list[str]:
    """A sentence for every class that no frame to train on, or none to validate on, shows.

    Args:
        index: all splits; of train and val there are images.
        tasks: of the network.

    Raises:
        MayhemError: no frame to train on has any label of one of the tasks, which would learn that there is nothing.
    """
    parts = {part.split: part for part in summarise(index)}
    sentences = []
    for task in tasks:
        if task not in _SHAPES:
            continue
        absent = {}
        for split in ("train", "val"):
            images = parts[split].images_with_thing if task == "detection" else parts[split].images_with_surface
            absent[split] = [name for name, count in images.items() if not count]
        if len(absent["train"]) == len(images):
            raise MayhemError(
                f"No frame to train on has a {_SHAPES[task]}, so there is no {task} to learn: label some, or choose a "
                "--model.name without it."
            )
        if absent["train"]:
            sentences.append(f"no frame to train on shows {', '.join(absent['train'])}, which cannot be learned.")
        if absent["val"]:
            sentences.append(f"no frame to validate on shows {', '.join(absent['val'])}, which is not scored.")
    return sentences
