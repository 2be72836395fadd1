"""`mayhem import-yolo` reads boxes and polygons in shares of the image, and names file and line of what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets_drives import HEIGHT, WIDTH, write_drive
from evaluation_small_drive import CORRUPT
from evaluation_small_drive import write_drive as write_small_drive
from recordings_writing import image as image_message
from recordings_writing import write as write_recording

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.cli import main
from mayhem_train.datasets.annotations.classes import ClassMap
from mayhem_train.datasets.annotations.counts import ImportCounts
from mayhem_train.datasets.annotations.importing import import_annotations
from mayhem_train.datasets.annotations.recorded_frames import RecordedFrames
from mayhem_train.datasets.annotations.shapes import AnnotationFile, BoxShape, PolygonShape
from mayhem_train.datasets.annotations.yolo import read_yolo
from mayhem_train.datasets.annotations.yolo_description import YoloDescription, read_description
from mayhem_train.datasets.index import Category, DatasetIndex

NAMES = {0: "car", 1: "person", 2: "road"}
DESCRIPTION = YoloDescription(NAMES)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    write_drive(folder, "drive-a", 5)
    write_drive(folder, "drive-b", 2, width=32, height=16)
    return folder


def read(tmp_path: Path, recordings: Path, **files: str) -> AnnotationFile:
    """Files by frame, such as a_000003."""
    for frame, text in files.items():
        (tmp_path / f"drive-{frame.replace('_', '-')}.txt").write_text(text)
    return read_yolo(tmp_path, DESCRIPTION, RecordedFrames(recordings))


def test_a_box_is_centre_and_size_in_shares_of_the_recordings_images(tmp_path: Path, recordings: Path) -> None:
    file = read(tmp_path, recordings, a_000003="0 0.5 0.25 0.25 0.5\n\n1 0.75 0.5 0.5 0.5\n", b_000001="1 .5 .5 1 1")
    first, second = file.images
    assert (first.name, first.width, first.height) == ("drive-a-000003.png", WIDTH, HEIGHT)
    assert first.shapes == (BoxShape("car", (24, 0, 40, 24)), BoxShape("person", (32, 12, 64, 36)))
    assert (second.name, second.width, second.height) == ("drive-b-000001.png", 32, 16)
    assert second.shapes == (BoxShape("person", (0, 0, 32, 16)),)
    assert file.labels == ("car", "person", "road")


def test_a_longer_line_is_a_polygon(tmp_path: Path, recordings: Path) -> None:
    (image,) = read(tmp_path, recordings, a_000003="2 0 0.5 1 0.5 1 1 0 1\n1 0.5 0.5 0.1 0.1").images
    shape, _ = image.shapes
    assert isinstance(shape, PolygonShape)
    assert shape.label == "road"
    np.testing.assert_array_equal(shape.points, [(0, 24), (64, 24), (64, 48), (0, 48)])


def test_boxes_are_things_and_polygons_surfaces(tmp_path: Path, recordings: Path) -> None:
    file = read(tmp_path, recordings, a_000003="2 0 0.5 1 0.5 1 1 0 1\n1 0.5 0.5 0.25 0.25\n")
    index = import_annotations([file], recordings).index
    assert index.categories == (Category(1, "person", True), Category(2, "road", False))
    assert index.images[0].boxes[0].box == (24, 18, 40, 30)
    assert index.mask(index.images[0]).sum() == 24 * 64


def test_an_edge_that_only_rounding_moved_is_the_images_edge(tmp_path: Path, recordings: Path) -> None:
    file = read(tmp_path, recordings, a_000003="0 0.166667 0.5 0.333335 1.000001\n")
    assert file.images[0].shapes[0].box[:2] == (0, 0)  # type: ignore[union-attr]
    assert import_annotations([file], recordings).counts == ImportCounts()


def test_a_box_that_reaches_beyond_the_image_is_clipped_and_counted(tmp_path: Path, recordings: Path) -> None:
    result = import_annotations([read(tmp_path, recordings, a_000003="0 0.1 0.5 0.4 0.5\n")], recordings)
    assert result.counts == ImportCounts(clipped=1)
    assert result.index.images[0].boxes[0].box[0] == 0


def test_an_empty_file_is_an_empty_image_and_no_file_an_unlabelled_one(tmp_path: Path, recordings: Path) -> None:
    read(tmp_path, recordings, a_000000="0 0.5 0.5 0.1 0.1\n", a_000002=" \n")
    (tmp_path / "data.yaml").write_text("names: [car, person, road]")
    out = tmp_path / "index.json"
    arguments = [str(tmp_path), "--names", str(tmp_path / "data.yaml"), "--recordings", str(recordings)]
    assert main(["import-yolo", *arguments, "--out", str(out)]) == 0
    assert [(image.index, len(image.boxes)) for image in DatasetIndex.load(out).images] == [(0, 1), (2, 0)]


def test_folders_below_and_what_lies_beside_the_labels(tmp_path: Path, recordings: Path) -> None:
    for name in ("classes.txt", "train.txt", "val.txt", "README.txt", "README.dataset.txt"):
        (tmp_path / name).write_text("anything at all")
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "drive-a-000004.txt").write_text("0 .5 .5 .5 .5")
    assert [image.name for image in read(tmp_path, recordings).images] == ["drive-a-000004.png"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", "path: ../datasets\ntrain: images\nnc: 3\nnames: [car, person, road]\n"),
        ("data.yml", "names:\n  0: car\n  2: road\n  1: person\n"),
        ("classes.yaml", "[car, person, road]"),
        ("classes.txt", "car\r\nperson\r\nroad\r\n\r\n"),
        ("obj.names", "\ufeffcar\nperson\nroad"),
    ],
)
def test_class_names_come_from_every_usual_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_description(path).names == NAMES
    assert list(read_description(path).names) == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("data.yaml", "nc: 3", "names no classes"),
        ("data.yaml", "names: 3", "names no classes"),
        ("data.yaml", "", "names no classes"),
        ("data.yaml", "names: {a: car}", "'a': 'car'"),
        ("data.yaml", "names: {-1: car}", "-1: 'car'"),
        ("data.yaml", "names: [1, 2]", "0: 1"),
        ("data.yaml", "names: [car, car]", "twice"),
        ("data.yaml", "names: [", "cannot be read"),
        ("data.yaml", "!!python/object/apply:os.system [ls]", "cannot be read"),
        ("classes.txt", "", "names no classes"),
        ("classes.txt", "car\n\nroad", "1: ''"),
        ("classes.txt", "car\nroad\ncar", "twice"),
    ],
)
def test_bad_class_names_are_refused(tmp_path: Path, name: str, text: str, expected: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(MayhemError) as caught:
        read_description(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_class_names_are_named(tmp_path: Path) -> None:
    with pytest.raises(MayhemError, match=r"nowhere\.yaml"):
        read_description(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 0.5 0.5 0.1", "4 fields"),
        ("0 0.5 0.5 0.1 0.1 0.9", "6 fields"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "8 fields"),
        ("0", "1 field:"),
        ("1_0 0.5 0.5 0.1 0.1", "the class '1_0'"),
        ("\u0661 0.5 0.5 0.1 0.1", "the class '\u0661'"),
        ("0 0.5 0.5 0.0_5 0.1", "has '0.0_5'"),
        ("0 0.5 \u0660.\u0665 0.1 0.1", "has '\u0660.\u0665'"),
        (f"{300 * 'x'} 0.5 0.5 0.1 0.1", f"the class '{37 * 'x'}...{38 * 'x'}'"),
        ("3 0.5 0.5 0.1 0.1", "the class '3'"),
        ("-1 0.5 0.5 0.1 0.1", "the class '-1'"),
        ("0.5 0.5 0.5 0.1 0.1", "the class '0.5'"),
        ("car 0.5 0.5 0.1 0.1", "the class 'car'"),
        ("nan 0.5 0.5 0.1 0.1", "the class 'nan'"),
        ("0 nan 0.5 0.1 0.1", "has 'nan'"),
        ("0 0.5 inf 0.1 0.1", "has 'inf'"),
        ("0 0.5 0.5 -0.1 0.1", "has '-0.1'"),
        ("0 320 240 100 50", "has '100'"),
        ("0 0.5 0.5 0.1 1.1", "has '1.1'"),
        ("0 0.5,0.5 0.5 0.1 0.1", "has '0.5,0.5'"),
        ("2 0.1 0.1 0.2 0.2 1.5 0.3", "has '1.5'"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(
    tmp_path: Path, recordings: Path, line: str, expected: str
) -> None:
    with pytest.raises(MayhemError) as caught:
        read(tmp_path, recordings, a_000001=f"0 0.5 0.5 0.1 0.1\n{line}\n")
    assert expected in str(caught.value)
    assert f"{tmp_path / 'drive-a-000001.txt'}, line 2" in str(caught.value)


def test_class_numbers_may_be_written_as_decimals(tmp_path: Path, recordings: Path) -> None:
    assert read(tmp_path, recordings, a_000001="1.0 0.5 0.5 0.1 0.1").images[0].shapes[0].label == "person"


def test_a_file_that_is_no_text_is_named(tmp_path: Path, recordings: Path) -> None:
    (tmp_path / "drive-a-000000.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(MayhemError, match=r"drive-a-000000\.txt is no text"):
        read_yolo(tmp_path, DESCRIPTION, RecordedFrames(recordings))


def test_a_file_that_is_not_named_like_a_frame_is_named(tmp_path: Path, recordings: Path) -> None:
    (tmp_path / "photo.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(MayhemError, match=r"photo\.txt is not named"):
        read_yolo(tmp_path, DESCRIPTION, RecordedFrames(recordings))


def test_two_files_of_one_frame_are_both_named(tmp_path: Path, recordings: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "drive-a-000000.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(MayhemError, match=r"train/drive-a-000000\.txt and .*val/drive-a-000000\.txt"):
        read_yolo(tmp_path, DESCRIPTION, RecordedFrames(recordings))


def test_a_recording_or_folder_that_is_not_there_is_named(tmp_path: Path, recordings: Path) -> None:
    (tmp_path / "drive-x-000000.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(MayhemError, match="'drive-x'"):
        read_yolo(tmp_path, DESCRIPTION, RecordedFrames(recordings))
    with pytest.raises(MayhemError, match="is not there: name the folder"):
        read_yolo(tmp_path / "nowhere", DESCRIPTION, RecordedFrames(recordings))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MayhemError, match="no label files"):
        read_yolo(tmp_path / "empty", DESCRIPTION, RecordedFrames(recordings))


def test_a_frame_beyond_the_recordings_end_is_named(tmp_path: Path, recordings: Path) -> None:
    with pytest.raises(MayhemError, match=r"drive-a-000005\.txt: .* only 5"):
        read(tmp_path, recordings, a_000005="0 0.5 0.5 0.1 0.1")


def test_topic_and_distribution_reach_the_recordings(tmp_path: Path, recordings: Path) -> None:
    read(tmp_path, recordings, a_000000="0 0.5 0.5 0.1 0.1")
    with pytest.raises(UsageError, match="/nowhere"):
        read_yolo(tmp_path, DESCRIPTION, RecordedFrames(recordings, topic="/nowhere"))
    with pytest.raises(UsageError, match="atlantis"):
        read_yolo(tmp_path, DESCRIPTION, RecordedFrames(recordings, distro="atlantis"))


def test_the_size_is_that_of_a_labelled_frame_that_can_be_decoded(tmp_path: Path) -> None:
    write_small_drive(tmp_path / "recordings" / "drive-a")
    for index in (CORRUPT, 5):
        (tmp_path / f"drive-a-{index:06d}.txt").write_text("0 0.5 0.5 0.25 0.25")
    images = read_yolo(tmp_path, DESCRIPTION, RecordedFrames(tmp_path / "recordings")).images
    assert [(image.width, image.height) for image in images] == [(32, 24), (32, 24)]


def test_no_label_file_is_ever_overwritten(tmp_path: Path, recordings: Path) -> None:
    read(tmp_path, recordings, a_000000="0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "classes.txt").write_text("car\n")
    arguments = [str(tmp_path), "--names", str(tmp_path / "classes.txt"), "--recordings", str(recordings), "--force"]
    for out in (tmp_path, tmp_path / "classes.txt"):
        assert main(["import-yolo", *arguments, "--out", str(out)]) == 2
    assert (tmp_path / "classes.txt").read_text() == "car\n"
    assert main(["import-yolo", *arguments, "--out", str(tmp_path / "drive-a-000000.txt")]) == 2
    assert (tmp_path / "drive-a-000000.txt").read_text() == "0 0.5 0.5 0.1 0.1\n"


def described(tmp_path: Path, recordings: Path, lines: str, more: str = "", **options: Any) -> AnnotationFile:
    """A label file of frame 3, with a data.yaml of `more` than the names."""
    (tmp_path / "data.yaml").write_text(f"names: [car, person, road]\n{more}")
    (tmp_path / "drive-a-000003.txt").write_text(lines)
    return read_yolo(tmp_path, read_description(tmp_path / "data.yaml"), RecordedFrames(recordings), **options)


@pytest.mark.parametrize(
    ("shape", "keypoints"), [("[2, 2]", ".1 .1 .2 .2"), ("[2, 3]", ".1 .1 2 1.4 -.2 0"), ("[1, 3]", "0 0 0")]
)
def test_of_a_pose_set_the_boxes_are_taken_and_the_keypoints_counted(
    tmp_path: Path, recordings: Path, shape: str, keypoints: str
) -> None:
    lines = f"1 .5 .25 .25 .5 {keypoints}\n0 .75 .5 .5 .5\n"
    file = described(tmp_path, recordings, lines, f"kpt_shape: {shape}\n")
    assert file.images[0].shapes == (BoxShape("person", (24, 0, 40, 24)), BoxShape("car", (32, 12, 64, 36)))
    assert file.counts == ImportCounts(keypoints=1)
    with pytest.raises(MayhemError, match=r"line 1 has 20 fields: a box has 5 .* of keypoints where kpt_shape says"):
        described(tmp_path, recordings, f"1 {'.5 ' * 19}", f"kpt_shape: {shape}\n")


def test_a_kpt_shape_that_is_none_is_refused(tmp_path: Path, recordings: Path) -> None:
    with pytest.raises(MayhemError, match=r"kpt_shape 17, which is not \[number of keypoints, 2 or 3\]"):
        described(tmp_path, recordings, "", "kpt_shape: 17\n")


def test_a_confidence_is_named_and_taken_from_a_given_one_on(tmp_path: Path, recordings: Path) -> None:
    lines = "0 .5 .25 .25 .5 .91\n1 .75 .5 .5 .5 0.3\n2 0 .5 1 .5 1 1 .6\n0 .5 .5 .5 .5\n"
    with pytest.raises(MayhemError) as caught:
        described(tmp_path, recordings, lines)
    assert "line 1 has 6 fields, of which the last, '.91'" in str(caught.value)
    assert "confidence of a prediction: pass --min-confidence 0 to take them all" in str(caught.value)
    every = described(tmp_path, recordings, lines, least_confidence=0.0)
    assert every.images[0].shapes[0] == BoxShape("car", (24, 0, 40, 24))
    assert every.counts == ImportCounts(confidences=3)
    sure = described(tmp_path, recordings, lines, least_confidence=0.6)
    assert [shape.label for shape in sure.images[0].shapes] == ["car", "road", "car"]
    assert sure.counts == ImportCounts(confidences=2, unsure=1)
    posed = described(tmp_path, recordings, "0 .5 .25 .25 .5 .1 .1 .9", "kpt_shape: [1, 2]", least_confidence=0.5)
    assert posed.images[0].shapes == (BoxShape("car", (24, 0, 40, 24)),)
    assert posed.counts == ImportCounts(confidences=1, keypoints=1)


def test_four_corners_in_every_line_may_be_rotated_boxes_so_a_class_map_has_to_say(
    tmp_path: Path, recordings: Path
) -> None:
    lines = "0 .25 .25 .5 .5 .25 .75 0 .5\n"  # a square on its corner
    with pytest.raises(MayhemError, match="every line has four corners, so these may be rotated boxes or surfaces"):
        described(tmp_path, recordings, lines)
    for classes, boxes, pixels in (
        (ClassMap(("car",), ()), [(0, 12, 32, 36)], 0),
        (ClassMap((), ("car",)), [], 32 * 24 / 2),
    ):
        file = described(tmp_path, recordings, lines, classes=classes)
        index = import_annotations([file], recordings, classes=classes).index
        assert [label.box for label in index.images[0].boxes] == boxes
        assert abs(int((index.mask(index.images[0]) == 1).sum()) - pixels) <= 24


def test_shapes_that_overhang_are_clipped_and_counted(tmp_path: Path, recordings: Path) -> None:
    lines = "0 .5 .5 .5 1.0004\n1 -.04 .5 .125 .5\n0 1.02 .5 .25 .25\n"
    result = import_annotations([described(tmp_path, recordings, lines)], recordings)
    assert result.counts == ImportCounts(clipped=3)
    first, second, third = (label.box for label in result.index.images[0].boxes)
    assert first == (16, 0, 48, 48)
    assert second == (0, 12, pytest.approx(64 * (0.0625 - 0.04)), 36)
    assert third == (pytest.approx(64 * (1.02 - 0.125)), 18, 64, 30)


def test_a_box_three_times_is_a_box_and_two_repeats(tmp_path: Path, recordings: Path) -> None:
    result = import_annotations([described(tmp_path, recordings, "0 .5 .5 .5 .5\n" * 3 + "1 .5 .5 .5 .5")], recordings)
    assert [(label.category_id, label.box) for label in result.index.images[0].boxes] == [
        (1, (16, 12, 48, 36)),
        (2, (16, 12, 48, 36)),
    ]
    assert result.counts == ImportCounts(repeated=2)
    assert result.counts.sentences() == ["2 boxes dropped as a repeat of another of the same class and image"]


def test_polygons_that_cover_nothing_are_counted(tmp_path: Path, recordings: Path) -> None:
    lines = "2 .1 .1 .2 .2 .3 .3\n2 .5 .5 .5 .5 .5 .5\n2 0 .5 1 .5 1 1 0 1\n0 .5 .5 .5 .5\n"
    file = described(tmp_path, recordings, lines)
    assert [shape.label for shape in file.images[0].shapes] == ["road", "car"]
    assert file.counts == ImportCounts(degenerate=2)


def test_each_frame_has_a_size_of_its_own(tmp_path: Path) -> None:
    sizes = ((64, 48), (128, 96), (64, 48))
    frames = [
        image_message("/camera", 10**9 * number, 0, np.zeros((height, width, 3), np.uint8), "rgb8")
        for number, (width, height) in enumerate(sizes)
    ]
    write_recording(tmp_path / "recordings", "drive-a", "mcap", frames)
    for number in range(3):
        (tmp_path / f"drive-a-{number:06d}.txt").write_text("0 .5 .5 .5 .5")
    file = read_yolo(tmp_path, DESCRIPTION, RecordedFrames(tmp_path / "recordings"))
    assert [(image.width, image.height) for image in file.images] == list(sizes)
    index = import_annotations([file], tmp_path / "recordings").index
    assert [image.boxes[0].box for image in index.images] == [(16, 12, 48, 36), (32, 24, 96, 72), (16, 12, 48, 36)]


def test_what_lies_in_a_folder_instead_of_labels_is_named(tmp_path: Path, recordings: Path) -> None:
    (tmp_path / "drive-a-000000.xml").write_text("<annotation/>")
    with pytest.raises(MayhemError, match=r"holds no label files, but 1 of \.xml, as Pascal VOC's or CVAT's are"):
        read_yolo(tmp_path, DESCRIPTION, RecordedFrames(recordings))
    with pytest.raises(MayhemError, match="is a file: name the folder"):
        read_yolo(tmp_path / "drive-a-000000.xml", DESCRIPTION, RecordedFrames(recordings))


def test_extensions_in_capitals_are_label_files(tmp_path: Path, recordings: Path) -> None:
    (tmp_path / "drive-a-000003.TXT").write_text("0 .5 .5 .5 .5")
    assert len(read_yolo(tmp_path, DESCRIPTION, RecordedFrames(recordings)).images) == 1
