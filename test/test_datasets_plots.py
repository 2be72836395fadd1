"""The plots of a description: every class has its label and its number, and nothing is cut off."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from mayhem_train.datasets.description import plots
from mayhem_train.datasets.description.description import Description, describe
from mayhem_train.datasets.description.plots import write_plots
from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex, LabelledImage, SurfaceLabel


def dataset(things: list[str], surfaces: list[str], splits: tuple[str, ...] = ("train", "val", "test")) -> Description:
    categories = [Category(number, name, True) for number, name in enumerate(things, start=1)]
    categories += [Category(len(things) + n, name, False) for n, name in enumerate(surfaces, start=1)]
    generator = np.random.default_rng(0)
    images = []
    for number in range(60):
        boxes = tuple(
            BoxLabel(int(generator.integers(len(things))) + 1, (0, 0, side, side))
            for side in generator.uniform(5, 150, 4 if things else 0).tolist()
        )
        areas = tuple(
            SurfaceLabel(len(things) + n, {"size": [10, 20], "counts": "0X6"})  # all 200 pixels
            for n in range(1, len(surfaces) + 1)
            if generator.random() < 0.5
        )
        split = splits[number % len(splits)]
        images.append(LabelledImage(number + 1, 20, 10, "d", "/t", number, 0, 0, split, boxes, areas))
    return describe(DatasetIndex(tuple(categories), tuple(images)))


def drawn(description: Description, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """The figures as they were saved, by file name; a warning (a glyph or a label that does not fit) is an error."""
    figures: dict[str, Figure] = {}
    save = plots._save

    def noted(figure: Figure, path: Path) -> None:
        figures[path.name] = figure
        save(figure, path)

    monkeypatch.setattr(plots, "_save", noted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_plots(description, folder)
    return figures


def labels_on(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


@pytest.mark.parametrize(("things", "surfaces"), [(76, 4), (1, 0), (0, 1), (3, 2)])
def test_every_class_is_labelled_and_every_text_lies_within_the_picture(
    things: int, surfaces: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = dataset([f"thing {n}" for n in range(things)], [f"surface {n}" for n in range(surfaces)])
    figures = drawn(description, tmp_path, monkeypatch)
    names = [name for name, _ in description.classes]
    expected = {"images.png": names, "boxes.png": names[:things], "surfaces.png": names[things:]}
    if len(names) > 1:
        expected["cooccurrence.png"] = names
    assert {file: labels_on(figure) for file, figure in figures.items()} == {f: n for f, n in expected.items() if n}
    for file, figure in figures.items():
        picture = cv2.imread(str(tmp_path / file))
        assert picture is not None
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (border == 255).all(), f"something touches the border of {file}"
        ticks = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
        below = sorted(ticks, key=lambda box: box.y0)
        assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(below)), f"labels of {file}"


def test_bars_say_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    description = dataset(["agv", "person"], ["floor"])
    figures = drawn(description, tmp_path, monkeypatch)
    shown = sorted(int(text.get_text()) for text in figures["images.png"].axes[0].texts)
    counted = [
        count
        for split in description.splits
        for count in (*split.images_with_thing.values(), *split.images_with_surface.values())
    ]
    assert shown == sorted(counted)
    boxes = [int(text.get_text()) for text in figures["boxes.png"].axes[0].texts]
    assert boxes == [sum(split.boxes[name] for split in description.splits) for name in ("agv", "person")]
    cells = sorted(int(text.get_text()) for text in figures["cooccurrence.png"].axes[0].texts)
    assert cells == sorted(count for count in description.cooccurrence.ravel().tolist() if count)


def test_names_that_are_long_or_look_like_formulas_are_shown_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "a very long name that somebody chose in the annotation tool and nobody shortened"
    figures = drawn(dataset(["$x^$", "50%_\\mu", long], []), tmp_path, monkeypatch)
    assert labels_on(figures["boxes.png"]) == ["$x^$", "50%_\\mu", "a very long name th…and nobody shortened"]


def test_a_dataset_without_classes_has_nothing_to_draw(tmp_path: Path) -> None:
    write_plots(dataset([], []), tmp_path)
    assert list(tmp_path.iterdir()) == []
