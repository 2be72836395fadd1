"""Options of the imports and of `mayhem describe` reach the work that they are for."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets_drives import box_element, image_element, picture, polygon_element, write_cvat, write_drive
from recordings_writing import START_NS, image, write

from mayhem_train.cli import main
from mayhem_train.datasets.index import DatasetIndex

CAR = box_element("car", 1, 2, 30, 40)


def imported(folder: Path, *options: str) -> DatasetIndex:
    found = ["--recordings", str(folder / "recordings"), "--out", str(folder / "index.json"), "--force"]
    assert main(["import-cvat", str(folder / "a.xml"), *found, *options]) == 0
    return DatasetIndex.load(folder / "index.json")


def test_recordings_named_for_testing_are_the_test_split(tmp_path: Path) -> None:
    for stem in ("a", "b", "c"):
        write_drive(tmp_path / "recordings", stem, 3)
    write_cvat(tmp_path / "a.xml", *(image_element(f"{s}-{k:06d}.png", CAR) for s in "abc" for k in range(3)))
    index = imported(tmp_path, "--test", "a", "--val", "b")
    assert {(frame.recording, frame.split) for frame in index.images} == {("a", "test"), ("b", "val"), ("c", "train")}


def test_the_topic_named_is_the_labelled_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages = [
        image(topic, START_NS + k, START_NS + k + shift, picture(topic, k), "rgb8")
        for k in range(3)
        for shift, topic in ((0, "/left"), (500, "/right"))
    ]
    write(tmp_path / "recordings", "drive", "mcap", messages)
    write_cvat(tmp_path / "a.xml", image_element("drive-000002.png", CAR))
    found = ["--recordings", str(tmp_path / "recordings"), "--out", str(tmp_path / "index.json")]
    assert main(["import-cvat", str(tmp_path / "a.xml"), *found]) == 2
    assert "several cameras" in capsys.readouterr().err
    (frame,) = imported(tmp_path, "--topic", "/right").images
    assert (frame.topic, frame.index, frame.stamp_ns) == ("/right", 2, START_NS + 502)


def test_traced_polygons_hold_the_pixels_of_their_vertices(tmp_path: Path) -> None:
    write_drive(tmp_path / "recordings", "drive", 1)
    write_cvat(
        tmp_path / "a.xml", image_element("drive-000000.png", polygon_element("road", "10,10;19,10;19,14;10,14"))
    )
    areas = {}
    for options in ((), ("--traced-polygons",)):
        index = imported(tmp_path, *options)
        areas[options] = int((index.mask(index.images[0]) == 1).sum())
    assert areas == {(): 9 * 4, ("--traced-polygons",): 10 * 5}


@pytest.mark.parametrize(("limit", "leaks"), [("0.05", 1), ("1", 0)])
def test_near_duplicates_are_those_above_the_limit(tmp_path: Path, limit: str, leaks: int) -> None:
    write_drive(tmp_path / "recordings", "a", 1)
    write_drive(tmp_path / "recordings", "b", 1)
    write_cvat(tmp_path / "a.xml", *(image_element(f"{stem}-000000.png", CAR) for stem in "ab"))
    imported(tmp_path, "--val", "b")
    found = ["--recordings", str(tmp_path / "recordings"), "--limit", limit, "--out", str(tmp_path / "out")]
    assert main(["describe", str(tmp_path / "index.json"), *found, "--fail-on-leakage"]) == leaks
