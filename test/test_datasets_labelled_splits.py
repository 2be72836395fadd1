"""Splits that labels carry are taken when asked for, and otherwise named; they never become training data unsaid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets_drives import HEIGHT, WIDTH, box_element, image_element, write_cvat, write_drive

from mayhem_train.cli import main
from mayhem_train.datasets.annotations.labelled_splits import split_of_file, split_of_folders, split_of_word
from mayhem_train.datasets.index import DatasetIndex

BOX = "0 0.5 0.5 0.25 0.25\n"
TRAIN, VAL, TEST = "drive-a-000000", "drive-a-000001", "drive-a-000002"
CARRIED = {TRAIN: "train", VAL: "val", TEST: "test"}


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    write_drive(folder, "drive-a", 4)
    return folder


def command(tmp_path: Path, recordings: Path, verb: str, *more: str | Path) -> int:
    found = ["--recordings", str(recordings), "--out", str(tmp_path / "index.json"), "--force"]
    return main([verb, *map(str, more), *found])


def yolo(tmp_path: Path, recordings: Path, files: dict[str, str], *more: str, names: str = "") -> int:
    for name, text in {"data.yaml": f"names: [car]\n{names}", **files}.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    folder = tmp_path / "set"
    return command(tmp_path, recordings, "import-yolo", folder, "--names", folder / "data.yaml", *more)


def coco(path: Path, *file_names: str, **more: object) -> Path:
    content = {
        "images": [
            {"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT, **more} for i, name in enumerate(file_names)
        ],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 3, 4]} for i in range(len(file_names))
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def splits(tmp_path: Path) -> dict[str, str]:
    return {image.name[:-4]: image.split for image in DatasetIndex.load(tmp_path / "index.json").images}


@pytest.mark.parametrize(
    ("word", "split"),
    [("train", "train"), ("Train2017", "train"), ("valid", "val"), ("VALIDATION", "val"), ("test-1", "test")],
)
def test_words_of_tools_for_splits(word: str, split: str) -> None:
    assert split_of_word(word) == split
    assert split_of_folders(f"x/{word}/images/a.png") == split


@pytest.mark.parametrize("word", ["", "drive", "testing-ground", "trainyard", "contest", None, 3])
def test_other_words_are_none(word: object) -> None:
    assert split_of_word(word) == ""


def test_a_files_name_says_a_split_where_it_says_one_only() -> None:
    assert split_of_file(Path("annotations/instances_val2017.json")) == "val"
    assert split_of_file(Path("valid/_annotations.coco.json")) == "val"
    assert split_of_file(Path("train/instances.json")) == ""
    assert split_of_file(Path("train_and_val.json")) == ""


@pytest.mark.parametrize(
    "files",
    [
        {f"labels/train/{TRAIN}.txt": BOX, f"labels/val/{VAL}.txt": BOX, f"labels/test/{TEST}.txt": BOX},
        {f"train/labels/{TRAIN}.txt": BOX, f"valid/labels/{VAL}.txt": BOX, f"test/labels/{TEST}.txt": BOX},
        {
            f"obj_Train_data/{TRAIN}.txt": BOX,
            f"obj_Validation_data/{VAL}.txt": BOX,
            f"obj_test_data/{TEST}.txt": BOX,
        },
        {
            **{f"labels/{name}.txt": BOX for name in CARRIED},
            "train.txt": f"./images/{TRAIN}.png\n",
            "val.txt": f"C:\\x\\{VAL}.jpg\n\n",
            "test.txt": f"\ufeff/data/{TEST}.png",
        },
    ],
    ids=["ultralytics", "roboflow", "cvat", "lists"],
)
def test_yolos_folders_and_lists(
    tmp_path: Path, recordings: Path, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert yolo(tmp_path, recordings, files, "--labelled-splits") == 0
    assert splits(tmp_path) == CARRIED
    capsys.readouterr()
    assert yolo(tmp_path, recordings, files) == 0
    said = capsys.readouterr().out
    assert "the labels carry splits of their own (test 1, train 1, val 1), and 2 frames are in another one here" in said
    assert "--labelled-splits" in said


def test_folders_and_lists_that_data_yaml_names_whatever_they_are_called(tmp_path: Path, recordings: Path) -> None:
    files = {f"labels/a/{TRAIN}.txt": BOX, f"labels/b/{VAL}.txt": BOX, f"labels/{TEST}.txt": BOX}
    names = "path: /x\ntrain: images/a\nval: [images/b]\ntest: held_out.txt\n"
    more = {"held_out.txt": f"images/{TEST}.png\n"}
    assert yolo(tmp_path, recordings, files | more, "--labelled-splits", names=names) == 0
    assert splits(tmp_path) == CARRIED


def test_cocos_pairs_of_files_folders_and_fields(tmp_path: Path, recordings: Path) -> None:
    pair = [coco(tmp_path / f"instances_{s}.json", f"{name}.png") for s, name in (("train", TRAIN), ("val2017", VAL))]
    assert command(tmp_path, recordings, "import-coco", *pair, "--labelled-splits") == 0
    assert splits(tmp_path) == {TRAIN: "train", VAL: "val"}
    folders = coco(tmp_path / "all.json", f"train/{TRAIN}.png", f"images/val/{VAL}.png", f"https://x/test/{TEST}.png?a")
    assert command(tmp_path, recordings, "import-coco", folders, "--labelled-splits") == 0
    assert splits(tmp_path) == CARRIED
    roboflow = [coco(tmp_path / s / "_annotations.coco.json", n) for s, n in (("train", TRAIN), ("valid", VAL))]
    assert command(tmp_path, recordings, "import-coco", *roboflow, "--labelled-splits") == 0
    assert splits(tmp_path) == {TRAIN: "train", VAL: "val"}
    field = coco(tmp_path / "field.json", f"{TRAIN}.png", split="val")
    assert command(tmp_path, recordings, "import-coco", field, "--labelled-splits") == 0
    assert splits(tmp_path) == {TRAIN: "val"}


def test_cvats_subsets_of_images_and_of_tasks(tmp_path: Path, recordings: Path) -> None:
    box = box_element("car", 1, 2, 3, 4)
    elements = [
        image_element(f"{TRAIN}.png", box).replace("<image", '<image subset="Train"'),
        image_element(f"{VAL}.png", box).replace("<image", '<image subset="Validation"'),
    ]
    images = write_cvat(tmp_path / "a.xml", *elements)
    task = write_cvat(tmp_path / "b.xml", image_element(f"{TEST}.png", box))
    task.write_text(task.read_text().replace("<task>", "<task><subset>Test</subset>"))
    assert command(tmp_path, recordings, "import-cvat", images, task, "--labelled-splits") == 0
    assert splits(tmp_path) == CARRIED


def test_frames_without_a_split_are_counted_and_refused(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"labels/train/{TRAIN}.txt": BOX, f"labels/{VAL}.txt": BOX}
    assert yolo(tmp_path, recordings, files, "--labelled-splits") == 1
    assert f"The labels say no split of 1 of their 2 frames, first {VAL}.png" in capsys.readouterr().err


@pytest.mark.parametrize("option", [("--val", "drive-a"), ("--val-fraction", "0.5"), ("--split", "time")])
def test_who_asks_for_two_things_is_told(
    tmp_path: Path, recordings: Path, option: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert yolo(tmp_path, recordings, {f"labels/train/{TRAIN}.txt": BOX}, "--labelled-splits", *option) == 2
    assert "--labelled-splits takes the labels' own: leave out --val" in capsys.readouterr().err


def test_labels_that_all_train_say_nothing_about_it(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert yolo(tmp_path, recordings, {f"labels/train/{TRAIN}.txt": BOX, f"labels/train/{VAL}.txt": BOX}) == 0
    assert "splits of their own" not in capsys.readouterr().out
