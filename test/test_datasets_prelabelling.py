"""`mayhem prelabel` draws what the model sees as CVAT annotations that import again, the least certain frames first."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import onnx
import pytest
from evaluation_small_drive import CORRUPT, SEEN
from evaluation_small_drive import labels as small_labels
from evaluation_small_drive import write_drive as write_small_drive
from recordings_writing import COLOUR, START_NS, Written, image, imu, write
from robot_small_model import BOXES, card, save_model, with_nan_scores

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.model_card import METADATA_KEY
from mayhem_ros.prediction import Prediction
from mayhem_train.cli import main
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.shapes import AnnotatedImage, BoxShape, MaskShape, PolygonShape
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.datasets.prelabels.certainty import uncertainty
from mayhem_train.datasets.prelabels.chosen_frames import find_frames, read_frames
from mayhem_train.recordings.pruning.kept_frames import AuditRow, read_kept_frames, write_kept_frames
from mayhem_train.recordings.recording import Recording

WIDTH, HEIGHT = 64, 48
AGV, PERSON, BOX, FAINT = (tuple(float(v) for v in box) for box in BOXES)


def floor_with_a_hole() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:, 4:] = True
    mask[28:42, 20:50] = False
    return mask


def picture(seen: int, confidence: int, floor: np.ndarray | None = None) -> np.ndarray:
    """A frame on which the small model sees `seen` boxes, and the floor with that confidence out of 255."""
    floor = floor_with_a_hole() if floor is None else floor
    pixels = np.zeros((*floor.shape, 3), np.uint8)
    pixels[floor, 0] = 200
    pixels[..., 1] = confidence
    pixels[0, 0, 2] = seen
    return pixels


def write_pictures(folder: Path, stem: str, pictures: Sequence[np.ndarray], topic: str = COLOUR) -> None:
    folder.mkdir(exist_ok=True)
    messages: list[Written] = []
    for index, pixels in enumerate(pictures):
        time = START_NS + index * 100_000_000
        messages.append(image(topic, time, time, pixels, "rgb8"))
    write(folder, stem, "mcap", messages)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two drives. Doubt falls with the confidence, and 2 boxes are less certain than the first alone."""
    folder = tmp_path / "recordings"
    write_pictures(folder, "drive-a", [picture(1, 250), picture(2, 200), picture(0, 255), picture(3, 130)])
    write_pictures(folder, "drive-b", [picture(4, 240), picture(1, 250)])
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tmp_path / "model.onnx")


def keep(path: Path, recordings: Path, *names: str) -> Path:
    """kept.json as `mayhem prune` writes it: a row for every frame of the recordings, these of them kept."""
    rows = []
    for recording in sorted(recordings.iterdir()):
        with Recording(recording) as opened:
            for frame in opened.frames(COLOUR):
                place = frame.name, frame.recording, frame.topic, frame.index, frame.log_time_ns, frame.stamp_ns
                rows.append(AuditRow(*place, None, None, frame.name in names, None))
    write_kept_frames(path, {}, rows, force=True)
    return path


def run(tmp_path: Path, recordings: Path, *more: str, task: str = "multitask") -> int:
    """Every frame unless `more` says which, out.xml unless it is there already."""
    model = tmp_path / "model.onnx"
    if not model.exists():
        save_model(model, task)
    frames = [] if {"--frames", "--every"} & set(more) else ["--every", "1"]
    arguments = ["--model", str(model), "--recordings", str(recordings), "--out", str(tmp_path / "out.xml")]
    return main(["prelabel", *arguments, *frames, *more])


def drawn(tmp_path: Path) -> dict[str, AnnotatedImage]:
    """The images of out.xml by name, in its order."""
    return {image.name: image for image in read_cvat(tmp_path / "out.xml").images}


def imported(tmp_path: Path, recordings: Path, *more: str) -> DatasetIndex:
    arguments = [str(tmp_path / "out.xml"), "--recordings", str(recordings), "--out", str(tmp_path / "index.json")]
    assert main(["import-cvat", *arguments, "--empty-means-empty", *more]) == 0
    return DatasetIndex.load(tmp_path / "index.json")


def boxes_of(index: DatasetIndex) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    names = {category.id: category.name for category in index.categories}
    return {frame.name: [(names[label.category_id], label.box) for label in frame.boxes] for frame in index.images}


# What is drawn


def test_boxes_come_back_exactly_through_import_cvat(tmp_path: Path, recordings: Path) -> None:
    assert run(tmp_path, recordings) == 0
    expected = [("agv", AGV), ("person", PERSON)]  # the box scores 0.5 below its 0.625, the second person below 0.5
    assert boxes_of(imported(tmp_path, recordings)) == {
        "drive-a-000000.png": expected[:1],
        "drive-a-000001.png": expected,
        "drive-a-000002.png": [],
        "drive-a-000003.png": expected,
        "drive-b-000000.png": expected,
        "drive-b-000001.png": expected[:1],
    }


def test_boxes_bear_their_score_which_the_file_declares_for_things_only(tmp_path: Path, recordings: Path) -> None:
    assert run(tmp_path, recordings) == 0
    boxes = [shape for shape in drawn(tmp_path)["drive-a-000001.png"].shapes if isinstance(shape, BoxShape)]
    assert [(shape.attributes, shape.source) for shape in boxes] == [
        ((("score", "0.875"),), "auto"),
        ((("score", "0.750"),), "auto"),
    ]
    declared = ElementTree.parse(tmp_path / "out.xml").findall("meta/task/labels/label")
    assert [(label.findtext("name"), [a.text for a in label.iterfind(".//attribute/name")]) for label in declared] == [
        ("person", ["score"]),
        ("agv", ["score"]),
        ("box", ["score"]),
        ("floor", []),
        ("background", []),
    ]


def test_polygons_with_holes_import_to_nearly_the_same_mask(tmp_path: Path) -> None:
    floor = np.zeros((480, 640), bool)
    floor[200:] = np.tri(280, 640, 300, dtype=bool)
    hole = np.zeros((480, 640), np.uint8)
    cv2.ellipse(hole, (200, 380), (90, 50), 20, 0, 360, 1, -1)
    floor &= hole == 0
    floor[450:454, 600:604] = False  # too small a hole for anybody to draw
    write_pictures(tmp_path / "recordings", "drive-a", [picture(1, 250, floor)])
    assert run(tmp_path, tmp_path / "recordings") == 0
    shapes = [shape for shape in drawn(tmp_path)["drive-a-000000.png"].shapes if isinstance(shape, PolygonShape)]
    assert [(shape.label, shape.z_order) for shape in shapes] == [("floor", 0), ("background", 1)]
    assert sum(len(shape.points) for shape in shapes) < 60
    index = imported(tmp_path, tmp_path / "recordings")
    mask = index.mask(index.images[0]).astype(bool)
    assert (mask & floor).sum() / (mask | floor).sum() >= 0.98


def test_polygons_without_tolerance_import_to_exactly_the_mask(tmp_path: Path, recordings: Path) -> None:
    assert run(tmp_path, recordings, "--tolerance", "0") == 0
    index = imported(tmp_path, recordings)
    for frame in index.images:
        np.testing.assert_array_equal(index.mask(frame), floor_with_a_hole())


def test_the_tolerance_is_one_pixel_where_none_is_said(tmp_path: Path) -> None:
    write_pictures(tmp_path / "recordings", "drive-a", [picture(1, 250, np.tri(48, 64, 10, dtype=bool))])
    written = {}
    for options in ((), ("--tolerance", "1"), ("--tolerance", "0")):
        assert run(tmp_path, tmp_path / "recordings", *options, "--force") == 0
        written[options] = (tmp_path / "out.xml").read_bytes()
    assert written[()] == written["--tolerance", "1"] != written["--tolerance", "0"]


def test_the_least_area_is_a_choice(tmp_path: Path) -> None:
    floor = floor_with_a_hole()
    floor[2:8, 10:20] = True
    write_pictures(tmp_path / "recordings", "drive-a", [picture(0, 250, floor)])
    labels = {}
    for area in ("60", "61"):
        assert run(tmp_path, tmp_path / "recordings", "--least-area", area, "--force") == 0
        labels[area] = [shape.label for shape in drawn(tmp_path)["drive-a-000000.png"].shapes]
    assert labels == {"60": ["floor", "floor", "background"], "61": ["floor", "background"]}


def test_masks_import_to_exactly_the_mask(tmp_path: Path, recordings: Path) -> None:
    assert run(tmp_path, recordings, "--surfaces", "mask") == 0
    (shape,) = drawn(tmp_path)["drive-a-000002.png"].shapes
    assert isinstance(shape, MaskShape)
    assert shape.window == (4, 20, 60, 28)
    index = imported(tmp_path, recordings)
    for frame in index.images:
        np.testing.assert_array_equal(index.mask(frame), floor_with_a_hole())


def test_surfaces_may_be_left_out(tmp_path: Path, recordings: Path) -> None:
    assert run(tmp_path, recordings, "--surfaces", "none") == 0
    assert read_cvat(tmp_path / "out.xml").labels == ("person", "agv", "box")
    assert all(isinstance(shape, BoxShape) for frame in drawn(tmp_path).values() for shape in frame.shapes)


def test_boxes_lie_over_the_surfaces_so_that_people_can_click_them(tmp_path: Path, recordings: Path) -> None:
    assert run(tmp_path, recordings) == 0
    shapes = drawn(tmp_path)["drive-a-000001.png"].shapes
    assert [(shape.label, shape.z_order) for shape in shapes if isinstance(shape, BoxShape | PolygonShape)] == [
        ("floor", 0),
        ("background", 1),
        ("agv", 2),
        ("person", 2),
    ]


def test_a_score_threshold_replaces_the_model_cards(tmp_path: Path, recordings: Path) -> None:
    assert run(tmp_path, recordings, "--score-threshold", "0.1") == 0
    boxes = [shape.box for shape in drawn(tmp_path)["drive-b-000000.png"].shapes if isinstance(shape, BoxShape)]
    assert boxes == [AGV, PERSON, BOX, FAINT]
    assert run(tmp_path, recordings, "--score-threshold", "0.8", "--force") == 0
    boxes = [shape.box for shape in drawn(tmp_path)["drive-b-000000.png"].shapes if isinstance(shape, BoxShape)]
    assert boxes == [AGV]


def test_boxes_are_clipped_to_the_image_and_empty_ones_left_out(tmp_path: Path) -> None:
    def move(model: onnx.ModelProto) -> None:
        boxes = np.array([[-5, -2, 11, 99], [70, 0, 80, 9], [4, 4, 4, 8], [5, 6, 7, 9]], np.float32)
        constant = next(c for c in model.graph.initializer if c.name == "boxes_value")
        constant.raw_data = boxes[None].tobytes()

    save_model(tmp_path / "model.onnx", change=move)
    write_pictures(tmp_path / "recordings", "drive-a", [picture(4, 250)])
    assert run(tmp_path, tmp_path / "recordings", "--score-threshold", "0") == 0
    shapes = drawn(tmp_path)["drive-a-000000.png"].shapes
    assert [shape.box for shape in shapes if isinstance(shape, BoxShape)] == [(0, 0, 11, 48), (5, 6, 7, 9)]


def test_a_model_of_one_task_draws_that(tmp_path: Path, recordings: Path) -> None:
    assert run(tmp_path, recordings, task="detection") == 0
    assert read_cvat(tmp_path / "out.xml").labels == ("person", "agv", "box")
    assert {type(s) for frame in drawn(tmp_path).values() for s in frame.shapes} == {BoxShape}
    (tmp_path / "model.onnx").unlink()
    assert run(tmp_path, recordings, "--force", task="segmentation") == 0
    assert read_cvat(tmp_path / "out.xml").labels == ("floor", "background")
    assert {type(s) for frame in drawn(tmp_path).values() for s in frame.shapes} == {PolygonShape}


def test_the_file_imports_with_a_class_file(tmp_path: Path, recordings: Path) -> None:
    assert run(tmp_path, recordings) == 0
    classes = tmp_path / "classes.yaml"
    classes.write_text(
        "things: [vehicle]\nsurfaces: [drivable]\nrename: {agv: vehicle, floor: drivable}\nignore: [person]\n"
    )
    index = imported(tmp_path, recordings, "--classes", str(classes))
    assert [category.name for category in index.categories] == ["vehicle", "drivable"]
    assert boxes_of(index)["drive-a-000003.png"] == [("vehicle", AGV)]


# Which frames, and in what order


def test_the_least_certain_frames_come_first(tmp_path: Path, recordings: Path) -> None:
    assert run(tmp_path, recordings) == 0
    # Ambiguities: agv (1−0.875)/(1−0.25) = 1/6, person (1−0.75)/(1−0.5) = 1/2, box 0.5/0.625 = 0.8, and the faint
    # person counts for nothing. The mask adds 2·(1 − c/255).
    doubts = {
        "drive-a-000003.png": (1 / 6 + 1 / 2 + 0.8) / 3 + 2 * (1 - 130 / 255),
        "drive-a-000001.png": (1 / 6 + 1 / 2) / 2 + 2 * (1 - 200 / 255),
        "drive-b-000000.png": (1 / 6 + 1 / 2 + 0.8) / 3 + 2 * (1 - 240 / 255),
        "drive-a-000000.png": 1 / 6 + 2 * (1 - 250 / 255),
        "drive-b-000001.png": 1 / 6 + 2 * (1 - 250 / 255),  # a tie: by name
        "drive-a-000002.png": 0.0,
    }
    assert list(doubts.values()) == sorted(doubts.values(), reverse=True)
    assert list(drawn(tmp_path)) == list(doubts)


def test_count_takes_the_least_certain_only(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, recordings, "--count", "2") == 0
    assert list(drawn(tmp_path)) == ["drive-a-000003.png", "drive-a-000001.png"]
    said = capsys.readouterr().out
    assert "2 of 6 frames with 4 boxes" in said
    assert f"from {(1 / 6 + 1 / 2 + 0.8) / 3 + 2 * (1 - 130 / 255):.3f} down to" in said
    assert run(tmp_path, recordings, "--count", "99", "--force") == 0
    assert len(drawn(tmp_path)) == 6


def test_only_the_kept_frames_are_taken(tmp_path: Path, recordings: Path) -> None:
    kept = keep(tmp_path / "kept.json", recordings, "drive-a-000002.png", "drive-b-000001.png")
    assert run(tmp_path, recordings, "--frames", str(kept)) == 0
    assert list(drawn(tmp_path)) == ["drive-b-000001.png", "drive-a-000002.png"]


def test_kept_frames_are_read_with_the_definitions_of_the_distribution(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = keep(tmp_path / "kept.json", recordings, "drive-a-000002.png")
    assert run(tmp_path, recordings, "--frames", str(kept), "--distro", "humble") == 0
    assert list(drawn(tmp_path)) == ["drive-a-000002.png"]
    capsys.readouterr()
    assert run(tmp_path, recordings, "--frames", str(kept), "--force", "--distro", "atlantis") == 2
    assert "atlantis" in capsys.readouterr().err
    (place,) = find_frames(read_kept_frames(kept), recordings)
    with pytest.raises(UsageError, match="atlantis"):
        find_frames(read_kept_frames(kept), recordings, distro="atlantis")
    with pytest.raises(UsageError, match="atlantis"):
        list(read_frames([place], recordings, distro="atlantis"))


def test_a_kept_frame_without_a_stamp_is_one_like_the_others(tmp_path: Path, recordings: Path) -> None:
    kept = keep(tmp_path / "kept.json", recordings, "drive-a-000002.png", "drive-b-000001.png")
    document = json.loads(kept.read_text())
    for row in document["frames"]:
        row["stamp_ns"] = None
    kept.write_text(json.dumps(document))
    assert run(tmp_path, recordings, "--frames", str(kept)) == 0
    assert list(drawn(tmp_path)) == ["drive-b-000001.png", "drive-a-000002.png"]


def test_every_nth_frame_of_all_recordings(tmp_path: Path, recordings: Path) -> None:
    assert run(tmp_path, recordings, "--every", "3") == 0
    assert sorted(drawn(tmp_path)) == ["drive-a-000000.png", "drive-a-000003.png", "drive-b-000000.png"]


def test_recordings_without_images_are_passed_over(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(recordings, "only-imu", "mcap", [imu(START_NS)])
    assert run(tmp_path, recordings) == 0
    assert len(drawn(tmp_path)) == 6
    assert "only-imu has no images" in " ".join(capsys.readouterr().err.split())


def test_frames_that_an_index_labels_are_left_out_and_counted(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, recordings, "--count", "4") == 0
    imported(tmp_path, recordings)
    assert run(tmp_path, recordings, "--exclude", str(tmp_path / "index.json"), "--force") == 0
    assert list(drawn(tmp_path)) == ["drive-b-000001.png", "drive-a-000002.png"]
    assert "4 frames labelled in" in capsys.readouterr().out


def test_a_frame_that_cannot_be_decoded_is_left_out_named_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_small_drive(tmp_path / "recordings" / "drive-a")
    assert run(tmp_path, tmp_path / "recordings") == 0
    whole = [index for index in range(len(SEEN)) if index != CORRUPT]
    assert sorted(drawn(tmp_path)) == [f"drive-a-{index:06d}.png" for index in whole]
    captured = capsys.readouterr()
    assert "1 frame that cannot be decoded left out" in captured.out
    assert f"Message {CORRUPT} on" in captured.err


def test_frames_of_several_sizes_are_predicted_in_batches_all_the_same(tmp_path: Path) -> None:
    small = np.ones((24, 32), bool)
    pictures = [picture(1, 250), picture(2, 250), picture(1, 250, small), picture(2, 250, small), picture(1, 250)]
    write_pictures(tmp_path / "recordings", "drive-a", pictures)
    contents = set()
    for batch in ("1", "2", "3", "8"):
        assert run(tmp_path, tmp_path / "recordings", "--batch", batch, "--force") == 0
        contents.add((tmp_path / "out.xml").read_bytes())
    assert len(contents) == 1
    sizes = {name: (frame.width, frame.height) for name, frame in drawn(tmp_path).items()}
    assert sizes["drive-a-000001.png"] == (64, 48)
    assert sizes["drive-a-000003.png"] == (32, 24)


# The images


def test_the_images_are_written_beside_it_with_a_manifest_in_its_order(tmp_path: Path, recordings: Path) -> None:
    assert run(tmp_path, recordings, "--images", str(tmp_path / "images"), "--count", "3") == 0
    names = ["drive-a-000003.png", "drive-a-000001.png", "drive-b-000000.png"]
    assert list(drawn(tmp_path)) == names
    assert {path.name for path in (tmp_path / "images").iterdir()} == {*names, "manifest.jsonl", ".mayhem-images"}
    for name, pixels in zip(names, (picture(3, 130), picture(2, 200), picture(4, 240)), strict=True):
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "images" / name))[..., ::-1], pixels)
    lines = [json.loads(line) for line in (tmp_path / "images" / "manifest.jsonl").read_text().splitlines()]
    assert lines[:2] == [{"version": "1.1"}, {"type": "images"}]
    assert lines[2:] == [
        {"name": name.removesuffix(".png"), "extension": ".png", "width": 64, "height": 48} for name in names
    ]


def test_nothing_is_left_of_a_failure(
    tmp_path: Path, recordings: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    before = sorted(tmp_path.iterdir())
    out = "--out", str(tmp_path / "file" / "out.xml")
    assert run(tmp_path, recordings, *out, "--images", str(tmp_path / "images")) == 1
    assert "Cannot write" in refusal(capsys)
    assert sorted(tmp_path.iterdir()) == before


# Doubt


def doubt(
    scores: Sequence[float], thresholds: Sequence[float], confidence: Sequence[float] = (), values: int = 0
) -> float:
    """Each box is of a class of its own; confidence out of 255 of a mask's pixels."""
    prediction = Prediction(
        np.zeros((len(scores), 4), np.float32),
        np.array(scores, np.float32),
        np.arange(1, len(scores) + 1),
        mask_confidence=np.array([confidence], np.uint8) if confidence else None,
    )
    return uncertainty(prediction, dict(enumerate(thresholds, start=1)), values)


def test_a_box_is_least_certain_at_its_threshold() -> None:
    assert doubt([0.5], [0.5]) == 1
    assert doubt([0.25], [0.25]) == 1
    assert doubt([1.0], [0.25]) == 0
    assert doubt([0.625], [0.25]) == pytest.approx(0.5)
    assert doubt([0.1875], [0.25]) == pytest.approx(0.75)
    for score in (0.25, 0.4, 0.75, 0.9):  # the margin between yes and no
        assert doubt([score], [0.5]) == pytest.approx(1 - abs(2 * score - 1))


def test_boxes_average_and_those_below_half_their_threshold_do_not_count() -> None:
    assert doubt([0.5, 1.0], [0.5, 0.5]) == pytest.approx(0.5)
    assert doubt([0.5, 1.0, *[0.24] * 98], [0.5] * 100) == pytest.approx(0.5)
    assert doubt([0.24], [0.5]) == 0
    assert doubt([], []) == 0


def test_thresholds_of_zero_and_one_are_thresholds_too() -> None:
    assert doubt([0.0], [0.0]) == 1
    assert doubt([0.25], [0.0]) == pytest.approx(0.75)
    assert doubt([1.0], [1.0]) == 1
    assert doubt([0.75], [1.0]) == pytest.approx(0.75)


def test_the_mask_counts_by_its_least_confidence_whatever_the_number_of_classes() -> None:
    assert doubt([], [], [255, 255], 2) == 0
    assert doubt([], [], [255, 51], 2) == pytest.approx(0.8)
    assert doubt([], [], [85, 85], 3) == pytest.approx(1)
    assert doubt([0.5], [0.5], [51], 5) == pytest.approx(2)
    assert uncertainty(Prediction(), {}, 0) == 0


# What cannot be


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on stderr."""
    said = capsys.readouterr().err.strip()
    assert said.startswith("mayhem prelabel: ")
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--count", "0"], "The count of frames is 0"),
        (["--batch", "0"], "The batch is of 0 frames"),
        (["--every", "0"], "choose 1 for all frames"),
        (["--score-threshold", "1.5"], "The score threshold is 1.5"),
        (["--score-threshold", "nan"], "The score threshold is nan"),
        (["--tolerance", "-1"], "The tolerance is -1"),
        (["--tolerance", "inf"], "The tolerance is inf"),
        (["--least-area", "0"], "The least area is 0"),
        (["--provider", "abacus"], "'abacus'"),
        (["--topic", "/nowhere"], "/nowhere"),
        (["--distro", "atlantis"], "atlantis"),
        (["--frames", "kept.json", "--topic", COLOUR], "--topic goes with --every"),
    ],
)
def test_arguments_out_of_range_are_wrong_usage(
    tmp_path: Path, recordings: Path, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, recordings, *arguments) == 2
    assert expected in refusal(capsys)
    assert not (tmp_path / "out.xml").exists()


def test_a_provider_that_is_not_there_is_an_error_and_never_another_one(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, recordings, "--provider", "openvino") == 1
    assert "openvino cannot be had" in refusal(capsys)


def test_surfaces_only_and_no_surfaces_is_nothing(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, recordings, "--surfaces", "none", task="segmentation") == 2
    assert "finds surfaces only" in refusal(capsys)


def test_a_model_that_is_missing_or_none_is_named(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, recordings, "--model", str(tmp_path / "nowhere.onnx")) == 1
    assert "nowhere.onnx" in refusal(capsys)
    (tmp_path / "text.onnx").write_text("no model")
    assert run(tmp_path, recordings, "--model", str(tmp_path / "text.onnx")) == 1
    assert "text.onnx" in refusal(capsys)


def test_a_class_that_the_card_does_not_know_is_named(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def forget(model: onnx.ModelProto) -> None:
        shorter = {
            **json.loads(card().to_json()),
            "detection_classes": json.loads(card().to_json())["detection_classes"][:1],
        }
        onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(shorter)})

    save_model(tmp_path / "model.onnx", change=forget)
    assert run(tmp_path, recordings) == 1
    assert "detection class 2" in refusal(capsys)


def test_a_frame_on_which_the_model_gives_nonsense_is_named(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "model.onnx", change=with_nan_scores)
    assert run(tmp_path, recordings) == 1
    said = refusal(capsys)
    assert re.search(r"[\w-]+-\d{6}\.png could not be prelabelled: .*model\.onnx gave the score nan", said), said


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"images": []}', '{"kept": ["a-000001.png"], "frames": []}'])
def test_what_is_no_kept_json_is_named(
    tmp_path: Path, recordings: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kept.json"
    if content is not None:
        path.write_text(content)
    assert run(tmp_path, recordings, "--frames", str(path)) == 1
    assert str(path) in refusal(capsys)


def test_no_kept_frame_at_all_is_said(tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, recordings, "--frames", str(keep(tmp_path / "kept.json", recordings))) == 1
    assert "No frame is chosen" in refusal(capsys)
    assert not (tmp_path / "out.xml").exists()


def test_kept_frames_of_missing_shorter_and_other_recordings_are_named(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = keep(tmp_path / "kept.json", recordings, "drive-b-000001.png")
    shorter, later, without = (tmp_path / name for name in ("shorter", "later", "without"))
    write_pictures(shorter, "drive-b", [picture(1, 250)])
    times = [START_NS + 5, START_NS + 6]
    later.mkdir()
    write(later, "drive-b", "mcap", [image(COLOUR, time, time, picture(1, 250), "rgb8") for time in times])
    write_pictures(without, "drive-c", [picture(1, 250)])
    for folder, expected in ((shorter, "no message 1"), (later, "another log time"), (without, "'drive-b'")):
        assert run(tmp_path, folder, "--frames", str(kept)) == 1
        assert expected in refusal(capsys)


def test_nothing_to_label_is_said(tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, recordings) == 0
    imported(tmp_path, recordings)
    capsys.readouterr()
    assert run(tmp_path, recordings, "--exclude", str(tmp_path / "index.json"), "--force") == 1
    assert "labels every chosen frame already" in refusal(capsys)
    assert run(tmp_path, recordings, "--exclude", str(tmp_path / "out.xml"), "--force") == 2
    assert "would replace" in refusal(capsys)
    (tmp_path / "not-an-index.json").write_text("{}")
    assert run(tmp_path, recordings, "--exclude", str(tmp_path / "not-an-index.json"), "--force") == 1
    assert "not-an-index.json" in refusal(capsys)


def test_folders_without_recordings_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, tmp_path / "nowhere") == 1
    assert "nowhere" in refusal(capsys)
    (tmp_path / "empty").mkdir()
    assert run(tmp_path, tmp_path / "empty") == 1
    assert "holds no recording with images" in refusal(capsys)


def test_frames_that_are_all_undecodable_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_small_drive(tmp_path / "recordings" / "drive-a", only=CORRUPT)
    assert run(tmp_path, tmp_path / "recordings") == 1
    assert "None of the 1 chosen frames can be decoded" in capsys.readouterr().err


def test_two_cameras_are_not_mixed_under_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mayhem_ros.onnx_model import OnnxModel
    from mayhem_train.datasets.prelabels.chosen_frames import Place
    from mayhem_train.datasets.prelabels.predicted_shapes import Draughtsman
    from mayhem_train.datasets.prelabels.prelabelling import prelabel

    draughtsman = Draughtsman(OnnxModel(save_model(tmp_path / "model.onnx")))
    with pytest.raises(MayhemError, match="from /left and from /right"):
        prelabel(draughtsman, [Place("a", "/left", 1), Place("a", "/right", 1)], tmp_path)


def test_frames_or_every_one_of_them_and_only_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needed = ["--model", "m.onnx", "--recordings", str(tmp_path), "--out", "o.xml"]
    for more in ([], ["--frames", "kept.json", "--every", "2"]):
        with pytest.raises(SystemExit) as caught:
            main(["prelabel", *needed, *more])
        assert caught.value.code == 2


def test_nothing_is_overwritten_without_force(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.xml").write_text("mine")
    assert run(tmp_path, recordings) == 2
    assert (tmp_path / "out.xml").read_text() == "mine"
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "holiday.jpg").write_text("mine")
    elsewhere = "--out", str(tmp_path / "other.xml")
    assert run(tmp_path, recordings, *elsewhere, "--images", str(tmp_path / "images")) == 2
    assert (tmp_path / "images" / "holiday.jpg").read_text() == "mine"
    assert not (tmp_path / "other.xml").exists()
    assert run(tmp_path, recordings, "--images", str(tmp_path / "images"), "--force") == 2
    assert (tmp_path / "images" / "holiday.jpg").read_text() == "mine"
    (tmp_path / "images" / "holiday.jpg").unlink()
    for _ in range(2):
        assert run(tmp_path, recordings, "--images", str(tmp_path / "images"), "--force") == 0
    assert len(list((tmp_path / "images").glob("*.png"))) == 6


def test_force_replaces_no_input_and_neither_output_the_other(
    tmp_path: Path, recordings: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = keep(tmp_path / "kept.json", recordings, "drive-a-000002.png")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    frames = "--frames", str(kept), "--force"
    for out in (model, kept, recordings):
        assert run(tmp_path, recordings, *frames, "--out", str(out)) == 2
        assert "would replace" in refusal(capsys)
    for images in (tmp_path, recordings, tmp_path / "out.xml"):
        assert run(tmp_path, recordings, *frames, "--images", str(images)) == 2
        assert "would replace" in refusal(capsys)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_help_loads_neither_the_runtime_nor_torch() -> None:
    code = (
        "import sys\nfrom mayhem_train.cli import main\n"
        "try: main(['prelabel', '--help'])\nexcept SystemExit: pass\n"
        "print('LOADED', {'torch', 'onnxruntime', 'rosbags', 'cv2'} & set(sys.modules))"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=Path(__file__).parents[1])
    assert "LOADED set()" in said
    assert "example:" in said


def test_prelabelling_the_labelled_drive_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The frames of an index are left out by recording and number, whatever the index says besides."""
    write_small_drive(tmp_path / "recordings" / "drive-a")
    small_labels("drive-a").save(tmp_path / "labels.json")
    assert run(tmp_path, tmp_path / "recordings", "--exclude", str(tmp_path / "labels.json")) == 0
    assert list(drawn(tmp_path)) == ["drive-a-000005.png"]
