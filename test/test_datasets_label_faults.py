"""An import reads all of its files, names every fault at once, and leaves them out only where it is told to."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from datasets_drives import HEIGHT, WIDTH, box_element, image_element, polygon_element, write_cvat, write_drive

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.cli import main
from mayhem_train.datasets.annotations.cvat.exporting import export_cvat
from mayhem_train.datasets.annotations.faults import Faults, LabelError
from mayhem_train.datasets.index import DatasetIndex


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    write_drive(folder, "drive-a", 5)
    return folder


def command(tmp_path: Path, recordings: Path, verb: str, *more: str | Path) -> int:
    return main(
        [verb, *map(str, more), "--recordings", str(recordings), "--out", str(tmp_path / "index.json"), "--force"]
    )


def yolo(tmp_path: Path, recordings: Path, *more: str, **lines: str) -> int:
    folder = tmp_path / "labels"
    folder.mkdir(exist_ok=True)
    (tmp_path / "data.yaml").write_text("names: [car]")
    for frame, text in lines.items():
        (folder / f"drive-{frame.replace('_', '-')}.txt").write_text(text)
    return command(tmp_path, recordings, "import-yolo", folder, "--names", tmp_path / "data.yaml", *more)


def coco(path: Path, *annotations: dict[str, Any], names: tuple[str, ...] = ("drive-a-000000.png",)) -> Path:
    content = {
        "images": [{"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(names)],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"id": i, "image_id": 0, "category_id": 1, **a} for i, a in enumerate(annotations)],
    }
    path.write_text(json.dumps(content))
    return path


GOOD, BAD_CLASS, BAD_SHARE = "0 .5 .5 .25 .25", "7 .5 .5 .25 .25", "0 320 .5 .25 .25"


def test_the_first_ten_are_named_and_all_are_listed_beside_the_index(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = {f"a_{i:06d}": f"{GOOD}\n{BAD_CLASS}\n{BAD_SHARE}\n{BAD_CLASS}\n" for i in range(4)}
    assert yolo(tmp_path, recordings, **lines) == 1
    assert not (tmp_path / "index.json").exists()
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "mayhem import-yolo: 12 faults in the labels:"
    place = f"  {tmp_path / 'labels' / 'drive-a-000000.txt'}"
    assert said[1].startswith(f"{place}, line 2 has the class '7'")
    assert said[2].startswith(f"{place}, line 3 has '320'")
    assert said[11] == "  … and 2 more"
    assert said[12] == (
        f"Correct what is wrong (all of it is listed in {tmp_path / 'index.faults.log'}), or pass --skip-faulty to "
        "import the rest."
    )
    listed = (tmp_path / "index.faults.log").read_text().splitlines()
    assert listed[:4] == [
        "Faults in labels: 12",
        "8 x line of a class without a name",
        "4 x line with a number that is no share of the image",
        "",
    ]
    assert len(listed[4:]) == 12
    assert listed[4:14] == [line.strip() for line in said[1:11]]


def test_skipped_they_are_counted_by_kind(tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = {"a_000000": f"{GOOD}\n{BAD_CLASS}\n", "a_000001": BAD_SHARE, "a_000009": GOOD, "b_000000": GOOD}
    assert yolo(tmp_path, recordings, "--skip-faulty", **lines) == 0
    (image,) = DatasetIndex.load(tmp_path / "index.json").images
    assert (image.index, len(image.boxes)) == (0, 1)
    said = capsys.readouterr().out.splitlines()
    first = said.index(f"left out as faulty (all are listed in {tmp_path / 'index.faults.log'}):")
    assert said[first + 1 : first + 5] == [
        "  1 x line of a class without a name",
        "  1 x line with a number that is no share of the image",
        "  1 x image beyond its recording's end",
        "  1 x recording that is missing",
    ]


def test_the_list_of_an_earlier_import_goes_with_the_faults(tmp_path: Path, recordings: Path) -> None:
    assert yolo(tmp_path, recordings, a_000000=BAD_CLASS) == 1
    assert (tmp_path / "index.faults.log").exists()
    assert yolo(tmp_path, recordings, a_000000=GOOD) == 0
    assert not (tmp_path / "index.faults.log").exists()
    (tmp_path / "index.faults.log").write_text("mine")
    assert yolo(tmp_path, recordings, a_000000=GOOD) == 0
    assert yolo(tmp_path, recordings, a_000000=BAD_CLASS) == 2
    assert (tmp_path / "index.faults.log").read_text() == "mine"


def test_cocos_images_and_annotations_are_all_looked_at(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing: dict[str, Any] = {}
    path = coco(
        tmp_path / "a.json",
        {"bbox": [1, 2, -3, 4]},
        {"bbox": [1, 2, 3, 4]},
        {"bbox": [float("nan"), 2, 3, 4]},
        nothing,
        {"bbox": [1, 2, 3, 4], "image_id": 9},
        {"bbox": [1, 2, 3, 4], "image_id": 1},  # of an image that is named itself
        names=("drive-a-000000.png", "photo.png", "drive-a-000077.png"),
    )
    assert command(tmp_path, recordings, "import-coco", path, "--empty-means-empty") == 1
    said = capsys.readouterr().err
    assert "6 faults in the labels" in said
    for reason in ("'photo.png'", "negative size", "no finite number", "neither bbox", "image 9", "only 5 images"):
        assert reason in said
    assert command(tmp_path, recordings, "import-coco", path, "--skip-faulty") == 0
    (image,) = DatasetIndex.load(tmp_path / "index.json").images
    assert [label.box for label in image.boxes] == [(1, 2, 4, 6)]


def test_a_file_that_cannot_be_read_does_not_hide_the_faults_of_the_others(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text("{")
    files = tmp_path / "a.json", coco(tmp_path / "b.json", {"bbox": [1, 2, 3, 4]}, {"bbox": [1, 2, -3, 4]})
    assert command(tmp_path, recordings, "import-coco", *files) == 1
    said = capsys.readouterr().err
    assert "2 faults" in said
    assert "a.json is no JSON or is cut short" in said
    assert "b.json, annotation 1" in said
    assert command(tmp_path, recordings, "import-coco", *files, "--skip-faulty") == 0
    assert "1 x file or recording that cannot be read" in capsys.readouterr().out
    assert command(tmp_path, recordings, "import-coco", tmp_path / "a.json", "--skip-faulty") == 1
    assert capsys.readouterr().err.startswith(f"mayhem import-coco: {tmp_path / 'a.json'} is no JSON")


def test_where_nothing_is_left_without_them_nothing_is_written(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = coco(tmp_path / "a.json", {"bbox": [1, 2, -3, 4]})
    assert command(tmp_path, recordings, "import-coco", path, "--skip-faulty") == 1
    said = capsys.readouterr().err
    assert "1 fault in the labels" in said
    assert said.rstrip().endswith("nothing is left without them.")
    assert not (tmp_path / "index.json").exists()


def test_cvats_shapes_images_and_labels_are_all_looked_at_and_the_rest_goes_back_to_cvat(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    car = box_element("car", 1, 2, 30, 40)
    path = write_cvat(
        tmp_path / "a.xml",
        image_element("photo.png", car),
        image_element("drive-a-000000.png", car, box_element("car", 9, 2, 3, 4), box_element("caar", 1, 2, 3, 4)),
        image_element("drive-a-000001.png", polygon_element("road", "1,1;2,2"), width=0),
        image_element("drive-a-000002.png", car, polygon_element("road", "0,0;9,0;nan,9")),
        image_element("drive-a-000003.png", car, width=640),
        labels=["car", "road"],
    )
    assert command(tmp_path, recordings, "import-cvat", path) == 1
    said = capsys.readouterr().err
    assert "6 faults in the labels" in said
    for reason in ("'photo.png'", "is reversed", "'caar'", "0x48 pixels", "no finite number", "is 640x48 pixels"):
        assert reason in said
    assert command(tmp_path, recordings, "import-cvat", path, "--skip-faulty") == 0
    index = DatasetIndex.load(tmp_path / "index.json")
    assert [(image.index, len(image.boxes)) for image in index.images] == [(0, 1), (2, 1)]
    (out,) = export_cvat(index, tmp_path / "out")
    assert re.findall(r'<image [^>]*name="([^"]*)"', out.read_text()) == [f"drive-a-00000{i}.png" for i in (0, 2, 3)]


def test_wrong_usage_is_no_fault_of_the_labels(tmp_path: Path) -> None:
    faults = Faults(gather=True)
    with pytest.raises(UsageError), faults.noting():
        raise UsageError("choose another topic.")
    with faults.noting():
        raise LabelError("a line is wrong.", "line that is wrong")
    with faults.noting("shape that cannot be"):
        raise MayhemError("a shape is wrong.")
    assert faults.by_kind() == ["1 x line that is wrong", "1 x shape that cannot be"]
    with pytest.raises(MayhemError, match="a line"), Faults().noting():
        raise LabelError("a line is wrong.", "line that is wrong")


def test_annotations_of_an_id_that_two_images_share_are_of_neither(tmp_path: Path, recordings: Path) -> None:
    path = coco(tmp_path / "a.json", {"bbox": [1, 2, 3, 4]}, {"bbox": [1, 2, 3, 4], "image_id": 2})
    content = json.loads(path.read_text())
    size = {"width": WIDTH, "height": HEIGHT}
    content["images"] = [{"id": i, "file_name": f"drive-a-00000{n}.png", **size} for n, i in enumerate((0, 0, 2))]
    path.write_text(json.dumps(content))
    assert command(tmp_path, recordings, "import-coco", path, "--skip-faulty") == 0
    assert [image.index for image in DatasetIndex.load(tmp_path / "index.json").images] == [2]


def test_a_confidence_beyond_one_is_wrong_usage(tmp_path: Path, recordings: Path) -> None:
    assert yolo(tmp_path, recordings, "--min-confidence", "7", a_000000=GOOD) == 2


def test_an_image_of_which_only_faulty_labels_are_known_is_not_taken_for_an_empty_one(
    tmp_path: Path, recordings: Path
) -> None:
    def imported(verb: str, path: Path) -> list[tuple[int, int]]:
        given = ["--skip-faulty", "--empty-means-empty", "--force"]
        assert command(tmp_path, recordings, verb, path, *given) == 0
        return [(image.index, len(image.boxes)) for image in DatasetIndex.load(tmp_path / "index.json").images]

    faulty, good = {"bbox": [1, 2, -3, 4]}, {"bbox": [1, 2, 3, 4], "image_id": 1}
    names = tuple(f"drive-a-00000{index}.png" for index in range(3))
    assert imported("import-coco", coco(tmp_path / "a.json", faulty, good, names=names)) == [(1, 1), (2, 0)]
    path = write_cvat(
        tmp_path / "a.xml",
        image_element(names[0], box_element("car", 9, 2, 3, 4)),
        image_element(names[1], box_element("car", 1, 2, 3, 4)),
        image_element(names[2]),
        labels=["car"],
    )
    assert imported("import-cvat", path) == [(1, 1), (2, 0)]
