"""`mayhem import-coco` reads what COCO can say of things and surfaces, and refuses what cannot be in one sentence."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets_drives import HEIGHT, TOPIC, WIDTH, write_drive
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as rle_codec

from mayhem_ros.errors import MayhemError
from mayhem_train.cli import main
from mayhem_train.datasets.annotations.classes import ClassMap
from mayhem_train.datasets.annotations.coco import read_coco
from mayhem_train.datasets.annotations.counts import ImportCounts
from mayhem_train.datasets.annotations.importing import ImportedDataset, import_annotations
from mayhem_train.datasets.annotations.recorded_frames import RecordedFrames
from mayhem_train.datasets.annotations.shapes import MaskShape
from mayhem_train.datasets.annotations.surfaces import shape_rle
from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex

NAME = "drive-a-000003.png"
CAR, PERSON, ROAD = 7, 3, 9
CATEGORIES = [
    {"id": CAR, "name": "car"},
    {"id": PERSON, "name": "person", "isthing": 1},
    {"id": ROAD, "name": "road", "isthing": 0},
]
LOWER_HALF = [0.0, 24.0, 64.0, 24.0, 64.0, 48.0, 0.0, 48.0]


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    write_drive(folder, "drive-a", 5)
    return folder


def document(*annotations: dict[str, Any], file_name: str = NAME, categories: object = None) -> dict[str, Any]:
    """One image of the drive's size; annotations get their ids and the image's."""
    return {
        "images": [{"id": 42, "file_name": file_name, "width": WIDTH, "height": HEIGHT}],
        "categories": CATEGORIES if categories is None else categories,
        "annotations": [{"id": number, "image_id": 42, **a} for number, a in enumerate(annotations, start=1)],
    }


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def imported(tmp_path: Path, recordings: Path, content: object, **options: Any) -> ImportedDataset:
    classes = options.get("classes")
    return import_annotations([read_coco(write(tmp_path / "a.json", content), classes=classes)], recordings, **options)


def mask_of(index: DatasetIndex) -> np.ndarray:
    return index.mask(index.images[0])


def text_rle(mask: np.ndarray) -> dict[str, Any]:
    rle = rle_codec.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def list_rle(mask: np.ndarray) -> dict[str, Any]:
    counts, last = [0], 0
    for value in mask.ravel(order="F").tolist():
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def test_things_become_boxes_and_surfaces_masks_found_again_by_the_last_part_of_the_file_name(
    tmp_path: Path, recordings: Path
) -> None:
    content = document(
        {"category_id": CAR, "bbox": [1.5, 2, 10, 20.25], "segmentation": [[1.5, 2, 11, 2, 11, 22]]},
        {"category_id": ROAD, "segmentation": [LOWER_HALF], "bbox": [0, 24, 64, 24]},
        {"category_id": PERSON, "bbox": [4, 5, 6, 7], "segmentation": []},
        file_name="train\\..\\images/drive-a-000003.jpg",
    )
    index = imported(tmp_path, recordings, content).index
    (image,) = index.images
    assert (image.recording, image.topic, image.index) == ("drive-a", TOPIC, 3)
    # In the order of COCO's ids, which is that of person 3, car 7, road 9.
    assert index.categories == (Category(1, "person", True), Category(2, "car", True), Category(3, "road", False))
    assert [(label.category_id, label.box) for label in image.boxes] == [
        (2, (1.5, 2, 11.5, 22.25)),
        (1, (4, 5, 10, 12)),
    ]
    np.testing.assert_array_equal(mask_of(index), np.repeat([0, 1], 24)[:, None] * np.ones(64, int))


def test_polygons_of_one_annotation_are_united(tmp_path: Path, recordings: Path) -> None:
    parts = [[0, 0, 20, 0, 20, 10, 0, 10], [10, 5, 30, 5, 30, 20, 10, 20]]
    index = imported(tmp_path, recordings, document({"category_id": ROAD, "segmentation": parts})).index
    expected = np.zeros((48, 64), np.uint8)
    expected[0:10, 0:20] = 1
    expected[5:20, 10:30] = 1
    np.testing.assert_array_equal(mask_of(index), expected)


@pytest.mark.parametrize("encode", [text_rle, list_rle])
def test_both_kinds_of_run_lengths_are_read(tmp_path: Path, recordings: Path, encode: Any) -> None:
    mask = np.random.default_rng(4).integers(0, 2, (HEIGHT, WIDTH)).astype(np.uint8)
    annotation = {"category_id": ROAD, "segmentation": encode(mask), "iscrowd": 1}
    np.testing.assert_array_equal(mask_of(imported(tmp_path, recordings, document(annotation)).index), mask)


@settings(deadline=None)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1)))
def test_compressed_run_lengths_decode_as_pycocotools_decodes_them(
    tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray
) -> None:
    height, width = mask.shape
    content = document({"category_id": ROAD, "segmentation": text_rle(mask)})
    content["images"][0] |= {"width": width, "height": height}
    path = write(tmp_path_factory.getbasetemp() / "any.json", content)
    (shape,) = read_coco(path).images[0].shapes
    assert isinstance(shape, MaskShape)
    np.testing.assert_array_equal(rle_codec.decode(shape_rle(shape, width, height)), mask)


def test_large_counts_in_compressed_run_lengths_are_read(tmp_path: Path) -> None:
    mask = np.zeros((3000, 4000), np.uint8)
    mask[1000:, 3:3990] = 1
    content = document({"category_id": ROAD, "segmentation": text_rle(mask)})
    content["images"][0] |= {"width": 4000, "height": 3000}
    (shape,) = read_coco(write(tmp_path / "a.json", content)).images[0].shapes
    np.testing.assert_array_equal(rle_codec.decode(shape_rle(shape, 4000, 3000)), mask)  # type: ignore[arg-type]


def test_a_thing_without_a_bbox_gets_the_box_around_its_segmentation(tmp_path: Path, recordings: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:9, 20:23] = 1
    content = document(
        {"category_id": CAR, "segmentation": [[1, 2, 9, 2, 5, 8], [20, 3, 30, 3, 25, 12.5]]},
        {"category_id": CAR, "segmentation": text_rle(mask)},
        {"category_id": CAR, "segmentation": text_rle(0 * mask)},
    )
    result = imported(tmp_path, recordings, content)
    assert [label.box for label in result.index.images[0].boxes] == [(1, 2, 30, 12.5), (20, 5, 23, 9)]
    assert result.counts == ImportCounts(flat=1)


def test_a_surface_without_a_segmentation_covers_its_bbox(tmp_path: Path, recordings: Path) -> None:
    content = document({"category_id": ROAD, "bbox": [10, 20, 5e8, 8], "segmentation": []})
    expected = np.zeros((48, 64), np.uint8)
    expected[20:28, 10:] = 1
    np.testing.assert_array_equal(mask_of(imported(tmp_path, recordings, content).index), expected)


def test_a_crowd_stays_a_crowd(tmp_path: Path, recordings: Path) -> None:
    content = document(
        {"category_id": PERSON, "bbox": [1, 2, 3, 4], "iscrowd": 1}, {"category_id": PERSON, "bbox": [5, 6, 7, 8]}
    )
    labels = imported(tmp_path, recordings, content).index.images[0].boxes
    assert [label.is_crowd for label in labels] == [True, False]


def test_a_class_file_says_what_is_a_surface_whatever_isthing_says(tmp_path: Path, recordings: Path) -> None:
    content = document(
        {"category_id": CAR, "segmentation": [LOWER_HALF], "bbox": [0, 0, 1, 1]},
        {"category_id": ROAD, "segmentation": [[1, 1, 9, 1, 9, 9], [20, 20, 30, 20, 30, 30]]},
        {"category_id": PERSON, "segmentation": [LOWER_HALF]},
    )
    classes = ClassMap(("lane",), ("floor",), {"car": "floor", "road": "lane"}, frozenset({"person"}))
    index = imported(tmp_path, recordings, content, classes=classes).index
    assert index.categories == (Category(1, "lane", True), Category(2, "floor", False))
    assert [label.box for label in index.images[0].boxes] == [(1, 1, 30, 30)]
    assert mask_of(index).sum() == 24 * 64


def test_background_cuts_a_hole(tmp_path: Path, recordings: Path) -> None:
    categories = [*CATEGORIES, {"id": 1, "name": "background"}]
    hole = {"category_id": 1, "segmentation": [[10, 30, 20, 30, 20, 35, 15, 35, 15, 40, 10, 40]]}
    content = document({"category_id": ROAD, "segmentation": [LOWER_HALF]}, hole, categories=categories)
    index = imported(tmp_path, recordings, content).index
    assert [category.name for category in index.categories] == ["road"]
    assert mask_of(index).sum() == 24 * 64 - 75


def test_an_image_without_annotations_is_unlabelled_unless_said_to_be_empty(tmp_path: Path, recordings: Path) -> None:
    content = document({"category_id": CAR, "bbox": [1, 2, 3, 4]})
    content["images"].append({"id": 43, "file_name": "drive-a-000004.png", "width": WIDTH, "height": HEIGHT})
    left_out = imported(tmp_path, recordings, content)
    assert [image.index for image in left_out.index.images] == [3]
    assert left_out.counts == ImportCounts(unlabelled=1)
    kept = imported(tmp_path, recordings, content, empty_means_empty=True)
    assert [(image.index, len(image.boxes)) for image in kept.index.images] == [(3, 1), (4, 0)]


def test_an_index_imports_back_to_the_same_labels(tmp_path: Path, recordings: Path) -> None:
    content = document(
        {"category_id": CAR, "bbox": [0.1, 0.2, 10.3, 20.7]},
        {"category_id": ROAD, "segmentation": [[3.3, 20, 60, 22, 40, 47.5]]},
    )
    index = imported(tmp_path, recordings, content).index
    index.save(tmp_path / "index.json")
    again = import_annotations([read_coco(tmp_path / "index.json")], recordings).index
    assert again.categories == index.categories
    assert again.images[0].boxes == index.images[0].boxes
    assert again.images[0].surfaces == index.images[0].surfaces


def command(tmp_path: Path, recordings: Path, *more: str) -> int:
    arguments = [str(tmp_path / "a.json"), "--recordings", str(recordings), "--out", str(tmp_path / "index.json")]
    return main(["import-coco", *arguments, *more])


def test_the_command_takes_a_class_file(tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.json", document({"category_id": CAR, "segmentation": [LOWER_HALF]}))
    (tmp_path / "classes.yaml").write_text("surfaces: [car]\n")
    assert command(tmp_path, recordings, "--classes", str(tmp_path / "classes.yaml")) == 0
    assert "car, % of pixels" in capsys.readouterr().out
    assert mask_of(DatasetIndex.load(tmp_path / "index.json")).sum() == 24 * 64


def test_the_distribution_reaches_the_recordings(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.json", GOOD)
    assert command(tmp_path, recordings, "--distro", "atlantis") == 2
    assert "atlantis" in capsys.readouterr().err


def test_nothing_is_overwritten_and_no_input_is_replaced(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.json", document({"category_id": CAR, "bbox": [1, 2, 3, 4]}))
    written = path.read_text()
    (tmp_path / "index.json").write_text("mine")
    assert command(tmp_path, recordings) == 2
    assert (tmp_path / "index.json").read_text() == "mine"
    assert main(["import-coco", str(path), "--recordings", str(recordings), "--out", str(path), "--force"]) == 2
    assert path.read_text() == written
    assert command(tmp_path, recordings, "--force") == 0
    assert DatasetIndex.load(tmp_path / "index.json").images[0].boxes == (BoxLabel(1, (1, 2, 4, 6)),)


def change(content: dict[str, Any], *path: Any, value: Any) -> dict[str, Any]:
    """A copy with one place of the document set to a value."""
    content = copy.deepcopy(content)
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return content


GOOD = document(
    {"category_id": CAR, "bbox": [1, 2, 3, 4]},
    {"category_id": ROAD, "segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}},
)
SEGMENTATION = ("annotations", 1, "segmentation")
BAD = {
    "the size of the mask": (change(GOOD, *SEGMENTATION, "size", value=[WIDTH, HEIGHT]), "of size [64, 48]"),
    "runs that are too short": (change(GOOD, *SEGMENTATION, "counts", value=[5, 6]), "do not add up"),
    "runs that are negative": (change(GOOD, *SEGMENTATION, "counts", value=[-5, HEIGHT * WIDTH + 5]), "add up"),
    "runs that overflow": (change(GOOD, *SEGMENTATION, "counts", value=[2**62] * 4 + [HEIGHT * WIDTH]), "add up"),
    "runs beyond 64 bits": (change(GOOD, *SEGMENTATION, "counts", value=[2**70]), "damaged"),
    "runs that are no numbers": (change(GOOD, *SEGMENTATION, "counts", value=[0.5, True]), "damaged"),
    "no runs": (change(GOOD, *SEGMENTATION, "counts", value=[]), "add up"),
    "text that is cut short": (change(GOOD, *SEGMENTATION, "counts", value="PPP"), "damaged"),
    "text that is none of COCO's": (change(GOOD, *SEGMENTATION, "counts", value="é~"), "damaged"),
    "an endless count": (change(GOOD, *SEGMENTATION, "counts", value="P" * 40 + "0"), "damaged"),
    "empty text": (change(GOOD, *SEGMENTATION, "counts", value=""), "damaged"),
    "a segmentation of another kind": (
        change(GOOD, *SEGMENTATION, value="polygon"),
        "neither polygons nor run lengths",
    ),
    "a polygon with half a point": (change(GOOD, *SEGMENTATION, value=[[1, 2, 3, 4, 5, 6, 7]]), "[x1, y1, x2"),
    "a polygon with NaN": (change(GOOD, *SEGMENTATION, value=[[1, 2, 3, 4, 5, float("nan")]]), "no finite number"),
    "a polygon with text": (change(GOOD, *SEGMENTATION, value=[[1, 2, 3, 4, 5, "6"]]), "no finite number"),
    "a polygon far away": (change(GOOD, *SEGMENTATION, value=[[1, 2, 3, 4, 5, 1e9]]), "far outside"),
    "a bbox with a negative size": (
        change(GOOD, "annotations", 0, "bbox", value=[1, 2, -3, 4]),
        "negative size (-3x4)",
    ),
    "a bbox with infinity": (change(GOOD, "annotations", 0, "bbox", value=[1, 2, 3, float("inf")]), "no finite number"),
    "a bbox with a huge number": (change(GOOD, "annotations", 0, "bbox", value=[10**400, 2, 3, 4]), "no finite number"),
    "a bbox of three": (change(GOOD, "annotations", 0, "bbox", value=[1, 2, 3]), "[x, y, width, height]"),
    "nothing drawn": (change(GOOD, "annotations", 0, "bbox", value=None), "neither bbox nor segmentation"),
    "no surface drawn": (change(GOOD, *SEGMENTATION, value=[]), "neither segmentation nor bbox"),
    "an unknown category": (change(GOOD, "annotations", 0, "category_id", value=99), "category 99"),
    "an unknown image": (change(GOOD, "annotations", 0, "image_id", value=99), "image 99"),
    "no image": (change(GOOD, "annotations", 0, "image_id", value=None), "image_id is None"),
    "an annotation twice": (change(GOOD, "annotations", 1, "id", value=1), "annotation 1 is there twice"),
    "two categories of one id": (change(GOOD, "categories", 0, "id", value=ROAD), "share the id 9"),
    "a category without a name": (change(GOOD, "categories", 0, "name", value=" "), "no name"),
    "two images of one id": (change(GOOD, "images", value=GOOD["images"] * 2), "share the id 42"),
    "an image without a name": (change(GOOD, "images", 0, "file_name", value=None), "no file_name"),
    "a name that is no frame's": (change(GOOD, "images", 0, "file_name", value="../x/photo.png"), "'photo.png'"),
    "a name that leaves its folder": (change(GOOD, "images", 0, "file_name", value="a/../.."), "'..'"),
    "an image of no size": (change(GOOD, "images", 0, "width", value=-1), "its width is -1"),
    "an image of half a pixel": (change(GOOD, "images", 0, "height", value=4.5), "its height is 4.5"),
    "an image of NaN pixels": (change(GOOD, "images", 0, "height", value=float("nan")), "its height is nan"),
    "a gigantic image": (change(GOOD, "images", 0, "height", value=10**9), "no camera has"),
    "no images": (change(GOOD, "images", value=[]), "lists no images"),
    "images of another kind": (change(GOOD, "images", value={"a": 1}), "no list of objects"),
    "annotations of another kind": (change(GOOD, "annotations", value=[1]), "no list of objects"),
    "other JSON": ({"version": "5.0", "shapes": []}, "not COCO's"),
    "detection results": ([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}], "detection results"),
    "a number": (7, "not COCO's"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_refused_in_one_sentence_that_names_the_file(tmp_path: Path, case: str) -> None:
    content, expected = BAD[case]
    path = write(tmp_path / "a.json", content)
    with pytest.raises(MayhemError) as caught:
        read_coco(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_good_document_is_good(tmp_path: Path, recordings: Path) -> None:
    index = imported(tmp_path, recordings, GOOD).index
    assert index.images[0].boxes == (BoxLabel(1, (1, 2, 4, 6)),)
    assert mask_of(index).all()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04", "zip archive"),
        (b"\n<?xml version='1.0'?><annotations/>", "import-cvat"),
        (b'{"images": [', "cut short"),
        (b"\xff\xfe\x00\xd8", "no JSON"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_files_that_are_no_json_are_named(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(MayhemError, match=expected) as caught:
        read_coco(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MayhemError, match=r"nowhere\.json"):
        read_coco(tmp_path / "nowhere.json")


def test_a_frame_that_is_not_in_the_recordings_is_named(tmp_path: Path, recordings: Path) -> None:
    with pytest.raises(MayhemError, match="'drive-x'"):
        imported(tmp_path, recordings, change(GOOD, "images", 0, "file_name", value="drive-x-000001.png"))
    with pytest.raises(MayhemError, match="only 5"):
        imported(tmp_path, recordings, change(GOOD, "images", 0, "file_name", value="drive-a-000005.png"))


def test_ids_and_sizes_are_numbers_however_they_are_written(tmp_path: Path, recordings: Path) -> None:
    content = document(
        {"category_id": "7", "bbox": [1, 2, 3, 4], "id": 1.0}, {"category_id": 3.0, "bbox": [5, 6, 7, 8]}
    )
    content["images"] = [{"id": 42.0, "file_name": NAME, "width": f"{WIDTH}", "height": float(HEIGHT)}]
    content["annotations"][1]["image_id"] = "42"
    boxes = imported(tmp_path, recordings, content).index.images[0].boxes
    assert boxes == (BoxLabel(2, (1, 2, 4, 6)), BoxLabel(1, (5, 6, 12, 14)))


@pytest.mark.parametrize("size", [{}, {"width": None, "height": None}, {"width": WIDTH}])
def test_a_size_that_is_not_said_is_the_frames(tmp_path: Path, recordings: Path, size: dict[str, Any]) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:9, 20:23] = 1
    content = document({"category_id": ROAD, "segmentation": text_rle(mask)})
    content["images"] = [{"id": 42, "file_name": NAME, **size}]
    path = write(tmp_path / "a.json", content)
    file = read_coco(path, frames=RecordedFrames(recordings))
    index = import_annotations([file], recordings).index
    assert (index.images[0].width, index.images[0].height) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(mask_of(index), mask)
    with pytest.raises(MayhemError, match="has no width and height"):
        read_coco(path)


def test_a_rotated_bbox_becomes_its_upright_hull(tmp_path: Path, recordings: Path) -> None:
    content = document(
        {"category_id": CAR, "bbox": [20, 20, 20, 8], "attributes": {"rotation": 90.0}},
        {"category_id": PERSON, "bbox": [20, 20, 8, 8], "attributes": {"occluded": False, "rotation": "45"}},
        {"category_id": PERSON, "bbox": [1, 2, 3, 4], "attributes": {"rotation": 0.0}},
    )
    first, second, third = (label.box for label in imported(tmp_path, recordings, content).index.images[0].boxes)
    assert first == pytest.approx((26, 14, 34, 34))
    assert second == pytest.approx((24 - 32**0.5, 24 - 32**0.5, 24 + 32**0.5, 24 + 32**0.5))
    assert third == (1, 2, 4, 6)


@pytest.mark.parametrize(
    "segmentation",
    [
        [LOWER_HALF],
        LOWER_HALF,
        [[[0, 24], [64, 24], [64, 48], [0, 48]]],
        [[0, 24], [64, 24], [64, 48], [0, 48]],
    ],
    ids=["parts", "numbers", "parts of points", "points"],
)
def test_one_polygon_in_every_nesting(tmp_path: Path, recordings: Path, segmentation: object) -> None:
    result = imported(tmp_path, recordings, document({"category_id": ROAD, "segmentation": segmentation}))
    assert mask_of(result.index).sum() == 24 * 64
    assert result.counts == ImportCounts()


def test_parts_that_cover_nothing_are_counted_and_the_others_taken(tmp_path: Path, recordings: Path) -> None:
    parts = [LOWER_HALF, [12.0, 12.0], [0, 4, 10, 7], [0, 0, 5, 5, 9, 9], []]
    content = document(
        {"category_id": ROAD, "segmentation": parts},
        {"category_id": CAR, "segmentation": [[1, 1, 5, 5], [1, 2, 9, 2, 5, 8]]},
        {"category_id": CAR, "segmentation": [[1, 1, 5, 5]]},
    )
    result = imported(tmp_path, recordings, content)
    assert mask_of(result.index).sum() == 24 * 64
    assert [label.box for label in result.index.images[0].boxes] == [(1, 2, 9, 8)]
    assert result.counts == ImportCounts(degenerate=6)
    hourglass = document({"category_id": ROAD, "segmentation": [[0, 0, 40, 40, 40, 0, 0, 40]]})
    assert mask_of(imported(tmp_path, recordings, hourglass).index).sum() == pytest.approx(800, rel=0.05)


def test_an_image_of_which_nothing_covers_anything_is_unlabelled(tmp_path: Path, recordings: Path) -> None:
    content = document({"category_id": ROAD, "segmentation": [[0, 47, 10, 7]], "bbox": [1, 2, 3, 4]})
    content["images"].append({"id": 43, "file_name": "drive-a-000004.png", "width": WIDTH, "height": HEIGHT})
    content["annotations"].append({"id": 2, "image_id": 43, "category_id": CAR, "bbox": [1, 2, 3, 4]})
    result = imported(tmp_path, recordings, content)
    assert [image.index for image in result.index.images] == [4]
    assert result.counts == ImportCounts(unlabelled=1, degenerate=1)


def test_keypoints_are_counted_beside_boxes_and_refused_alone(tmp_path: Path, recordings: Path) -> None:
    keypoints = {"category_id": PERSON, "keypoints": [10, 10, 2], "num_keypoints": 1}
    result = imported(tmp_path, recordings, document({**keypoints, "bbox": [1, 2, 3, 4]}))
    assert result.index.images[0].boxes == (BoxLabel(1, (1, 2, 4, 6)),)
    assert result.counts == ImportCounts(keypoints=1)
    with pytest.raises(MayhemError, match="annotation 1 of 'person' has neither bbox nor segmentation, only keypoints"):
        imported(tmp_path, recordings, document(keypoints))


def test_the_same_box_counts_once_and_a_crowd_of_its_place_beside_it(tmp_path: Path, recordings: Path) -> None:
    box = {"category_id": PERSON, "bbox": [1, 2, 3, 4]}
    result = imported(tmp_path, recordings, document(box, box, box, {**box, "iscrowd": 1}, {**box, "category_id": CAR}))
    assert [(label.category_id, label.is_crowd) for label in result.index.images[0].boxes] == [
        (1, False),
        (1, True),
        (2, False),
    ]
    assert result.counts == ImportCounts(repeated=2)


def test_an_image_is_found_by_its_first_name_where_roboflow_keeps_it(tmp_path: Path, recordings: Path) -> None:
    content = document({"category_id": CAR, "bbox": [1, 2, 3, 4]}, file_name="photo_png.rf.0f8b2c6d1e.jpg")
    content["images"][0]["extra"] = {"name": NAME}
    file = read_coco(write(tmp_path / "a.json", content), frames=RecordedFrames(recordings))
    assert [image.name for image in file.images] == [NAME]


OTHER_FORMATS = {
    "panoptic": (
        {"images": [], "categories": [], "annotations": [{"image_id": 1, "segments_info": [], "file_name": "a.png"}]},
        "panoptic format, whose masks lie in PNG files: export instances",
    ),
    "captions": ({"images": [], "annotations": [{"image_id": 1, "caption": "a car"}]}, "COCO's captions"),
    "images only": ({"images": [], "categories": []}, "images without annotations"),
    "Label Studio": ([{"id": 1, "data": {"image": "a"}, "annotations": []}], "Label Studio's own JSON: export"),
    "JSON-MIN": ([{"id": 1, "image": "a", "label": [], "annotator": 1}], "JSON-MIN"),
    "labelme": ({"version": "5.0", "flags": {}, "shapes": [], "imagePath": "a.png"}, "labelme's JSON"),
    "VIA": ({"a.png12": {"filename": "a.png", "regions": []}}, "VGG Image Annotator"),
    "a VIA project": ({"_via_settings": {}, "_via_img_metadata": {}}, "VGG Image Annotator"),
    "Supervisely": ({"description": "", "size": {"width": 1}, "objects": []}, "Supervisely's"),
    "CreateML": ([{"image": "a.png", "annotations": []}], "CreateML's"),
    "Datumaro": ({"info": {}, "categories": {}, "items": []}, "Datumaro's"),
    "BDD100K": ([{"name": "a", "labels": []}], "Scalabel's"),
    "detection results": ([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}], "detection results"),
}


@pytest.mark.parametrize("format_", OTHER_FORMATS)
def test_other_formats_are_named_as_what_they_are_with_what_to_do(tmp_path: Path, format_: str) -> None:
    content, expected = OTHER_FORMATS[format_]
    path = write(tmp_path / "a.json", content)
    with pytest.raises(MayhemError) as caught:
        read_coco(path)
    assert str(caught.value).startswith(f"{path} is ")
    assert expected in str(caught.value)
    assert any(word in str(caught.value) for word in ("export", "name the file", "name a file", "convert"))


def test_xml_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('<?xml version="1.0"?>\n<annotation><filename>a.png</filename></annotation>')
    with pytest.raises(MayhemError, match="is Pascal VOC's"):
        read_coco(path)
    path.write_text("<annotations/>")
    with pytest.raises(MayhemError, match="import it with `mayhem import-cvat`"):
        read_coco(path)


def test_a_box_far_outside_is_a_mistake(tmp_path: Path, recordings: Path) -> None:
    with pytest.raises(MayhemError, match="annotation 1: its bbox reaches far outside the image"):
        imported(tmp_path, recordings, document({"category_id": CAR, "bbox": [1, 2, 1e308, 4]}))
