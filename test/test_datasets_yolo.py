"""`mayhem import-yolo` reads boxes and polygons in shares of the image, and names file and line of what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets_drives import HEIGHT, WIDTH, write_drive
from evaluation_small_drive import CORRUPT
from evaluation_small_drive import write_drive as write_small_drive

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.cli import main
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
