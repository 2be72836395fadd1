"""`mayhem import-cvat` finds every labelled frame again, counts what it leaves out, and refuses what cannot be."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from datasets_drives import (
    LAG_NS,
    PERIOD_NS,
    START_NS,
    TOPIC,
    box_element,
    image_element,
    polygon_element,
    write_cvat,
    write_drive,
)
from pycocotools.coco import COCO
from recordings_writing import image as image_message
from recordings_writing import jpeg, jpeg_bytes
from recordings_writing import write as write_recording

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.cli import main
from mayhem_train.datasets.annotations.classes import ClassMap
from mayhem_train.datasets.annotations.counts import ImportCounts
from mayhem_train.datasets.annotations.cvat.exporting import export_cvat
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.importing import ImportedDataset, import_annotations
from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex
from mayhem_train.datasets.splits.splitting import SplitPlan

DATA = Path(os.environ.get("MAYHEM_DATA", Path(__file__).parents[2] / "shared" / "data"))
CAR = box_element("car", 1, 2, 30, 40)
SIZES = (64, 48), (128, 96), (64, 48)
ROAD = polygon_element("road", "0,24;64,24;64,48;0,48")


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for stem in ("drive-a", "drive-b"):
        write_drive(folder, stem, 10)
    return folder


def imported(tmp_path: Path, recordings: Path, *images: str, **options: object) -> ImportedDataset:
    return import_annotations([read_cvat(write_cvat(tmp_path / "a.xml", *images))], recordings, **options)  # type: ignore[arg-type]


def refusal(tmp_path: Path, recordings: Path, *images: str, **options: object) -> str:
    """The sentence an import is refused with: one line that names the annotation file."""
    with pytest.raises(MayhemError) as caught:
        imported(tmp_path, recordings, *images, **options)
    assert str(tmp_path / "a.xml") in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_frame_is_found_with_its_topic_and_times(tmp_path: Path, recordings: Path) -> None:
    (image,) = imported(tmp_path, recordings, image_element("drive-b-000007.png", CAR)).index.images
    assert (image.recording, image.topic, image.index) == ("drive-b", TOPIC, 7)
    assert image.log_time_ns == START_NS + 7 * PERIOD_NS
    assert image.stamp_ns == image.log_time_ns - LAG_NS
    assert (image.width, image.height, image.file_name) == (64, 48, None)


def test_boxes_and_surfaces_become_labels_and_mask(tmp_path: Path, recordings: Path) -> None:
    index = imported(tmp_path, recordings, image_element("drive-a-000000.png", ROAD, CAR)).index
    assert index.categories == (Category(1, "car", True), Category(2, "road", False))
    assert index.images[0].boxes == (BoxLabel(1, (1, 2, 30, 40)),)
    expected = np.zeros((48, 64), np.uint8)
    expected[24:] = 1
    np.testing.assert_array_equal(index.mask(index.images[0]), expected)


def test_a_higher_z_order_wins_then_the_later_shape(tmp_path: Path, recordings: Path) -> None:
    kerb = polygon_element("kerb", "0,0;32,0;32,48;0,48", z_order=1)
    lane = polygon_element("lane", "0,36;64,36;64,48;0,48")
    index = imported(tmp_path, recordings, image_element("drive-a-000000.png", kerb, ROAD, lane)).index
    assert [surface.name for surface in index.surfaces] == ["kerb", "road", "lane"]
    expected = np.zeros((48, 64), np.uint8)
    expected[24:36] = 2
    expected[36:] = 3
    expected[:, :32] = 1
    np.testing.assert_array_equal(index.mask(index.images[0]), expected)


def test_traced_polygons_hold_their_points(tmp_path: Path, recordings: Path) -> None:
    road = image_element("drive-a-000000.png", polygon_element("road", "10,20;29,20;29,39;10,39"))
    drawn, traced = (imported(tmp_path, recordings, road, traced_polygons=value).index for value in (False, True))
    assert drawn.mask(drawn.images[0]).sum() == 19 * 19
    assert traced.mask(traced.images[0]).sum() == 20 * 20


def test_a_background_polygon_cuts_a_hole(tmp_path: Path, recordings: Path) -> None:
    hole = polygon_element("background", "10,30;20,30;20,40;10,40")
    index = imported(tmp_path, recordings, image_element("drive-a-000000.png", ROAD, hole)).index
    assert [category.name for category in index.categories] == ["road"]
    expected = np.zeros((48, 64), np.uint8)
    expected[24:] = 1
    expected[30:40, 10:20] = 0
    np.testing.assert_array_equal(index.mask(index.images[0]), expected)


def test_boxes_are_clipped_or_dropped_and_counted(tmp_path: Path, recordings: Path) -> None:
    result = imported(
        tmp_path,
        recordings,
        image_element(
            "drive-a-000000.png",
            box_element("car", -5, -6, 10, 12),
            box_element("car", 50, 40, 64.4, 48),
            box_element("car", 64, 0, 90, 20),
            box_element("car", -9, 0, -2, 20),
            box_element("car", 5, 5, 5, 9),
            CAR,
            polygon_element("road", "70,0;90,0;90,20"),
        ),
    )
    boxes = [label.box for label in result.index.images[0].boxes]
    assert boxes == [(0, 0, 10, 12), (50, 40, 64, 48), (1, 2, 30, 40)]
    assert result.counts == ImportCounts(clipped=2, outside=2, flat=1, invisible=1)


def test_images_without_shapes_are_unlabelled_unless_said_to_be_empty(tmp_path: Path, recordings: Path) -> None:
    images = [image_element("drive-a-000000.png", CAR, ROAD), image_element("drive-a-000001.png")]
    left_out = imported(tmp_path, recordings, *images)
    assert [image.index for image in left_out.index.images] == [0]
    assert left_out.counts.unlabelled == 1
    kept = imported(tmp_path, recordings, *images, empty_means_empty=True)
    assert [image.index for image in kept.index.images] == [0, 1]
    assert kept.counts.unlabelled == 0
    assert not kept.index.mask(kept.index.images[1]).any()


def test_the_order_of_the_files_does_not_matter(tmp_path: Path, recordings: Path) -> None:
    first = write_cvat(tmp_path / "1.xml", image_element("drive-b-000003.png", CAR, ROAD))
    second = write_cvat(tmp_path / "2.xml", image_element("drive-a-000004.png", box_element("agv", 1, 1, 9, 9)))
    forward, backward = (
        import_annotations([read_cvat(path) for path in paths], recordings).index
        for paths in ([first, second], [second, first])
    )
    assert forward == backward
    assert [c.name for c in forward.categories] == ["car", "agv", "road"]
    assert [(image.id, image.name) for image in forward.images] == [
        (1, "drive-a-000004.png"),
        (2, "drive-b-000003.png"),
    ]


def test_a_class_map_renames_merges_ignores_and_orders(tmp_path: Path, recordings: Path) -> None:
    classes = ClassMap(("agv", "car"), ("floor",), {"van": "car", "road": "floor"}, frozenset({"sky", "nose"}))
    index = imported(
        tmp_path,
        recordings,
        image_element(
            "drive-a-000000.png",
            CAR,
            box_element("van", 3, 3, 9, 9),
            ROAD,
            polygon_element("sky", "0,0;64,0;64,9"),
            '<points label="nose" points="1,2"/>',
        ),
        classes=classes,
    ).index
    assert index.categories == (Category(1, "agv", True), Category(2, "car", True), Category(3, "floor", False))
    assert [label.category_id for label in index.images[0].boxes] == [2, 2]
    assert [surface.category_id for surface in index.images[0].surfaces] == [3]


def test_a_class_map_may_take_outlines_for_things_and_boxes_for_surfaces(tmp_path: Path, recordings: Path) -> None:
    index = imported(
        tmp_path,
        recordings,
        image_element(
            "drive-a-000000.png",
            polygon_element("car", "10,10;30,12;20,30"),
            '<mask label="car" rle="1, 2, 1, 2" left="40" top="10" width="3" height="2"/>',
            box_element("road", 0, 24, 64, 48),
        ),
        classes=ClassMap(("car",), ("road",)),
    ).index
    assert [label.box for label in index.images[0].boxes] == [(10, 10, 30, 30), (41, 10, 43, 12)]
    assert index.mask(index.images[0]).sum() == 64 * 24


def test_an_unknown_label_is_named(tmp_path: Path, recordings: Path) -> None:
    sentence = refusal(tmp_path, recordings, image_element("drive-a-000000.png", CAR), classes=ClassMap(("agv",), ()))
    assert "'car'" in sentence


@pytest.mark.parametrize("kind", ["points", "polyline", "cuboid", "ellipse", "skeleton"])
def test_shapes_of_other_kinds_are_named(tmp_path: Path, recordings: Path, kind: str) -> None:
    sentence = refusal(tmp_path, recordings, image_element("drive-a-000000.png", CAR, f'<{kind} label="nose"/>'))
    assert f"<{kind}> of 'nose'" in sentence


def test_a_recording_that_is_not_there_is_named(tmp_path: Path, recordings: Path) -> None:
    sentence = refusal(tmp_path, recordings, image_element("drive-c-000000.png", CAR))
    assert "'drive-c'" in sentence
    assert str(recordings) in sentence


def test_a_frame_beyond_the_recordings_end_is_named(tmp_path: Path, recordings: Path) -> None:
    sentence = refusal(tmp_path, recordings, image_element("drive-a-000010.png", CAR))
    assert "drive-a-000010.png" in sentence
    assert "only 10" in sentence


def test_a_size_that_disagrees_with_the_recording_is_named(tmp_path: Path, recordings: Path) -> None:
    sentence = refusal(tmp_path, recordings, image_element("drive-a-000002.png", CAR, width=640, height=480))
    assert "640x480" in sentence
    assert "64x48" in sentence


def test_a_frame_listed_twice_is_refused(tmp_path: Path, recordings: Path) -> None:
    images = image_element("drive-a-000002.png", CAR), image_element("drive-a-000002.jpg", CAR)
    assert "again" in refusal(tmp_path, recordings, *images)


def test_of_a_frame_listed_twice_the_labelled_one_counts(tmp_path: Path, recordings: Path) -> None:
    empty, labelled = image_element("drive-a-000002.png"), image_element("drive-a-000002.png", CAR)
    other = image_element("drive-a-000003.png")
    for order in ((empty, labelled, other, other), (other, labelled, other, empty)):
        result = imported(tmp_path, recordings, *order)
        assert [(image.index, len(image.boxes)) for image in result.index.images] == [(2, 1)]
        assert result.counts.unlabelled == 1
        with pytest.raises(MayhemError, match="again"):
            imported(tmp_path, recordings, *order, empty_means_empty=True)


def test_a_topic_that_is_not_there_is_wrong_usage(tmp_path: Path, recordings: Path) -> None:
    with pytest.raises(UsageError, match="/nowhere"):
        imported(tmp_path, recordings, image_element("drive-a-000002.png", CAR), topic="/nowhere")


def test_no_labelled_image_at_all_is_refused(tmp_path: Path, recordings: Path) -> None:
    assert "label" in refusal(tmp_path, recordings, image_element("drive-a-000002.png"))
    classes = ClassMap(("car",), ())
    assert "--empty-means-empty" in refusal(tmp_path, recordings, image_element("drive-a-000002.png"), classes=classes)


def test_one_image_is_a_dataset(tmp_path: Path, recordings: Path) -> None:
    index = imported(tmp_path, recordings, image_element("drive-a-000002.png", CAR)).index
    assert [image.split for image in index.images] == ["train"]


def command(tmp_path: Path, recordings: Path, *more: str) -> int:
    arguments = [str(tmp_path / "a.xml"), "--recordings", str(recordings), "--out", str(tmp_path / "index.json"), *more]
    return main(["import-cvat", *arguments])


def write_two_drives(tmp_path: Path) -> None:
    outside = box_element("car", 70, 0, 80, 9)
    write_cvat(
        tmp_path / "a.xml",
        *(image_element(f"drive-a-00000{i}.png", CAR, ROAD, outside) for i in range(5)),
        *(image_element(f"drive-b-00000{i}.png", CAR, box_element("car", 1, 2, 30, 41)) for i in range(2)),
        image_element("drive-b-000002.png"),
    )


def test_the_command_prints_what_it_imported(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_two_drives(tmp_path)
    assert command(tmp_path, recordings) == 0
    lines = [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]
    assert "recordings drive-a drive-b" in lines
    assert "images 5 2" in lines
    assert "car, boxes 5 4" in lines
    assert "road, % of pixels 50.0 0.0" in lines
    assert "1 image without shapes left out as unlabelled" in lines
    assert "5 boxes outside the image dropped" in lines


def test_the_index_opens_with_pycocotools_and_with_our_own_reader(tmp_path: Path, recordings: Path) -> None:
    write_two_drives(tmp_path)
    assert command(tmp_path, recordings, "--val", "drive-a") == 0
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "index.json"))
    assert len(coco.getImgIds()) == 7
    assert len(coco.getAnnIds(catIds=coco.getCatIds(["car"]))) == 9
    road = coco.loadAnns(coco.getAnnIds(catIds=coco.getCatIds(["road"])))
    assert len(road) == 5
    assert all(coco.annToMask(annotation).sum() == annotation["area"] == 64 * 24 for annotation in road)
    index = DatasetIndex.load(tmp_path / "index.json")
    assert index.to_coco() == json.loads((tmp_path / "index.json").read_text())
    assert len(index.split("val").images) == 5


def test_nothing_is_overwritten_without_force_and_nothing_is_left_of_a_failure(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_two_drives(tmp_path)
    out = tmp_path / "index.json"
    out.write_text("mine")
    assert command(tmp_path, recordings) == 2
    assert out.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert command(tmp_path, recordings, "--force") == 0
    written = out.read_text()
    assert command(tmp_path, recordings, "--force", "--val", "nowhere") == 2
    write_cvat(tmp_path / "a.xml", image_element("drive-c-000000.png", CAR))
    assert command(tmp_path, recordings, "--force") == 1
    assert out.read_text() == written
    assert {path.name for path in tmp_path.iterdir()} == {"a.xml", "index.json", "index.faults.log"}


def test_the_real_drives_import_with_exactly_their_labels() -> None:
    folder = DATA / "camvid"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    result = import_annotations(
        [read_cvat(p) for p in (folder / "annotations").glob("*.xml")],
        folder,
        plan=SplitPlan(validation=("camvid-0016E5-val",)),
    )
    assert result.index.categories == (
        Category(1, "car", True),
        Category(2, "pedestrian", True),
        Category(3, "bicyclist", True),
        Category(4, "road", False),
    )
    assert result.counts.unlabelled == result.counts.outside == result.counts.flat == 0
    counts = {}
    for split in ("train", "val"):
        images = result.index.split(split).images
        labels = [label.category_id for image in images for label in image.boxes]
        counts[split] = (len(images), *(labels.count(number) for number in (1, 2, 3)))
    assert counts == {"train": (367, 1114, 757, 167), "val": (101, 156, 161, 200)}
    assert all(len(image.surfaces) == 1 for image in result.index.images)


def test_force_never_replaces_the_labels_that_are_to_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.xml"
    labels.write_text("<annotations/>")
    arguments = [str(labels), "--recordings", str(tmp_path / "recordings"), "--out", str(labels), "--force"]
    assert main(["import-cvat", *arguments]) == 2
    assert "which would be deleted" in capsys.readouterr().err
    assert labels.read_text() == "<annotations/>"


def test_images_of_which_every_shape_is_ignored_were_looked_at(tmp_path: Path, recordings: Path) -> None:
    classes = ClassMap(("car",), (), ignore=frozenset({"sky"}))
    images = [
        image_element("drive-a-000000.png", CAR),
        image_element("drive-a-000001.png", box_element("sky", 1, 1, 9, 9)),
        image_element("drive-a-000002.png", '<tag label="rain"/>'),
    ]
    result = imported(tmp_path, recordings, *images, classes=classes)
    assert [(image.index, len(image.boxes)) for image in result.index.images] == [(0, 1), (1, 0)]
    assert result.counts.unlabelled == 1


def test_a_distribution_is_passed_on_to_the_recordings(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_two_drives(tmp_path)
    assert command(tmp_path, recordings, "--distro", "atlantis") == 2
    assert "atlantis" in capsys.readouterr().err
    assert command(tmp_path, recordings, "--distro", "humble") == 0


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def file_names(tmp_path: Path, recordings: Path, images: Path) -> list[str | None]:
    names = [image_element(f"drive-a-{index:06d}.png", CAR) for index in range(3)]
    return [image.file_name for image in imported(tmp_path, recordings, *names, images=images).index.images]


def test_extracted_images_are_found_by_the_names_of_their_frames(tmp_path: Path, recordings: Path) -> None:
    others = "notes.txt", "drive-b-000000.png", "drive-a-000009.png", ".partial/drive-a-000002.png"
    images = touch(tmp_path / "images", "drive-a-000000.png", "deep/er/drive-a-000001.jpg", *others)
    assert file_names(tmp_path, recordings, images) == ["drive-a-000000.png", "deep/er/drive-a-000001.jpg", None]


def test_of_ingested_images_those_of_the_labelled_topic_count(tmp_path: Path, recordings: Path) -> None:
    images = touch(
        tmp_path / "images",
        "drive-a/colour/camera-image/drive-a-000000.png",
        "drive-a/colour/rear-image/drive-a-000000.png",
        "drive-a/depth/camera-depth/drive-a-000000.png",
        "drive-a/depth/camera-depth/drive-a-000001.png",
    )
    expected = ["drive-a/colour/camera-image/drive-a-000000.png", None, None]
    assert file_names(tmp_path, recordings, images) == expected


def test_two_extracted_images_of_one_frame_are_refused(tmp_path: Path, recordings: Path) -> None:
    images = touch(tmp_path / "images", "a/drive-a-000001.png", "b/drive-a-000001.jpg")
    with pytest.raises(MayhemError, match=r"a/drive-a-000001.png and .*b/drive-a-000001.jpg are both"):
        file_names(tmp_path, recordings, images)
    with pytest.raises(MayhemError, match="no folder"):
        file_names(tmp_path, recordings, tmp_path / "nowhere")


def test_the_command_says_how_many_images_were_not_extracted(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_two_drives(tmp_path)
    images = touch(tmp_path / "images", *(f"drive-a-00000{index}.png" for index in range(5)))
    assert command(tmp_path, recordings, "--images", str(images)) == 0
    assert "2 images are not in" in capsys.readouterr().out
    written = json.loads((tmp_path / "index.json").read_text())["images"]
    assert [image.get("file_name") for image in written][:6] == [f"drive-a-00000{i}.png" for i in range(5)] + [None]


def test_two_recordings_of_one_stem_are_refused(tmp_path: Path) -> None:
    for folder in ("monday", "tuesday"):
        write_drive(tmp_path / "recordings" / folder, "drive-a", 1)
    path = write_cvat(tmp_path / "a.xml", image_element("drive-a-000000.png", CAR))
    with pytest.raises(MayhemError, match=r"monday.* and .*tuesday.* are both called 'drive-a'"):
        import_annotations([read_cvat(path)], tmp_path / "recordings")


def test_a_recording_whose_frames_differ_in_size_is_compared_frame_by_frame(tmp_path: Path) -> None:
    small, large = np.zeros((48, 64, 3), np.uint8), np.zeros((96, 128, 3), np.uint8)
    frames = [
        image_message("/camera", 10**9 * number, 10**9 * number, pixels, "rgb8")
        for number, pixels in enumerate((small, large, small))
    ]
    write_recording(tmp_path / "recordings", "drive-a", "mcap", frames)
    elements = [image_element(f"drive-a-{i:06d}.png", CAR, width=w, height=h) for i, (w, h) in enumerate(SIZES)]
    path = write_cvat(tmp_path / "a.xml", *elements)
    index = import_annotations([read_cvat(path)], tmp_path / "recordings").index
    assert [(image.width, image.height) for image in index.images] == list(SIZES)
    wrong = write_cvat(
        tmp_path / "b.xml",
        image_element("drive-a-000000.png", CAR),
        image_element("drive-a-000002.png", CAR, width=128, height=96),
    )
    with pytest.raises(MayhemError, match=r"drive-a-000002.png is 128x96 pixels, .* is 64x48"):
        import_annotations([read_cvat(wrong)], tmp_path / "recordings")


def test_a_frame_that_cannot_be_decoded_does_not_stop_the_others(tmp_path: Path) -> None:
    whole = jpeg_bytes(np.zeros((48, 64, 3), np.uint8))
    frames = [jpeg("/camera", 10**9 * number, data) for number, data in enumerate((whole[:40], whole))]
    write_recording(tmp_path / "recordings", "drive-a", "mcap", frames)
    elements = [image_element(f"drive-a-{index:06d}.png", CAR) for index in (0, 1)]
    path = write_cvat(tmp_path / "a.xml", *elements)
    assert len(import_annotations([read_cvat(path)], tmp_path / "recordings").index.images) == 2
    only = write_cvat(tmp_path / "b.xml", elements[0])
    with pytest.raises(MayhemError, match=r"Message 0 on /camera"):
        import_annotations([read_cvat(only)], tmp_path / "recordings")


def test_an_archive_is_imported_under_its_own_name(tmp_path: Path, recordings: Path) -> None:
    xml = write_cvat(tmp_path / "a.xml", image_element("drive-a-000000.png", CAR))
    with zipfile.ZipFile(tmp_path / "task 3.zip", "w") as archive:
        archive.write(xml, "annotations.xml")
    index = import_annotations([read_cvat(tmp_path / "task 3.zip")], recordings).index
    (out,) = export_cvat(index, tmp_path / "out")
    assert out.name == "task 3.xml"
    assert [image.index for image in index.images] == [0]


def splits_of(tmp_path: Path) -> dict[str, str]:
    images = json.loads((tmp_path / "index.json").read_text())["images"]
    return {image["name"].removeprefix("drive-").removesuffix(".png"): image["split"] for image in images}


def test_the_command_splits_by_blocks_of_time_and_by_file(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_two_drives(tmp_path)
    assert command(tmp_path, recordings, "--val-block", "drive-a:2:4", "--test-block", "drive-b:0.05s:") == 0
    assert splits_of(tmp_path) == {
        "a-000000": "train",
        "a-000001": "train",
        "a-000002": "val",
        "a-000003": "val",
        "a-000004": "train",
        "b-000000": "train",
        "b-000001": "test",
    }
    assert command(tmp_path, recordings, "--force", "--split", "time", "--val-fraction", "0.4", "--gap", "0.15") == 0
    assert splits_of(tmp_path) == {
        "a-000000": "train",
        "a-000001": "train",
        "a-000002": "unused",
        "a-000003": "val",
        "a-000004": "val",
        "b-000000": "unused",
        "b-000001": "val",
    }
    (tmp_path / "splits.yaml").write_text(
        "train: [drive-a]\ntest: [drive-b-000001.png]\nunused: [drive-b-000000.png]\n"
    )
    assert command(tmp_path, recordings, "--force", "--split-file", str(tmp_path / "splits.yaml")) == 0
    assert set(splits_of(tmp_path).items()) >= {("a-000004", "train"), ("b-000000", "unused"), ("b-000001", "test")}
    capsys.readouterr()
    assert command(tmp_path, recordings, "--force", "--val-block", "drive-a") == 2
    assert "'drive-a' is no block" in capsys.readouterr().err
