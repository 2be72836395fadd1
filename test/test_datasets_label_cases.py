"""What other people's tools write comes out of the commands as it was meant, or is named as what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mayhem_train.cli import main
from mayhem_train.datasets.index import DatasetIndex

CASES = Path(__file__).parents[2] / "shared" / "cases"
LABELS = CASES / "labels"
Import = Callable[..., tuple[int, str]]
Boxes = list[tuple[str, str, tuple[float, ...]]]

CENTRE = (128, 96, 192, 144)
SQUARE = (10, 10, 60, 60)
THREE = [
    ("drive-1-000000.png", "person", SQUARE),
    ("drive-1-000001.png", "car", SQUARE),
    ("drive-1-000002.png", "person", SQUARE),
]

pytestmark = pytest.mark.skipif(not LABELS.is_dir(), reason=f"{LABELS} is not on this machine")


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Import:
    def import_files(*names: str, more: tuple[str, ...] = (), recordings: str = "drives") -> tuple[int, str]:
        verb = "yolo" if names[0].startswith("y-") else "cvat" if names[0].endswith(".xml") else "coco"
        described = ["--names", str(LABELS / names[0] / "data.yaml")] if verb == "yolo" else []
        files = [str(LABELS / name) for name in names]
        found = ["--recordings", str(CASES / recordings), "--out", str(tmp_path / "index.json"), "--force"]
        code = main([f"import-{verb}", *files, *described, *found, *more])
        output = capsys.readouterr()
        return code, output.out + output.err

    return import_files


def boxes(tmp_path: Path) -> Boxes:
    index = DatasetIndex.load(tmp_path / "index.json")
    names = {category.id: category.name for category in index.categories}
    return [
        (image.name, names[label.category_id], tuple(round(side, 2) for side in label.box))
        for image in index.images
        for label in image.boxes
    ]


def splits(tmp_path: Path) -> dict[str, str]:
    return {image.name: image.split for image in DatasetIndex.load(tmp_path / "index.json").images}


@pytest.mark.parametrize(
    ("names", "expected", "said"),
    [
        (("ok.json",), THREE, ""),
        (("labelstudio.json",), THREE, "3 images found without what a tool"),
        (("roboflow.json",), THREE, "3 images found without what a tool"),
        (("signed-url.json",), THREE[:1], "3 images found without what a tool"),
        (("localfiles.json",), THREE[:1], "3 images found without what a tool"),
        (("floatids.json",), THREE, ""),
        (("nosize.json",), THREE[:2], ""),
        (("nullsize.json",), THREE[:2], ""),
        (
            ("cvat-coco-rot.json",),
            [
                ("drive-1-000000.png", "person", (104.64, 74.64, 175.36, 145.36)),
                ("drive-1-000001.png", "person", (1, 1, 6, 6)),
            ],
            "",
        ),
        (("y-ok",), [("drive-1-000000.png", "person", CENTRE), ("drive-1-000001.png", "car", CENTRE)], ""),
        (
            ("y-dup",),
            [("drive-1-000000.png", "person", CENTRE), ("drive-1-000001.png", "car", CENTRE)],
            "2 boxes dropped as a repeat",
        ),
        (("y-ls",), [("drive-1-000000.png", "person", CENTRE)], "1 image found without what a tool"),
        (("y-rf",), [("drive-1-000000.png", "person", CENTRE)], "1 image found without what a tool"),
        (
            ("y-pose2d",),
            [
                ("drive-1-000000.png", "person", (11.97, 174.55, 24.32, 185.4)),
                ("drive-1-000001.png", "person", (47.71, 74.9, 85.6, 119.59)),
            ],
            "2 sets of keypoints left out",
        ),
        (
            ("y-ls-oob",),
            [
                ("drive-1-000000.png", "car", (0, 0.01, 194.57, 240)),
                ("drive-1-000000.png", "person", (40.07, 0, 136.06, 118.72)),
                ("drive-1-000001.png", "person", CENTRE),
            ],
            "1 box clipped",
        ),
        (
            ("y-neg",),
            [
                ("drive-1-000000.png", "person", (0, 96, 22.4, 144)),
                ("drive-1-000000.png", "person", (0, 96, 2.51, 144)),
            ],
            "2 boxes clipped",
        ),
        (
            ("cv-dup.xml",),
            [("drive-1-000000.png", "person", SQUARE), ("drive-1-000001.png", "person", SQUARE)],
            "2 boxes dropped as a repeat",
        ),
        (("two-points.json",), [("drive-1-000001.png", "person", SQUARE)], "1 polygon or part of one without any area"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_boxes(run: Import, tmp_path: Path, names: tuple[str, ...], expected: Boxes, said: str) -> None:
    code, output = run(*names)
    assert code == 0
    assert boxes(tmp_path) == expected
    assert said in output


@pytest.mark.parametrize("name", ["degenerate-part.json", "flat-list.json", "cv-ok.xml"])
def test_surfaces(run: Import, tmp_path: Path, name: str) -> None:
    code, output = run(name)
    assert code == 0
    index = DatasetIndex.load(tmp_path / "index.json")
    assert index.mask(index.images[0]).sum() == 320 * 120
    assert ("1 polygon or part of one without any area dropped" in output) == name.startswith("degenerate")


@pytest.mark.parametrize(
    ("names", "carried"),
    [
        (
            ("y-split",),
            {
                "drive-1-000000.png": "train",
                "drive-1-000001.png": "train",
                "drive-1-000006.png": "val",
                "drive-2-000001.png": "val",
            },
        ),
        (("inst_train.json", "inst_val.json"), {"drive-1-000000.png": "train", "drive-1-000001.png": "val"}),
        (
            ("folders.json",),
            {"drive-1-000000.png": "train", "drive-1-000001.png": "val", "drive-2-000001.png": "val"},
        ),
    ],
)
def test_splits(run: Import, tmp_path: Path, names: tuple[str, ...], carried: dict[str, str]) -> None:
    code, output = run(*names)
    assert code == 0
    assert "the labels carry splits of their own" in output
    assert "--labelled-splits" in output
    assert run(*names, more=("--labelled-splits",))[0] == 0
    assert splits(tmp_path) == carried


def test_letters_as_macos_spells_them(run: Import, tmp_path: Path) -> None:
    assert run("cv-nfc.xml", recordings="drives-nfd")[0] == 0
    assert [box[0] for box in boxes(tmp_path)] == ["gr\u00fcn-000000.png", "gr\u00fcn-000001.png"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("panoptic.json", "is COCO's panoptic format, whose masks lie in PNG files: export instances"),
        ("ls-native.json", "is Label Studio's own JSON: export the project as COCO or YOLO there"),
        ("kpt.json", "annotation 1 of 'person' has neither bbox nor segmentation, only keypoints"),
        ("y-conf", "line 1 has 6 fields, of which the last, '0.91', is one more than a label has"),
        ("y-obb", "every line has four corners, so these may be rotated boxes or surfaces"),
    ],
)
def test_what_is_refused_is_named(run: Import, tmp_path: Path, name: str, said: str) -> None:
    code, output = run(name)
    assert code == 1
    assert said in output
    assert not (tmp_path / "index.json").exists()


def test_what_to_do_with_confidences_and_corners(run: Import, tmp_path: Path) -> None:
    assert run("y-conf", more=("--min-confidence", "0"))[0] == 0
    assert boxes(tmp_path) == [("drive-1-000000.png", "person", CENTRE)]
    assert run("y-obb", more=("--classes", str(LABELS / "pose.yaml")))[0] == 0
    assert boxes(tmp_path) == [("drive-1-000000.png", "person", (32, 24, 96, 72))]
