"""Everything `mayhem describe` found out about a dataset, for machines: JSON and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_train.datasets.description.leakage import NearDuplicates, TimeNeighbours
from mayhem_train.datasets.description.summary import SplitSummary, cooccurrence, ordered_categories, summarise
from mayhem_train.datasets.index import DatasetIndex


@dataclass(frozen=True)
class Description:
    """A dataset's counts and what leaks between its splits.

    Attributes:
        splits: in the order train, val, test, others.
        classes: (name, "thing" or "surface"), things first.
        cooccurrence: int64 [C, C], images that show two of `classes`; on the diagonal, that show one.
        neighbours: recordings cut into splits with too little time between.
        duplicates: frames alike across splits; None where the pictures were not looked at.
    """

    splits: tuple[SplitSummary, ...]
    classes: tuple[tuple[str, str], ...]
    cooccurrence: NDArray[np.int64]
    neighbours: tuple[TimeNeighbours, ...] = ()
    duplicates: NearDuplicates | None = None

    @property
    def leaks(self) -> bool:
        """Whether anything stands on both sides of a split."""
        return bool(self.neighbours or (self.duplicates is not None and self.duplicates.pairs))

    def to_json(self) -> dict[str, Any]:
        """Ready for `json.dumps`."""
        return {
            "splits": [asdict(split) for split in self.splits],
            "classes": [{"name": name, "kind": kind} for name, kind in self.classes],
            "cooccurrence": self.cooccurrence.tolist(),
            "time_neighbours": [asdict(neighbours) for neighbours in self.neighbours],
            "near_duplicates": None if self.duplicates is None else asdict(self.duplicates),
        }

    def write(self, folder: Path) -> None:
        """description.json, classes.csv, cooccurrence.csv, and near_duplicates.csv where they were looked for."""
        (folder / "description.json").write_text(json.dumps(self.to_json(), indent=2) + "\n")
        heading = ("split", "class", "kind", "images", "boxes", "small", "medium", "large", "crowds", "pixel_share")
        _write_csv(folder / "classes.csv", heading, (row for split in self.splits for row in self._rows(split)))
        names = [name for name, _ in self.classes]
        counts = ((name, *row) for name, row in zip(names, self.cooccurrence.tolist(), strict=True))
        _write_csv(folder / "cooccurrence.csv", ("class", *names), counts)
        if self.duplicates is not None:
            pairs = ((p.similarity, p.split, p.frame, p.other_split, p.other) for p in self.duplicates.pairs)
            columns = ("similarity", "split", "frame", "other_split", "other")
            _write_csv(folder / "near_duplicates.csv", columns, pairs)

    def _rows(self, split: SplitSummary) -> Iterable[tuple[object, ...]]:
        for name, kind in self.classes:
            if kind == "thing":
                size = split.sizes[name]
                boxes = (split.boxes[name], size.small, size.medium, size.large, split.crowds[name])
                yield (split.split, name, kind, split.images_with_thing[name], *boxes, "")
            else:
                share = f"{split.surface_shares[name]:.6f}"
                yield (split.split, name, kind, split.images_with_surface[name], "", "", "", "", "", share)


def describe(index: DatasetIndex) -> Description:
    """The counts alone."""
    classes = tuple((c.name, "thing" if c.is_thing else "surface") for c in ordered_categories(index))
    return Description(summarise(index), classes, cooccurrence(index))


def _write_csv(path: Path, heading: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(heading)
        writer.writerows(rows)
