"""`mayhem describe`: what a dataset holds and what leaks, for people, for machines and for a CI job."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets_drives import box_element, image_element, picture, polygon_element, write_cvat, write_drive
from recordings_writing import COLOUR, START_NS, image, write

from mayhem_train.cli import main
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.importing import import_annotations
from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex, LabelledImage
from mayhem_train.datasets.splits.splitting import SplitPlan

DATA = Path(os.environ.get("MAYHEM_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drives of six and three frames of noise, and index.json over them."""
    folder = tmp_path_factory.mktemp("drives")
    images = []
    for stem, count in (("drive-a", 6), ("drive-b", 3)):
        write_drive(folder / "recordings", stem, count)
        for i in range(count):
            boxes = [box_element("agv", 2, 3, 20, 30)] * (i % 2)
            person = box_element("person", 1, 1, 40, 40)
            road = polygon_element("road", "0,24;64,24;64,48;0,48")
            images.append(image_element(f"{stem}-{i:06d}.png", *boxes, person, road))
    path = write_cvat(folder / "a.xml", *images, labels=["agv", "person", "road"])
    imported = import_annotations([read_cvat(path)], folder / "recordings", plan=SplitPlan(validation=("drive-b",)))
    imported.index.save(folder / "index.json")
    return folder


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One drive that was copied under another name: two of its frames are held out."""
    folder = tmp_path_factory.mktemp("leaking")
    entries = []
    for stem, indices, split in (("monday", range(4), "train"), ("copy", (2, 3), "val")):
        messages = [
            image(COLOUR, START_NS + place, START_NS + place, picture("monday", index), "rgb8")
            for place, index in enumerate(indices)
        ]
        write(folder / "recordings", stem, "mcap", messages)
        for place in range(len(messages)):
            time = START_NS + place
            entries.append(LabelledImage(len(entries) + 1, 64, 48, stem, COLOUR, place, time, time, split))
    DatasetIndex((), tuple(entries)).save(folder / "index.json")
    return folder


def describe(*arguments: str | Path) -> int:
    return main(["describe", *map(str, arguments)])


def test_the_tables_say_what_is_in_each_split(drives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe(drives / "index.json") == 0
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line[1:-1].split("│")] for line in out.splitlines() if "│" in line]
    assert ["train", "6", "0", "drive-a"] in rows
    assert ["val", "3", "0", "drive-b"] in rows
    assert ["agv", "3", "3", "3", "0", "0", ""] in rows  # 18x27 pixels: small
    assert ["person", "6", "6", "0", "6", "0", ""] in rows  # 39x39
    assert ["road", "6", "", "", "", "", "50.0"] in rows
    assert ["person", "4", "9", "9"] in rows  # with agv, itself, road, over both splits


def test_json_is_one_document_on_stdout(drives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe(drives / "index.json", "--json", "--recordings", drives / "recordings", "--gap", "0.15") == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [split["images"] for split in document["splits"]] == [6, 3]
    assert document["splits"][0]["boxes"] == {"agv": 3, "person": 6}
    assert document["splits"][0]["sizes"]["agv"] == {"small": 3, "medium": 0, "large": 0}
    assert document["cooccurrence"] == [[4, 4, 4], [4, 9, 9], [4, 9, 9]]
    assert [entry["name"] for entry in document["classes"]] == ["agv", "person", "road"]
    assert document["near_duplicates"] == {"pairs": [], "frames": 9, "unreadable": []}
    assert "No near-duplicates across splits among 9 frames." in captured.err


def test_out_holds_plots_and_numbers_whole_or_not_at_all(drives: Path, tmp_path: Path) -> None:
    out = tmp_path / "description"
    assert describe(drives / "index.json", "--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        ".mayhem-description",
        "boxes.png",
        "classes.csv",
        "cooccurrence.csv",
        "cooccurrence.png",
        "description.json",
        "images.png",
        "surfaces.png",
    ]
    rows = list(csv.DictReader((out / "classes.csv").open()))
    assert [(row["split"], row["class"], row["images"], row["boxes"], row["pixel_share"]) for row in rows[:3]] == [
        ("train", "agv", "3", "3", ""),
        ("train", "person", "6", "6", ""),
        ("train", "road", "6", "", "0.500000"),
    ]
    assert list(csv.reader((out / "cooccurrence.csv").open()))[1] == ["agv", "4", "4", "4"]
    assert json.loads((out / "description.json").read_text())["near_duplicates"] is None
    assert describe(drives / "index.json", "--out", out) == 2
    (out / "notes.txt").touch()
    assert describe(drives / "index.json", "--out", out, "--force") == 2
    (out / "notes.txt").unlink()
    (out / "images.png").unlink()
    assert describe(drives / "index.json", "--out", out, "--force") == 0
    assert (out / "images.png").exists()


def test_what_is_read_is_never_replaced(drives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in (drives, drives / "recordings"):
        recordings = ["--recordings", drives / "recordings"]
        assert describe(drives / "index.json", *recordings, "--out", place, "--force") == 2
        assert "would be deleted" in capsys.readouterr().err
    assert (drives / "index.json").is_file()


def test_the_same_frames_in_two_recordings_are_told_and_fail_only_if_asked_to(
    leaking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [leaking / "index.json", "--recordings", leaking / "recordings"]
    assert describe(*command, "--out", tmp_path / "out") == 0
    told = capsys.readouterr().err
    assert "Warning: 2 frames with a near-duplicate in another split:" in told
    assert "  1.000  copy-000000.png (val)  monday-000002.png (train)\n" in told
    assert "  1.000  copy-000001.png (val)  monday-000003.png (train)\n" in told
    rows = list(csv.DictReader((tmp_path / "out" / "near_duplicates.csv").open()))
    assert [(row["frame"], row["other"]) for row in rows] == [
        ("copy-000000.png", "monday-000002.png"),
        ("copy-000001.png", "monday-000003.png"),
    ]
    assert all(float(row["similarity"]) == pytest.approx(1.0) for row in rows)
    assert describe(*command, "--fail-on-leakage") == 1
    assert describe(leaking / "index.json", "--fail-on-leakage") == 0, "without pictures only times are compared"


def test_one_recording_in_two_splits_is_told_with_the_time_between(
    drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = DatasetIndex.load(drives / "index.json")
    cut = [replace(i, split="val") if i.recording == "drive-a" and i.index >= 4 else i for i in index.images]
    replace(index, images=tuple(cut)).save(tmp_path / "cut.json")
    assert describe(tmp_path / "cut.json", "--gap", "0.15") == 0
    assert (
        "Warning: 1 frame of drive-a in val within 0.15 s of one in train, drive-a-000004.png only 0.100 s from "
        "drive-a-000003.png: leave a gap." in capsys.readouterr().err
    )
    assert describe(tmp_path / "cut.json", "--gap", "0.15", "--fail-on-leakage") == 1
    assert describe(tmp_path / "cut.json", "--gap", "0.1", "--fail-on-leakage") == 0


def test_many_classes_are_listed_by_the_pairs_seen_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    categories = tuple(Category(number, f"[b]thing {number}", True) for number in range(1, 81))
    images = tuple(
        LabelledImage(
            n, 64, 48, "d", "/t", n, n, n, "train", tuple(BoxLabel(k, (0, 0, 9, 9)) for k in range(1, 2 + n % 80))
        )
        for n in range(1, 81)
    )
    DatasetIndex(categories, images).save(tmp_path / "index.json")
    assert describe(tmp_path / "index.json") == 0
    out = capsys.readouterr().out
    assert "most often seen together (12 of 3160 pairs)" in out
    assert "[b]thing 80" in out, "names are no markup"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["absent.json"], 1, "Cannot read the dataset index absent.json"),
        (["index.json", "--limit", "0"], 2, "--limit is 0"),
        (["index.json", "--limit", "1.5"], 2, "--limit is 1.5"),
        (["index.json", "--gap", "-1"], 2, "--gap is -1"),
        (["index.json", "--recordings", "absent"], 1, "no folder absent"),
        (["index.json", "--recordings", "empty"], 1, "The recording 'drive-a' of the dataset index is not in empty"),
        (["empty.json"], 1, "empty.json lists no images"),
    ],
)
def test_wrong_input_is_answered_in_one_sentence(
    drives: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    (tmp_path / "index.json").write_text((drives / "index.json").read_text())
    (tmp_path / "empty").mkdir()
    DatasetIndex((), ()).save(tmp_path / "empty.json")
    monkeypatch.chdir(tmp_path)
    assert describe(*arguments) == code
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


def test_a_frame_that_cannot_be_read_is_named_and_the_rest_compared(
    leaking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = DatasetIndex.load(leaking / "index.json")
    wrong = [replace(i, width=32) if i.name == "monday-000002.png" else i for i in index.images]
    replace(index, images=tuple(wrong)).save(tmp_path / "index.json")
    assert describe(tmp_path / "index.json", "--recordings", leaking / "recordings") == 0
    told = capsys.readouterr().err
    assert "Not compared: Frame monday-000002.png is 64x48 pixels in " in told
    assert "Warning: 1 frame with a near-duplicate in another split:" in told


@pytest.mark.parametrize(("level", "leaks"), [(60, True), (58, False)])
def test_near_duplicates_are_as_alike_as_pruning_drops_where_no_limit_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], level: int, leaks: bool
) -> None:
    entries = []
    for stem, value, split in (("monday", level, "train"), ("tuesday", 100, "val")):
        grey = np.full((48, 64, 3), value, np.uint8)
        write(tmp_path / "recordings", stem, "mcap", [image(COLOUR, START_NS, START_NS, grey, "rgb8")])
        entries.append(LabelledImage(len(entries) + 1, 64, 48, stem, COLOUR, 0, START_NS, START_NS, split))
    DatasetIndex((), tuple(entries)).save(tmp_path / "index.json")
    assert describe(tmp_path / "index.json", "--recordings", tmp_path / "recordings", "--json") == 0
    pairs = json.loads(capsys.readouterr().out)["near_duplicates"]["pairs"]
    c1 = (0.01 * 255) ** 2  # of even pictures SSIM has only its first factor
    similarity = 0.4 * (200 * level + c1) / (100**2 + level**2 + c1) + 0.6 * (1 - (100 - level) / 100)
    assert (similarity >= 0.7) == leaks
    assert [pair["similarity"] for pair in pairs] == ([pytest.approx(similarity)] if leaks else [])


def test_where_there_is_one_split_nothing_is_said_to_have_been_compared(
    drives: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = DatasetIndex.load(drives / "index.json")
    for left, sentence in (
        (index.split("train"), "Nothing was compared: there is no split beside train."),
        (index.split("val"), "Nothing was compared: there is no split beside val."),
        (_moved(index, "val", "unused"), "Nothing was compared: there is no split beside train."),
        (_moved(index.split("val"), "val", "unused"), "Nothing was compared: there is no split beside unused."),
    ):
        left.save(tmp_path / "index.json", force=True)
        command = [tmp_path / "index.json", "--recordings", drives / "recordings", "--json", "--fail-on-leakage"]
        assert describe(*command) == 0
        told = capsys.readouterr()
        assert told.err == f"{sentence}\n"
        assert json.loads(told.out)["near_duplicates"] == {"pairs": [], "frames": 0, "unreadable": []}


def test_where_the_frames_of_one_split_only_can_be_read_nothing_is_said_to_have_been_compared(
    leaking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = DatasetIndex.load(leaking / "index.json")
    wrong = tuple(replace(i, width=32) if i.split == "val" else i for i in index.images)
    replace(index, images=wrong).save(tmp_path / "index.json")
    assert describe(tmp_path / "index.json", "--recordings", leaking / "recordings") == 0
    told = capsys.readouterr().err
    assert told.count("Not compared: Frame copy-00000") == 2
    assert "Nothing was compared: fewer than two splits have frames that could be read." in told


def _moved(index: DatasetIndex, split: str, other: str) -> DatasetIndex:
    return replace(index, images=tuple(replace(i, split=other) if i.split == split else i for i in index.images))


@pytest.mark.parametrize(("milliseconds", "leaks"), [(999, 1), (1000, 0)])
def test_neighbours_are_less_than_a_second_apart_where_no_gap_is_said(
    tmp_path: Path, milliseconds: int, leaks: int
) -> None:
    first = LabelledImage(1, 64, 48, "monday", COLOUR, 0, START_NS, None, "train")
    second = replace(first, id=2, index=1, log_time_ns=START_NS + milliseconds * 10**6, split="val")
    DatasetIndex((), (first, second)).save(tmp_path / "index.json")
    assert DatasetIndex.load(tmp_path / "index.json").images[0].stamp_ns is None
    assert describe(tmp_path / "index.json", "--fail-on-leakage") == leaks


def test_it_starts_without_torch_and_draws_only_when_asked() -> None:
    code = "import sys, mayhem_train.commands.describe; print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=Path(__file__).parents[1])
    assert loaded.strip() == "[]"


def test_real_drives_do_not_leak_into_their_validation_drive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camvid = DATA / "camvid"
    if not camvid.is_dir():
        pytest.skip(f"the real drives are not at {camvid}")
    files = [read_cvat(path) for path in sorted((camvid / "annotations").glob("camvid-0016E5*.xml"))]
    imported = import_annotations(files, camvid, plan=SplitPlan(validation=("camvid-0016E5-val",)))
    imported.index.save(tmp_path / "index.json")
    assert describe(tmp_path / "index.json", "--recordings", camvid, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["near_duplicates"]["frames"] == 204 + 101
    assert document["near_duplicates"]["pairs"] == []
    assert [split["images"] for split in document["splits"]] == [204, 101]
