"""A model sees 16-bit cameras by the range of its own card: in its export, its test, its prelabels and its replay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from datasets_drives import image_element, polygon_element, write_cvat
from recordings_pruning_drives import raw
from recordings_writing import write
from robot_small_model import card, small_model

from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.cli import main
from mayhem_train.evaluation.replay.drive import Drive
from mayhem_train.export.calibration import RecordedFrames
from mayhem_train.export.onnx_file import model_card
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.recordings.recording import Recording
from mayhem_train.training.trained_network import TrainedNetwork

TOPIC, HEIGHT, WIDTH = "/thermal/image_raw", 48, 64
RANGE = IntensityRange(7000, 9000)
RAMP = np.linspace(7000, 9000, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
SHOWN = np.dstack([np.rint((RAMP - 7000.0) * 255 / 2000).astype(np.uint8)] * 3)
FLOOR = polygon_element("floor", "0,24;64,24;64,48;0,48")  # where the small model sees it: above level 127


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    (tmp_path / "recordings").mkdir()
    return write(tmp_path / "recordings", "drive", "mcap", [raw(n, RAMP, TOPIC, "mono16") for n in range(2)])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Says floor where red is above 127."""
    return save(tmp_path / "model.onnx", RANGE)


def save(path: Path, intensity_range: IntensityRange | None) -> Path:
    of_floor = card("segmentation")
    ranged = replace(of_floor, input=replace(of_floor.input, intensity_range=intensity_range))
    onnx.save(small_model("segmentation", card_json=ranged.to_json()), path)
    return path


def test_the_range_goes_from_the_checkpoint_to_the_card() -> None:
    specification = NetworkSpecification("lraspp-mtl", "mobilenet_v2", 64, 96, ("person",), ("floor",))
    trained = TrainedNetwork(specification, {}, {}, "equal", 0, "ab" * 32, "c0ffee", RANGE)
    fields = json.loads(json.dumps(trained.to_dict()))
    assert fields["intensity_range"] == [7000, 9000]
    assert TrainedNetwork.from_dict(fields) == trained
    assert model_card(trained, ("detection", "segmentation")).input.intensity_range == RANGE
    del fields["intensity_range"]  # a checkpoint of before
    assert TrainedNetwork.from_dict(fields) == replace(trained, intensity_range=None)
    assert model_card(TrainedNetwork.from_dict(fields), ("detection",)).input.intensity_range is None


def test_exports_are_compared_and_calibrated_on_what_the_network_sees(recording: Path) -> None:
    for frame in RecordedFrames([recording], 2, intensity_range=RANGE):
        np.testing.assert_array_equal(frame, SHOWN)


def test_a_replay_shows_what_the_node_sees(recording: Path) -> None:
    np.testing.assert_array_equal(Drive(Recording(recording), None, None, None, RANGE).image(1), SHOWN)


def test_prelabels_and_their_pictures_are_of_what_the_model_sees(recording: Path, model: Path, tmp_path: Path) -> None:
    out, images = tmp_path / "out.xml", tmp_path / "images"
    given = ["--every", "1", "--recordings", str(recording.parent), "--surfaces", "mask", "--images", str(images)]
    assert main(["prelabel", "--model", str(model), *given, "--out", str(out)]) == 0
    np.testing.assert_array_equal(cv2.imread(str(images / "drive-000001.png")), SHOWN)
    assert f'rle="0, {24 * WIDTH}" left="0" top="24" width="{WIDTH}" height="24"' in out.read_text()


@pytest.mark.parametrize(("intensity_range", "iou"), [(RANGE, 1.0), (None, 0.0)])
def test_a_model_is_tested_by_its_own_range_whatever_the_index_says(
    recording: Path,
    tmp_path: Path,
    intensity_range: IntensityRange | None,
    iou: float,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write_cvat(tmp_path / "labels.xml", *(image_element(f"drive-{n:06d}.png", FLOOR) for n in range(2)))
    index, recordings = str(tmp_path / "index.json"), ["--recordings", str(recording.parent)]
    given = ["--intensity-range", "0", "20000"]
    assert main(["import-cvat", str(tmp_path / "labels.xml"), *recordings, "--out", index, *given]) == 0
    model = save(tmp_path / "model.onnx", intensity_range)
    assert main(["test", str(model), "--index", index, *recordings, "--out", str(tmp_path / "tested")]) == 0
    metrics = json.loads((tmp_path / "tested" / "metrics.json").read_text())
    assert metrics["segmentation"]["classes"]["floor"]["iou"] == iou
    warned = "uses only 9 of 256 grey levels" in capfd.readouterr().err
    assert warned == (intensity_range is None)
