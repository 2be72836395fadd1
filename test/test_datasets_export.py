"""`mayhem export-labels`: what COCO and CVAT get is what the index holds, to the last bit and pixel."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets_drives import box_element, image_element, polygon_element, write_cvat, write_drive
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as rle_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mayhem_train.cli import main
from mayhem_train.datasets.annotations.coco import export_coco, read_coco
from mayhem_train.datasets.annotations.contours import keyhole_polygons
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.importing import import_annotations
from mayhem_train.datasets.annotations.shapes import BoxShape
from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex, LabelledImage, SurfaceLabel

CATEGORIES = (Category(1, "car", True), Category(2, "person", True), Category(3, "road", False))


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    write_drive(folder, "drive-a", 5)
    return folder


@pytest.fixture
def index(tmp_path: Path, recordings: Path) -> DatasetIndex:
    """Three images: boxes and a road with a hole and an island in it; a box only; nothing at all."""
    shapes = (
        polygon_element("road", "0,20;64,20;64,48;0,48"),
        polygon_element("background", "10.3,25;40,25.6;38,44;12,44", z_order=1),
        polygon_element("road", "20,30;30,30;30,40;20,40", z_order=2),
        box_element("car", 1.1, 2.2, 13.4, 24.7),
        box_element("person", 40.333333, 2, 50.1, 30.99),
    )
    path = write_cvat(
        tmp_path / "cvat.xml",
        image_element("drive-a-000000.png", *shapes),
        image_element("drive-a-000002.png", box_element("car", 0, 0, 64, 48)),
        image_element("drive-a-000003.png"),
    )
    return import_annotations([read_cvat(path)], recordings, empty_means_empty=True).index


def load(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def one_image(width: int, height: int, **labels: Any) -> DatasetIndex:
    image = LabelledImage(
        1, width, height, "drive-a", "/camera/image", 0, log_time_ns=5, stamp_ns=4, split="train", **labels
    )
    return DatasetIndex(CATEGORIES, (image,))


@pytest.mark.parametrize("polygons", [False, True])
def test_coco_to_index_to_coco_keeps_boxes_and_masks_exactly(
    tmp_path: Path, recordings: Path, index: DatasetIndex, polygons: bool
) -> None:
    export_coco(index, tmp_path / "first.json", polygons=polygons)
    again = import_annotations([read_coco(tmp_path / "first.json")], recordings, empty_means_empty=True).index
    assert again.categories == index.categories
    assert [image.boxes for image in again.images] == [image.boxes for image in index.images]
    assert [image.surfaces for image in again.images] == [image.surfaces for image in index.images]
    export_coco(again, tmp_path / "second.json", polygons=polygons)
    assert (tmp_path / "second.json").read_bytes() == (tmp_path / "first.json").read_bytes()


@settings(deadline=None)
@given(*[st.floats(0, 4000)] * 4)
def test_any_box_comes_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, x1: float, y1: float, x2: float, y2: float
) -> None:
    box = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    out = tmp_path_factory.getbasetemp() / "box.json"
    export_coco(one_image(8000, 8000, boxes=(BoxLabel(1, box),)), out, force=True)
    (shape,) = read_coco(out).images[0].shapes
    assert isinstance(shape, BoxShape)
    assert shape.box == box
    # Another program moves the box and knows nothing of corners.
    content = json.loads(out.read_text())
    content["annotations"][0]["bbox"] = [1, 2, 3, 4]
    out.write_text(json.dumps(content))
    (shape,) = read_coco(out).images[0].shapes
    assert isinstance(shape, BoxShape)
    assert shape.box == (1, 2, 4, 6)


@pytest.mark.parametrize("corners", [None, 3, "a", [1, 2], ["1", 2, 4, 6], [1, 2, 4, float("nan")], [[1], 2, 3, 4]])
def test_corners_of_another_meaning_do_not_count(tmp_path: Path, corners: object) -> None:
    export_coco(one_image(80, 80, boxes=(BoxLabel(1, (1, 2, 4, 6)),)), tmp_path / "coco.json")
    content = json.loads((tmp_path / "coco.json").read_text())
    content["annotations"][0]["corners"] = corners
    (tmp_path / "coco.json").write_text(json.dumps(content))
    (shape,) = read_coco(tmp_path / "coco.json").images[0].shapes
    assert isinstance(shape, BoxShape)
    assert shape.box == (1, 2, 4, 6)


@settings(deadline=None)
@given(*[st.integers(0, 10**6)] * 4)
def test_widths_are_written_as_short_as_they_were_read(
    tmp_path_factory: pytest.TempPathFactory, x: int, y: int, width: int, height: int
) -> None:
    bbox = [x / 1000, y / 1000, width / 1000, height / 1000]
    label = BoxLabel(1, (bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]))
    out = tmp_path_factory.getbasetemp() / "width.json"
    export_coco(one_image(4000, 4000, boxes=(label,)), out, force=True)
    assert json.loads(out.read_text())["annotations"][0]["bbox"] == bbox


@settings(deadline=None)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.integers(0, 1)))
def test_polygons_cover_exactly_the_pixels_of_any_mask(mask: np.ndarray) -> None:
    polygons = [ring.ravel().tolist() for ring in keyhole_polygons(mask)]
    if not mask.any():
        assert polygons == []
        return
    covered = rle_codec.decode(rle_codec.merge(rle_codec.frPyObjects(polygons, *mask.shape)))
    np.testing.assert_array_equal(covered, mask)


def test_pycocotools_loads_the_export(tmp_path: Path, index: DatasetIndex) -> None:
    for polygons in (False, True):
        export_coco(index, tmp_path / "coco.json", polygons=polygons, force=True)
        coco = load(tmp_path / "coco.json")
        images = coco.loadImgs(coco.getImgIds())
        assert [image["file_name"] for image in images] == [f"drive-a-{i:06d}.png" for i in (0, 2, 3)]
        assert [(c["name"], c["isthing"]) for c in coco.loadCats(coco.getCatIds())] == [
            ("car", 1),
            ("person", 1),
            ("road", 0),
        ]
        (road,) = coco.loadAnns(coco.getAnnIds(catIds=[3]))
        np.testing.assert_array_equal(coco.annToMask(road), index.mask(index.images[0]))
        assert isinstance(road["segmentation"], list) == polygons
        (person,) = coco.loadAnns(coco.getAnnIds(catIds=[2]))
        assert person["bbox"][:2] == [40.333333, 2]
        assert person["segmentation"] == []


def test_pycocotools_scores_perfect_detections_as_perfect(tmp_path: Path, index: DatasetIndex) -> None:
    """Its evaluation of boxes against the export of the very same labels, and of what misses one of three."""
    export_coco(index, tmp_path / "coco.json")
    coco = load(tmp_path / "coco.json")
    found = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9}
        for a in coco.dataset["annotations"]
        if a["category_id"] != 3
    ]
    for detections, recall in ((found, 1.0), (found[1:], 0.75)):
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(coco, coco.loadRes(detections), "bbox")
            evaluation.params.catIds = [1, 2]
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        # Of two cars and one person a car is missed: the mean of 1/2 and 1.
        assert evaluation.stats[8] == pytest.approx(recall)


def test_where_a_frame_is_stays_in_the_export_but_no_cvat_file_does(tmp_path: Path, index: DatasetIndex) -> None:
    export_coco(index, tmp_path / "coco.json")
    content = json.loads((tmp_path / "coco.json").read_text())
    first = content["images"][0]
    assert (first["recording"], first["index"], first["stamp_ns"], first["split"]) == (
        "drive-a",
        0,
        index.images[0].stamp_ns,
        index.images[0].split,
    )
    assert "<image" not in (tmp_path / "coco.json").read_text()
    assert DatasetIndex.load(tmp_path / "coco.json").images[0].boxes == index.images[0].boxes


def test_an_extracted_image_keeps_its_own_file_name(tmp_path: Path) -> None:
    export_coco(one_image(8, 8, file_name="images/drive-a-000000.jpg"), tmp_path / "coco.json")
    assert json.loads((tmp_path / "coco.json").read_text())["images"][0]["file_name"] == "images/drive-a-000000.jpg"


def test_a_crowd_stays_one(tmp_path: Path) -> None:
    export_coco(one_image(8, 8, boxes=(BoxLabel(1, (1, 1, 2, 2), is_crowd=True),)), tmp_path / "coco.json")
    assert json.loads((tmp_path / "coco.json").read_text())["annotations"][0]["iscrowd"] == 1


def test_cvat_gets_every_shape_as_it_was_drawn(tmp_path: Path, recordings: Path, index: DatasetIndex) -> None:
    index.save(tmp_path / "index.json")
    assert (
        main(["export-labels", str(tmp_path / "index.json"), "--format", "cvat", "--out", str(tmp_path / "out")]) == 0
    )
    (written,) = (tmp_path / "out").glob("*.xml")
    before, after = read_cvat(tmp_path / "cvat.xml"), read_cvat(written)
    assert [image.name for image in after.images] == [image.name for image in before.images]
    again = import_annotations([after], recordings, empty_means_empty=True).index
    assert [image.boxes for image in again.images] == [image.boxes for image in index.images]
    assert [image.surfaces for image in again.images] == [image.surfaces for image in index.images]


def test_labels_that_came_from_coco_go_to_cvat(tmp_path: Path, recordings: Path, index: DatasetIndex) -> None:
    export_coco(index, tmp_path / "coco.json")
    again = import_annotations([read_coco(tmp_path / "coco.json")], recordings, empty_means_empty=True).index
    again.save(tmp_path / "index.json")
    assert (
        main(["export-labels", str(tmp_path / "index.json"), "--format", "cvat", "--out", str(tmp_path / "out")]) == 0
    )
    (written,) = (tmp_path / "out").glob("*.xml")
    back = import_annotations([read_cvat(written)], recordings, empty_means_empty=True).index
    assert [image.boxes for image in back.images] == [image.boxes for image in index.images]
    assert [image.surfaces for image in back.images] == [image.surfaces for image in index.images]


@pytest.mark.parametrize("surfaces", ["rle", "polygon"])
def test_the_command_writes_coco(
    tmp_path: Path, index: DatasetIndex, surfaces: str, capsys: pytest.CaptureFixture[str]
) -> None:
    index.save(tmp_path / "index.json")
    arguments = [str(tmp_path / "index.json"), "--format", "coco", "--out", str(tmp_path / "coco.json")]
    assert main(["export-labels", *arguments, "--surfaces", surfaces]) == 0
    assert f"wrote {tmp_path / 'coco.json'}" in capsys.readouterr().out
    (road,) = (a for a in load(tmp_path / "coco.json").dataset["annotations"] if a["category_id"] == 3)
    assert isinstance(road["segmentation"], dict) == (surfaces == "rle")


def test_nothing_is_overwritten_and_the_index_never(
    tmp_path: Path, index: DatasetIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "index.json"
    index.save(path)
    written = path.read_bytes()
    for form in ("coco", "cvat"):
        for force in ([], ["--force"]):
            assert main(["export-labels", str(path), "--format", form, "--out", str(path), *force]) == 2
            assert "would be deleted" in capsys.readouterr().err
        assert main(["export-labels", str(path), "--format", form, "--out", str(tmp_path), "--force"]) == 2
    assert path.read_bytes() == written
    (tmp_path / "coco.json").write_text("mine")
    arguments = ["export-labels", str(path), "--format", "coco", "--out", str(tmp_path / "coco.json")]
    assert main(arguments) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0
    assert len(load(tmp_path / "coco.json").getImgIds()) == 3


def test_how_surfaces_are_written_is_no_choice_with_cvat(
    tmp_path: Path, index: DatasetIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    index.save(tmp_path / "index.json")
    arguments = [str(tmp_path / "index.json"), "--format", "cvat", "--out", str(tmp_path / "out")]
    assert main(["export-labels", *arguments, "--surfaces", "polygon"]) == 2
    assert "--surfaces is for COCO" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, "", "[1]", "{}", '{"images": 3}'])
def test_what_is_no_index_is_named(tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "index.json"
    if content is not None:
        path.write_text(content)
    assert main(["export-labels", str(path), "--format", "coco", "--out", str(tmp_path / "coco.json")]) == 1
    assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "coco.json").exists()


def test_surface_labels_are_compressed_text(tmp_path: Path) -> None:
    rle = rle_codec.encode(np.asfortranarray(np.eye(8, dtype=np.uint8)))
    surface = SurfaceLabel(3, {"size": [8, 8], "counts": rle["counts"].decode("ascii")})
    export_coco(one_image(8, 8, surfaces=(surface,)), tmp_path / "coco.json")
    assert json.loads((tmp_path / "coco.json").read_text())["annotations"][0]["segmentation"] == surface.rle
