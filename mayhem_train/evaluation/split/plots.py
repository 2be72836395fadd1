"""An evaluation's figures as pictures: precision over recall, and what is taken for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mayhem_train.evaluation.metrics.detection import PrecisionRecall
from mayhem_train.evaluation.scoring.scorer import OperatingPoint

_LONGEST_NAME = 24
_NUMBERED_CELLS = 16  # classes up to which every cell has room for its numbers
_STYLE: Any = {"font.size": 9, "text.parse_math": False, "axes.spines.top": False, "axes.spines.right": False}


def precision_recall_plot(
    curves: Mapping[float, Mapping[str, PrecisionRecall]],
    points: Mapping[str, OperatingPoint],
    colours: Mapping[str, str],
    path: Path,
) -> None:
    """One plot an IoU, one curve a class; at IoU 0.5 a dot where the model card's threshold puts the robot."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.2 * len(curves), 4.6), layout="constrained")
        recall = np.linspace(0, 1, 101)
        for place, (iou, of_class) in enumerate(curves.items(), start=1):
            axes = figure.add_subplot(1, len(curves), place)
            for name, curve in of_class.items():
                label = f"{_short(name)}  AP {curve.average:.3f}"
                reached = np.ma.masked_equal(curve.precision, 0)
                axes.plot(recall, reached, color=colours[name], label=label, linewidth=1.8)
                point = points.get(name)
                if iou == 0.5 and point is not None and point.precision is not None and point.recall is not None:
                    axes.plot(point.recall, point.precision, "o", color=colours[name], markeredgecolor="black")
            axes.set_title(f"IoU {iou:g}" + (" (dots: at the score thresholds)" if iou == 0.5 else ""), fontsize=9)
            axes.set_xlabel("recall: share of the objects that are found")
            axes.set_ylabel("precision: share of the boxes that are right")
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.02)
            axes.grid(alpha=0.25)
            if of_class:
                axes.legend(loc="upper right", fontsize=8, framealpha=0.85)
        _save(figure, path)


def box_confusion_plot(counts: NDArray[np.int64], names: Sequence[str], path: Path) -> None:
    """The matrix of `BoxConfusion`: every row's objects, and last the boxes that lie on none."""
    turned = np.roll(np.roll(counts, -1, axis=0), -1, axis=1)  # nothing goes last
    _confusion_plot(
        turned,
        [*names, "nothing there"],
        [*names, "missed"],
        "boxes at the score thresholds, IoU 0.5: count and share of the row",
        path,
    )


def pixel_confusion_plot(counts: NDArray[np.int64], names: Sequence[str], path: Path) -> None:
    """int64 [C, C] pixels."""
    _confusion_plot(counts, names, names, "pixels of all frames: share of the row", path, counted=False)


def _confusion_plot(
    counts: NDArray[np.int64],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    path: Path,
    *,
    counted: bool = True,
) -> None:
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    numbered = len(rows) <= _NUMBERED_CELLS
    side = max(3.4, (0.82 if numbered else 0.24) * len(rows))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(side + 1.6, side + 0.8), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(columns)), [_short(name) for name in columns], rotation=45, ha="right")
        axes.set_yticks(range(len(rows)), [_short(name) for name in rows])
        axes.set_xlabel("prediction")
        axes.set_ylabel("truth")
        axes.set_title(title, fontsize=9)
        for spine in axes.spines.values():
            spine.set_visible(False)
        if numbered:
            for row, column in np.ndindex(*counts.shape):
                text = f"{shares[row, column]:.1%}" if totals[row, 0] else "n/a"
                if counted:
                    text = f"{counts[row, column]}\n{text}" if counts[row, column] else ""
                colour = "white" if shares[row, column] > 0.55 else "black"
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
        _save(figure, path)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=130, facecolor="white")
