"""A full disk or an output that cannot be written costs one sentence, and nothing written before is damaged."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from datasets_drives import HEIGHT, WIDTH, box_element, image_element, polygon_element, write_cvat, write_drive
from robot_small_model import save_model

from mayhem_train.cli import main

VERBS = (
    "import-cvat",
    "import-coco",
    "import-yolo",
    "export-labels coco",
    "export-labels cvat",
    "prelabel",
    "describe",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drive of forty labelled frames: as CVAT, COCO and YOLO, and the index."""
    folder = tmp_path_factory.mktemp("dataset")
    write_drive(folder / "recordings", "drive", 40)
    floor = polygon_element("floor", f"0,24;{WIDTH},24;{WIDTH},{HEIGHT};0,{HEIGHT}")
    images = [image_element(f"drive-{k:06d}.png", box_element("person", 1, 2, 30, 40), floor) for k in range(40)]
    write_cvat(folder / "a.xml", *images)
    found = ["--recordings", str(folder / "recordings")]
    assert main(["import-cvat", str(folder / "a.xml"), *found, "--out", str(folder / "index.json")]) == 0
    arguments = [str(folder / "index.json"), "--format", "coco", "--out", str(folder / "coco.json")]
    assert main(["export-labels", *arguments]) == 0
    (folder / "yolo").mkdir()
    for k in range(40):
        (folder / "yolo" / f"drive-{k:06d}.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (folder / "names.txt").write_text("person\n")
    save_model(folder / "model.onnx")
    return folder


def arguments_of(verb: str, folder: Path, out: Path) -> list[str]:
    recordings, index = ["--recordings", str(folder / "recordings")], str(folder / "index.json")
    arguments = {
        "import-cvat": [str(folder / "a.xml"), *recordings],
        "import-coco": [str(folder / "coco.json"), *recordings],
        "import-yolo": [str(folder / "yolo"), "--names", str(folder / "names.txt"), *recordings],
        "export-labels coco": [index, "--format", "coco"],
        "export-labels cvat": [index, "--format", "cvat"],
        "prelabel": ["--model", str(folder / "model.onnx"), "--every", "1", *recordings],
        "describe": [index],
    }
    return [verb.split()[0], *arguments[verb], "--out", str(out)]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Makes writing more fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_one_sentence_and_keeps_what_was_there(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    out = tmp_path / "out"
    arguments = arguments_of(verb, dataset, out)
    assert main(arguments) == 0
    before = everything(tmp_path)
    assert max(len(content) for content in before.values()) > 600
    capsys.readouterr()
    with files_of_at_most(500):
        assert main([*arguments, "--force"]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Warning: ")]
    assert len(said) == 1
    assert f"Cannot write {out}" in said[0]
    assert "free the disk" in said[0]
    assert everything(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("verb", VERBS)
def test_an_output_that_cannot_be_written_is_one_sentence(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    assert main(arguments_of(verb, dataset, tmp_path / "file" / "out")) == 1
    assert f"Cannot write {tmp_path / 'file' / 'out'}" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "no folder"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
