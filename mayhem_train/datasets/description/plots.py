"""A dataset's counts as pictures: who is seen how often, how large, and together with whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mayhem_train.datasets.description.description import Description
from mayhem_train.datasets.description.summary import SplitSummary

# Okabe and Ito's colours, told apart by the colour-blind too.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_LONGEST_NAME = 40
_NUMBERED_CELLS = 30  # classes up to which every cell of the matrix has room for its number
_STYLE: Any = {"font.size": 9, "text.parse_math": False, "axes.spines.top": False, "axes.spines.right": False}


def write_plots(description: Description, folder: Path) -> None:
    """images.png, boxes.png, surfaces.png and cooccurrence.png; one that would show nothing is left out."""
    splits = description.splits
    things = [name for name, kind in description.classes if kind == "thing"]
    surfaces = [name for name, kind in description.classes if kind == "surface"]
    with matplotlib.rc_context(_STYLE):
        if description.classes:
            _save(_images(description), folder / "images.png")
        if len(description.classes) > 1:
            _save(_cooccurrence(description), folder / "cooccurrence.png")
        if things:
            _save(_boxes(splits, things), folder / "boxes.png")
        if surfaces:
            _save(_surfaces(splits, surfaces), folder / "surfaces.png")


def _images(description: Description) -> Figure:
    series = {
        f"{split.split} ({split.images} images)": [
            float(split.images_with_thing[name] if kind == "thing" else split.images_with_surface[name])
            for name, kind in description.classes
        ]
        for split in description.splits
    }
    return _grouped_bars([name for name, _ in description.classes], series, "images that show the class", "{:.0f}")


def _surfaces(splits: Sequence[SplitSummary], names: Sequence[str]) -> Figure:
    series = {split.split: [100 * split.surface_shares[name] for name in names] for split in splits}
    return _grouped_bars(names, series, "share of the split's pixels, %", "{:.1f}")


def _boxes(splits: Sequence[SplitSummary], names: Sequence[str]) -> Figure:
    """Bars stacked by size, all splits together."""
    figure, axes = _axes(len(names))
    places = np.arange(len(names))
    left = np.zeros(len(names))
    limits = {"small": "small (< 32² px)", "medium": "medium", "large": "large (≥ 96² px)"}
    for (size, label), colour in zip(limits.items(), _COLOURS, strict=False):
        counts = np.array([sum(getattr(split.sizes[name], size) for split in splits) for name in names], float)
        axes.barh(places, counts, left=left, color=colour, label=label, height=0.8)
        left += counts
    for place, total in zip(places, left, strict=True):
        axes.annotate(f"{total:.0f}", (total, place), (3, 0), textcoords="offset points", va="center", fontsize=8)
    _label(axes, names, "boxes, all splits together")
    return figure


def _grouped_bars(names: Sequence[str], series: Mapping[str, Sequence[float]], what: str, form: str) -> Figure:
    """For every name one bar a series."""
    figure, axes = _axes(len(names) * max(1.0, 0.6 * len(series)))
    places = np.arange(len(names), dtype=float)
    height = 0.84 / max(1, len(series))
    for number, (label, values) in enumerate(series.items()):
        rows = places + (number - (len(series) - 1) / 2) * height
        axes.barh(rows, values, height=height, color=_COLOURS[number % len(_COLOURS)], label=label)
        for row, value in zip(rows, values, strict=True):
            position = (value, row)
            axes.annotate(form.format(value), position, (3, 0), textcoords="offset points", va="center", fontsize=7)
    _label(axes, names, what)
    return figure


def _cooccurrence(description: Description) -> Figure:
    names = [name for name, _ in description.classes]
    counts = description.cooccurrence
    side = max(2.4, 0.3 * len(names) if len(names) <= _NUMBERED_CELLS else 0.17 * len(names))
    figure = Figure(figsize=(side + 1.4, side))
    axes = figure.add_subplot()
    image = axes.imshow(np.ma.masked_equal(counts, 0), cmap="viridis", norm=LogNorm(1, max(2, counts.max())))
    size = 9 if len(names) <= _NUMBERED_CELLS else 6
    axes.set_xticks(range(len(names)), [_short(name) for name in names], rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=size)
    axes.set_title("images that show both (diagonal: the class at all)", fontsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(names) <= _NUMBERED_CELLS:
        _number(axes, counts)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format="%d", label="images; white is none")
    bar.ax.minorticks_off()
    return figure


def _number(axes: Any, counts: NDArray[np.int64]) -> None:
    """Every cell's count, in the colour that stands out from the cell's."""
    middle = max(2, counts.max()) ** 0.6
    for row, column in np.ndindex(*counts.shape):
        count = int(counts[row, column])
        if count:
            colour = "black" if count > middle else "white"
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=6, color=colour)


def _axes(rows: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(8, 1.2 + 0.24 * rows))
    return figure, figure.add_subplot()


def _label(axes: Any, names: Sequence[str], what: str) -> None:
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first class on top
    axes.set_xlabel(what)
    axes.margins(x=0.1)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=8)


def _short(name: str) -> str:
    """A name's beginning and end, where it is too long to stand beside a plot."""
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=130, bbox_inches="tight", facecolor="white")
