"""The intensity range of a dataset: from an import into the index, from there to every reader of frames."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from datasets_drives import box_element, image_element, write_cvat
from recordings_pruning_drives import raw
from recordings_writing import write

from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.cli import main
from mayhem_train.datasets.datamodule import PerceptionDataModule
from mayhem_train.datasets.frame_reader import FrameReader
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.recordings.pruning.kept_frames import write_kept_frames

TOPIC, FRAMES, HEIGHT, WIDTH = "/thermal/image_raw", 3, 48, 64
RAMP = np.linspace(7000, 9000, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
FOUND = (7001, 8998)  # all of it but one in a thousand at either end


def shown(low: int, high: int) -> np.ndarray:
    """The ramp by a range, uint8 [H, W, 3]."""
    scaled = np.clip((RAMP - float(low)) * 255 / (high - low), 0, 255)
    return np.dstack([np.rint(scaled).astype(np.uint8)] * 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A thermal drive of one frame thrice, and its labels."""
    (tmp_path / "recordings").mkdir()
    write(tmp_path / "recordings", "drive", "mcap", [raw(n, RAMP, TOPIC, "mono16") for n in range(FRAMES)])
    box = box_element("person", 10, 8, 34, 30)
    write_cvat(tmp_path / "labels.xml", *(image_element(f"drive-{n:06d}.png", box) for n in range(FRAMES)))
    return tmp_path


def imported(folder: Path, *more: object) -> DatasetIndex:
    out = folder / "index.json"
    given = [folder / "labels.xml", "--recordings", folder / "recordings", "--out", out, "--force", *more]
    assert main(["import-cvat", *map(str, given)]) == 0
    return DatasetIndex.load(out)


def test_an_import_writes_the_range_down(folder: Path) -> None:
    assert imported(folder, "--intensity-range", 7000, 9000).intensity_range == IntensityRange(7000, 9000)
    assert imported(folder, "--intensity-range", "auto").intensity_range == FOUND
    write_kept_frames(folder / "kept.json", {"intensity_range": [6000, 9500]}, [], force=False)
    assert imported(folder, "--intensity-range", folder / "kept.json").intensity_range == (6000, 9500)


def test_an_import_without_a_range_warns(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert imported(folder).intensity_range is None
    assert (
        f"Warning: {TOPIC} of {folder / 'recordings' / 'drive'} uses only 9 of 256 grey levels (16-bit samples "
        "from 7001 to 8998 of 65535): pass --intensity-range 7001 8998, or auto, to prune, ingest and the imports.\n"
    ) in capfd.readouterr().err


def test_labels_of_16uc1_need_a_range(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder / "recordings", "hot", "mcap", [raw(n, RAMP, TOPIC, "16UC1") for n in range(FRAMES)])
    write_cvat(folder / "hot.xml", image_element("hot-000001.png", box_element("person", 10, 8, 34, 30)))
    given = [folder / "hot.xml", "--recordings", folder / "recordings", "--out", folder / "hot.json"]
    assert main(["import-cvat", *map(str, given)]) == 2
    assert f"{TOPIC} of {path} is depth: pass a colour --topic, or --intensity-range if" in capsys.readouterr().err
    assert main(["import-cvat", *map(str, given), "--intensity-range", "7000", "9000"]) == 0
    index = DatasetIndex.load(folder / "hot.json")
    reader = FrameReader(index.images, folder / "recordings", None, None, index.intensity_range)
    np.testing.assert_array_equal(reader.read(index.images[0]), shown(7000, 9000))


def test_the_other_imports_write_it_down_too(folder: Path) -> None:
    imported(folder)
    recordings, given = ["--recordings", str(folder / "recordings")], ["--intensity-range", "7000", "9000"]
    coco, yolo = folder / "coco.json", folder / "labels"
    assert main(["export-labels", str(folder / "index.json"), "--format", "coco", "--out", str(coco)]) == 0
    assert main(["import-coco", str(coco), *recordings, "--out", str(folder / "from-coco.json"), *given]) == 0
    yolo.mkdir()
    (yolo / "drive-000000.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (folder / "classes.yaml").write_text("names: [person]\n")
    names = ["--names", str(folder / "classes.yaml")]
    assert main(["import-yolo", str(yolo), *names, *recordings, "--out", str(folder / "from-yolo.json"), *given]) == 0
    for name in ("from-coco.json", "from-yolo.json"):
        assert DatasetIndex.load(folder / name).intensity_range == (7000, 9000)


def test_an_index_without_a_range_is_as_it_was_before_there_were_any(folder: Path) -> None:
    index = imported(folder)
    assert set(index.to_coco()["info"]) == {"description", "version", "documents"}
    assert DatasetIndex.from_coco(index.to_coco()) == index
    with_range = replace(index, intensity_range=IntensityRange(7000, 9000))
    assert with_range.to_coco()["info"]["intensity_range"] == [7000, 9000]
    assert DatasetIndex.from_coco(json.loads(json.dumps(with_range.to_coco()))) == with_range


def test_an_index_of_a_range_that_is_none_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(folder)
    content = json.loads((folder / "index.json").read_text())
    content["info"]["intensity_range"] = [9000, 7000]
    (folder / "index.json").write_text(json.dumps(content))
    assert main(["describe", str(folder / "index.json")]) == 1
    assert "is no dataset index (the intensity range 9000 to 7000 is none" in capsys.readouterr().err


def test_training_reads_frames_by_the_range_of_the_index(folder: Path) -> None:
    imported(folder, "--intensity-range", 7000, 9000, "--val-fraction", 0.34)
    data = PerceptionDataModule(str(folder / "index.json"), str(folder / "recordings"), size=(48, 64), workers=0)
    data.setup("fit")
    assert data.intensity_range == (7000, 9000)
    assert data.few_levels() == []
    (batch,) = data.val_dataloader()
    np.testing.assert_array_equal(batch.images[0].numpy().transpose(1, 2, 0), shown(7000, 9000))


def test_training_without_a_range_is_told(folder: Path) -> None:
    imported(folder)
    data = PerceptionDataModule(str(folder / "index.json"), str(folder / "recordings"), size=(48, 64), workers=0)
    assert data.few_levels() == [
        f"{TOPIC} of {folder / 'recordings' / 'drive'} uses only 9 of 256 grey levels (16-bit samples from 7001 "
        "to 8998 of 65535): import the labels with --intensity-range 7001 8998, or auto, and train on them."
    ]


@pytest.mark.parametrize("limits", [None, (7000, 9000)])
def test_extracted_images_of_sixteen_bits_are_scaled_alike(folder: Path, limits: tuple[int, int] | None) -> None:
    images = folder / "images"
    images.mkdir()
    cv2.imwrite(str(images / "drive-000000.png"), RAMP)
    index = imported(folder, "--images", images)
    frame = index.images[0]
    assert frame.file_name == "drive-000000.png"
    given = None if limits is None else IntensityRange(*limits)
    pixels = FrameReader([frame], folder / "recordings", images, intensity_range=given).read(frame)
    np.testing.assert_allclose(pixels.astype(int), shown(*(limits or (0, 65535))), atol=0 if limits else 1)


@pytest.mark.parametrize("verb", ["ingest", "prune"])
def test_images_extracted_by_another_range_are_refused(
    folder: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recording, images = str(folder / "recordings" / "drive"), str(folder / "images")
    out = ["--out", images] if verb == "ingest" else ["--export", images, "--out", str(folder / "kept.json")]
    assert main([verb, recording, *out, "--intensity-range", "7000", "9000"]) == 0
    assert imported(folder, "--images", images, "--intensity-range", 7000, 9000).intensity_range == (7000, 9000)
    given = [str(folder / "labels.xml"), "--recordings", str(folder / "recordings"), "--images", images, "--force"]
    for more, said in ([], "0 to 65535"), (["--intensity-range", "6000", "9000"], "6000 to 9000"):
        assert main(["import-cvat", *given, "--out", str(folder / "index.json"), *more]) == 2
        assert (
            f"shows the samples 7000 to 9000 of its 16-bit camera, but the index would say {said}: pass "
            "--intensity-range 7000 9000, or extract the images again by the same range."
        ) in capsys.readouterr().err
