"""What networks of one task each reached, as `mayhem test` wrote it, to hold a multi-task network against."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.evaluation.metrics.multitask_gain import delta_m, relative_changes

HEADLINES = {"detection": "map", "segmentation": "mean_iou"}
"""The figure of each task that Δm compares."""


@dataclass(frozen=True)
class Comparison:
    """Δm against single-task networks, shares (0.01 is one per cent).

    Attributes:
        delta_m: the mean relative change over the tasks.
        changes: by task.
        single_task: by task the mean of the figures it was compared with.
        results: the files they were read from.
    """

    delta_m: float
    changes: Mapping[str, float]
    single_task: Mapping[str, float]
    results: tuple[str, ...]


@dataclass(frozen=True)
class SingleTaskResults:
    """The headline figures of single-task networks, several of a task being, say, of several seeds.

    Attributes:
        figures: by task.
        files: where they were read.
    """

    figures: Mapping[str, tuple[float, ...]]
    files: tuple[str, ...]

    @classmethod
    def read(cls, paths: Sequence[Path], dataset_sha256: str, split: str) -> SingleTaskResults:
        """Reads folders or metrics.json files of `mayhem test`.

        Args:
            paths: may be none.
            dataset_sha256: of the index that the results must be of.
            split: of that index.

        Raises:
            MayhemError: a file cannot be read.
            UsageError: a result is of several tasks or of other frames, or its figure is 0 or "n/a".
        """
        found: dict[str, list[float]] = {}
        files = [path / "metrics.json" if path.is_dir() else path for path in paths]
        for file in files:
            task, figure = _single_task(file, dataset_sha256, split)
            found.setdefault(task, []).append(figure)
        return cls({task: tuple(values) for task, values in found.items()}, tuple(map(str, files)))

    def refuse_other_tasks(self, tasks: Iterable[str]) -> None:
        """Raises UsageError where there are results, and not of exactly these tasks."""
        if self.figures and set(self.figures) != set(tasks):
            raise UsageError(
                f"--against names results for {_listed(self.figures)}, and the model is judged by {_listed(tasks)}: "
                "name results of each of its tasks."
            )

    def compare(self, figures: Mapping[str, float | None]) -> Comparison | None:
        """Δm of these figures by task against the results; None without results or where nothing is labelled."""
        ours = {task: figure for task, figure in figures.items() if figure is not None}
        if not self.figures or set(ours) != set(self.figures):
            return None
        alone = {task: float(np.mean(self.figures[task])) for task in ours}
        return Comparison(delta_m(ours, alone), relative_changes(ours, alone), alone, self.files)


def _single_task(file: Path, dataset_sha256: str, split: str) -> tuple[str, float]:
    try:
        metrics = json.loads(file.read_text())
        tasks = [task for task in HEADLINES if metrics[task] is not None]
        figures = [metrics[task][HEADLINES[task]] for task in tasks]
        where = (str(metrics["dataset"]["sha256"]), str(metrics["dataset"]["split"]))
    except OSError as error:
        raise MayhemError(
            f"Cannot read the results {file} ({error.strerror or error}): name a folder of `mayhem test`."
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise MayhemError(f"{file} holds no results of `mayhem test`: name a folder that it wrote.") from error
    if len(tasks) != 1:
        raise UsageError(f"{file} is of {len(tasks)} tasks: --against compares with networks of one task each.")
    if where != (dataset_sha256, split):
        raise UsageError(
            f"{file} was scored on other frames (its split is {where[1]}): test that model on this index and split."
        )
    (task,), (figure,) = tasks, figures
    if not isinstance(figure, (int, float)) or figure <= 0:
        shown = "n/a" if figure is None else figure
        raise UsageError(f"The {HEADLINES[task]} of {file} is {shown}, and no change relates to that: leave it out.")
    return task, float(figure)


def _listed(tasks: Iterable[str]) -> str:
    return " and ".join(sorted(tasks)) or "nothing"
