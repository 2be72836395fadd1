"""CVAT's files go into the index and come out again as they were, without the images that are gone from it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pytest
from datasets_drives import (
    box_element,
    image_element,
    polygon_element,
    track_element,
    tracked_box,
    write_cvat,
    write_cvat_video,
    write_drive,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recordings_writing import image as image_message
from recordings_writing import write as write_recording

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.datasets.annotations.classes import ClassMap
from mayhem_train.datasets.annotations.cvat.exporting import export_cvat
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.importing import ImportedDataset, import_annotations
from mayhem_train.datasets.annotations.shapes import BoxShape
from mayhem_train.datasets.index import DatasetIndex, Origin, SourceDocument

DATA = Path(os.environ.get("MAYHEM_DATA", Path(__file__).parents[2] / "shared" / "data"))
CAR = box_element("car", 1, 2, 30, 40)
ROAD = polygon_element("road", "0,24;64,24;64,48;0,48")

Tree = tuple[str, dict[str, str], str, str, list[Any]]


def tree(element: Element) -> Tree:
    """All that an element says: its name, attributes, text, what follows it, and its children."""
    return element.tag, element.attrib, element.text or "", element.tail or "", [tree(child) for child in element]


def tree_of(path: Path) -> Tree:
    return tree(ElementTree.parse(path).getroot())


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for stem in ("drive-a", "drive-b"):
        write_drive(folder, stem, 10)
    return folder


def saved(index: DatasetIndex, folder: Path) -> DatasetIndex:
    """The index as it comes back from the disk."""
    index.save(folder / "index.json", force=True)
    loaded = DatasetIndex.load(folder / "index.json")
    assert loaded == index
    assert loaded.to_coco() == index.to_coco()
    return loaded


def exported(index: DatasetIndex, folder: Path) -> list[Path]:
    return list(export_cvat(saved(index, folder), folder / "out", force=True))


def imported(path: Path, recordings: Path, **options: Any) -> ImportedDataset:
    return import_annotations([read_cvat(path)], recordings, **options)


EVERYTHING = """\
<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <name>a &amp; b</name>
      <subset>Train</subset>
      <bugtracker></bugtracker>
      <labels>
        <label>
          <name>car</name>
          <color>#fa3253</color>
          <attributes>
            <attribute>
              <name>colour</name>
              <values>red&#10;blue</values>
            </attribute>
          </attributes>
        </label>
      </labels>
    </task>
    <dumped>2026-01-01 00:00:00+00:00</dumped>
  </meta>
  <image id="7" name="drive-a-000001.png" subset="Train" task_id="3" width="64" height="48">
    <box label="car" source="manual" occluded="1" xtl="1.00" ytl="2.00" xbr="30.00" ybr="40.50" rotation="12.34"
      z_order="5" group_id="9" future="&#13;&#10; &quot;">
      <attribute name="colour">red
 and &lt;blue&gt;&#13;</attribute>
    </box>
    <polygon label="road" source="file" occluded="0" points="0.00,24.00;64.00,24.00;64.00,48.00" z_order="-1">
    </polygon>
    <polygon label="background" source="file" occluded="0" points="9.0,30.0;20,30;20,40" z_order="0"></polygon>
    <mask label="road" source="semi-auto" occluded="0" rle="2, 1,3" left="5" top="6" width="3" height="2" z_order="0">
    </mask>
    <ellipse label="road" source="manual" occluded="0" cx="20.00" cy="20.00" rx="8.00" ry="4.00" z_order="0"/>
    <cuboid label="crate" source="manual" occluded="0" xtl1="1.0"/>
    <skeleton label="person" source="manual" z_order="0">
      <points label="tip" source="manual" outside="0" occluded="0" points="1.00,2.00"/>
    </skeleton>
    <tag label="rain" source="manual" group_id="2">
      <attribute name="heavy">true</attribute>
    </tag>
  </image>
  <image id="8" name="folder/drive-a-000000.png" width="64" height="48">
  </image>
  <image id="9" name="drive-a-000004.png" width="64" height="48">
    <tag label="rain" source="manual"></tag>
  </image>
  <image id="10" name="drive-a-000003.png" width="64" height="48">
    <box label="car" source="manual" occluded="0" xtl="70.00" ytl="2.00" xbr="90.00" ybr="40.50" z_order="0">
    </box>
  </image>
  <something from="the future">kept</something>
</annotations>
"""
CLASSES = ClassMap(("vehicle",), ("road",), {"car": "vehicle"}, frozenset({"crate", "person"}))


def test_a_file_of_images_comes_out_as_it_went_in(tmp_path: Path, recordings: Path) -> None:
    (path := tmp_path / "a.xml").write_text(EVERYTHING, encoding="utf-8", newline="\n")
    result = imported(path, recordings, classes=CLASSES)
    assert result.counts.unlabelled == 2  # without shapes, and with a tag only
    assert [image.index for image in result.index.images] == [1, 3]
    (out,) = exported(result.index, tmp_path)
    assert out == tmp_path / "out" / "a.xml"
    assert tree_of(out) == tree_of(path)
    again = import_annotations([read_cvat(out)], recordings, classes=CLASSES)
    assert again == result


def test_images_that_are_gone_from_the_index_are_gone_from_the_file(tmp_path: Path, recordings: Path) -> None:
    (path := tmp_path / "a.xml").write_text(EVERYTHING, encoding="utf-8", newline="\n")
    index = imported(path, recordings, classes=CLASSES).index
    (out,) = exported(replace(index, images=index.images[1:]), tmp_path)
    expected = ElementTree.parse(path).getroot()
    expected.remove(expected.findall("image")[0])
    assert tree_of(out) == tree(expected)


def test_empty_images_that_are_in_the_index_come_out_too(tmp_path: Path, recordings: Path) -> None:
    (path := tmp_path / "a.xml").write_text(EVERYTHING, encoding="utf-8", newline="\n")
    index = imported(path, recordings, classes=CLASSES, empty_means_empty=True).index
    assert len(index.images) == 4
    (out,) = exported(index, tmp_path)
    assert tree_of(out) == tree_of(path)


def test_each_file_comes_out_under_its_name(tmp_path: Path, recordings: Path) -> None:
    paths = [
        write_cvat(tmp_path / "1" / "annotations.xml", image_element("drive-a-000001.png", CAR)),
        write_cvat(tmp_path / "2" / "annotations.xml", image_element("drive-b-000001.png", CAR)),
        write_cvat(tmp_path / "b.xml", image_element("drive-b-000002.png"), image_element("drive-b-000003.png")),
        write_cvat(tmp_path / "c.xml", image_element("drive-b-000004.png", CAR)),
    ]
    index = import_annotations([read_cvat(path) for path in paths], recordings).index
    outs = exported(index, tmp_path)
    assert [out.name for out in outs] == ["annotations.xml", "annotations-2.xml", "b.xml", "c.xml"]
    assert [tree_of(out) for out in outs] == [tree_of(path) for path in paths]
    # Where all images of a file are gone it is not written; one that never had any in the index is.
    assert [out.name for out in exported(replace(index, images=index.images[:1]), tmp_path)] == [
        "annotations.xml",
        "b.xml",
    ]


VIDEO = (
    track_element(
        "car",
        tracked_box(1, 0, 0, 10, 10, more='future="1"'),
        tracked_box(2, 1, 1, 11, 11, keyframe=0),
        tracked_box(3, 2, 2, 12, 12, keyframe=0),
        tracked_box(4, 3, 3, 13, 13),
        tracked_box(5, 3, 3, 13, 13, outside=1),
        more='group_id="4"',
    ),
    track_element("car", tracked_box(8, 5, 5, 9, 9), tracked_box(9, 6, 6, 9, 9, keyframe=0)),
)


def test_a_file_of_tracks_comes_out_as_it_went_in(tmp_path: Path, recordings: Path) -> None:
    path = write_cvat_video(tmp_path / "a.xml", *VIDEO)
    for options in ({}, {"empty_means_empty": True}):
        index = imported(path, recordings, **options).index
        (out,) = exported(index, tmp_path)
        assert tree_of(out) == tree_of(path)


def boxes_of(path: Path) -> dict[str, list[tuple[float, ...]]]:
    return {
        image.name: [shape.box for shape in image.shapes if isinstance(shape, BoxShape)]
        for image in read_cvat(path).images
        if image.shapes
    }


def test_frames_that_are_gone_from_the_index_show_nothing_and_the_others_what_they_did(
    tmp_path: Path, recordings: Path
) -> None:
    path = write_cvat_video(tmp_path / "a.xml", *VIDEO)
    index = imported(path, recordings).index
    kept = replace(index, images=tuple(image for image in index.images if image.index not in (3, 8, 9)))
    (out,) = exported(kept, tmp_path)
    assert boxes_of(out) == {name: box for name, box in boxes_of(path).items() if int(name[-10:-4]) not in (3, 8, 9)}
    (track,) = ElementTree.parse(out).getroot().findall("track")  # the other one is gone whole
    assert [(box.get("frame"), box.get("keyframe"), box.get("outside")) for box in track] == [
        ("1", "1", "0"),
        ("2", "1", "0"),  # for CVAT reads keyframes only
        ("3", "1", "1"),
        ("4", "1", "0"),
        ("5", "1", "1"),
    ]
    assert track.attrib["group_id"] == "4"
    assert track[0].attrib["future"] == "1"


def test_bare_keyframes_lose_frames_without_the_others_moving(tmp_path: Path, recordings: Path) -> None:
    keyframes = track_element("car", tracked_box(0, 0, 0, 10, 10), tracked_box(9, 9, 18, 19, 28))
    other = track_element("car", tracked_box(1, 5, 5, 9, 9), tracked_box(2, 7, 7, 9, 9, outside=1))
    path = write_cvat_video(tmp_path / "a.xml", keyframes, other)
    index = imported(path, recordings).index
    assert len(index.images) == 10
    kept = replace(index, images=tuple(image for image in index.images if image.index not in (4, 5, 9)))
    (out,) = exported(kept, tmp_path)
    assert boxes_of(out) == {name: box for name, box in boxes_of(path).items() if int(name[-10:-4]) not in (4, 5, 9)}
    written, untouched = ElementTree.parse(out).getroot().findall("track")
    assert {box.get("keyframe") for box in written} == {"1"}
    assert tree(untouched) == tree(ElementTree.parse(path).getroot().findall("track")[1])


def test_images_that_did_not_come_from_cvat_are_drawn_from_their_labels(tmp_path: Path, recordings: Path) -> None:
    path = write_cvat(tmp_path / "labels.xml", image_element("drive-a-000001.png", ROAD, CAR))
    index = imported(path, recordings).index
    (image,) = index.images
    crowd = replace(image.boxes[0], is_crowd=True)
    other = replace(image, id=2, index=2, origin=None, boxes=(*image.boxes, crowd))
    original, generated = exported(replace(index, images=(image, other)), tmp_path)
    assert (original.name, generated.name) == ("labels.xml", "labels-2.xml")
    file = read_cvat(generated)
    assert file.labels == ("car", "road")
    assert [image.name for image in file.images] == ["drive-a-000002.png"]
    _, *boxes = file.images[0].shapes
    assert boxes == [BoxShape("car", (1, 2, 30, 40)), BoxShape("car", (1, 2, 30, 40), is_crowd=True)]
    (again,) = import_annotations([file], recordings).index.images
    assert (again.boxes, again.surfaces) == (other.boxes, other.surfaces)


def test_a_video_and_the_extracted_labels_of_another_drive_come_out_side_by_side(
    tmp_path: Path, recordings: Path
) -> None:
    video = write_cvat_video(tmp_path / "video.xml", *VIDEO)
    images = write_cvat(tmp_path / "images.xml", image_element("drive-b-000001.png", CAR))
    index = import_annotations([read_cvat(video), read_cvat(images)], recordings).index
    assert {path.name: tree_of(path) for path in exported(index, tmp_path)} == {
        "video.xml": tree_of(video),
        "images.xml": tree_of(images),
    }


@pytest.mark.parametrize("name", ["../evil.xml", "/etc/evil.xml", "..\\evil.xml", "", ".xml", "..", "a\0b.xml"])
def test_a_document_whose_name_leaves_the_folder_is_refused(tmp_path: Path, recordings: Path, name: str) -> None:
    index = imported(write_cvat(tmp_path / "a.xml", image_element("drive-a-000001.png", CAR)), recordings).index
    evil = replace(index, documents=(replace(index.documents[0], name=name),))
    with pytest.raises(MayhemError, match="no file name"):
        export_cvat(evil, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"a.xml"}


@pytest.mark.parametrize(
    ("document", "image", "reason"),
    [
        ("<annotations><image>", "<image/>", "not XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations><image/></annotations>', "<image/>", "refused"),
        ("<annotations><image/></annotations>", "<image", "not XML"),
        ("<annotations/>", "<image/>", "no place"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path: Path, recordings: Path, document: str, image: str, reason: str) -> None:
    index = imported(write_cvat(tmp_path / "a.xml", image_element("drive-a-000001.png", CAR)), recordings).index
    damaged = DatasetIndex(
        index.categories,
        (replace(index.images[0], origin=Origin(0, 0, image)),),
        (SourceDocument("a.xml", document),),
    )
    with pytest.raises(MayhemError, match=reason):
        export_cvat(damaged, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_without_force(tmp_path: Path, recordings: Path) -> None:
    index = imported(write_cvat(tmp_path / "a.xml", image_element("drive-a-000001.png", CAR)), recordings).index
    (out,) = export_cvat(index, tmp_path / "out")
    out.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        export_cvat(index, tmp_path / "out")
    assert out.read_text() == "mine"
    export_cvat(index, tmp_path / "out", force=True)
    assert out.read_text() != "mine"
    with pytest.raises(MayhemError, match="no images"):
        export_cvat(DatasetIndex(index.categories, ()), tmp_path / "none")


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn")) | st.sampled_from("\t\n\r&<>\"'"), max_size=6
)
names = st.sampled_from(["source", "group_id", "z_index", "future", "é", "x-y", "subset"])
pixels = st.integers(0, 6400).map(lambda value: f"{value / 100:.2f}")


def element(tag: str, said: dict[str, str], children: list[Element], text: str, tail: str) -> Element:
    made = Element(tag, said)
    made.text, made.tail = text, tail
    made.extend(children)
    return made


free = st.recursive(
    st.builds(element, st.sampled_from(["name", "é"]), st.dictionaries(names, texts), st.just([]), texts, texts),
    lambda children: st.builds(
        element, st.sampled_from(["task", "a"]), st.dictionaries(names, texts), st.lists(children), texts, texts
    ),
    max_leaves=5,
)
attributes = st.lists(
    st.builds(element, st.just("attribute"), texts.map(lambda t: {"name": t}), st.just([]), texts, texts), max_size=2
)


@st.composite
def drawn_shapes(draw: st.DrawFn) -> Element:
    kind = draw(st.sampled_from(["box", "polygon", "mask", "tag", "ellipse"]))
    said = {"label": "car" if kind == "box" else "road", **draw(st.dictionaries(names, texts))}
    if draw(st.booleans()):
        said |= {"occluded": draw(st.sampled_from("01")), "z_order": str(draw(st.integers(-5, 5)))}
    if kind == "box":
        x, y = sorted((draw(pixels), draw(pixels)), key=float), sorted((draw(pixels), draw(pixels)), key=float)
        said |= {"xtl": x[0], "ytl": y[0], "xbr": x[1], "ybr": y[1], "rotation": draw(pixels)}
    elif kind == "polygon":
        said["points"] = ";".join(f"{draw(pixels)},{draw(pixels)}" for _ in range(draw(st.integers(3, 5))))
    elif kind == "mask":
        said |= {"rle": draw(st.sampled_from(["2, 4", "0,6", "1, 2, 3"])), "left": "5", "top": "6"}
        said |= {"width": "3", "height": "2"}
    elif kind == "ellipse":
        said |= {"cx": draw(pixels), "cy": draw(pixels), "rx": "7.5", "ry": "3"}
    return element(kind, said, draw(attributes), draw(texts), draw(texts))


@st.composite
def documents(draw: st.DrawFn) -> Element:
    meta = element("meta", {}, [draw(free)], draw(texts), draw(texts))
    images = []
    for number in draw(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True)):
        said = {"id": str(number), "name": f"drive-a-{number:06d}.png", "width": "64", "height": "48"}
        shapes = draw(st.lists(drawn_shapes(), max_size=3))
        images.append(element("image", said | draw(st.dictionaries(names, texts)), shapes, draw(texts), draw(texts)))
    others = draw(st.lists(free, max_size=2))
    children = [meta, *draw(st.permutations([*images, *others]))]
    return element("annotations", {}, children, draw(texts), "")


@given(documents(), st.booleans(), st.sets(st.integers(0, 9)))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_file_of_images_comes_out_as_it_went_in(
    tmp_path: Path, recordings: Path, document: Element, empty: bool, gone: set[int]
) -> None:
    path = tmp_path / "any.xml"
    text = ElementTree.tostring(document, encoding="unicode").replace("\r", "&#13;")
    path.write_text(text, encoding="utf-8", newline="\n")
    if all(shape.tag == "tag" for image in document.findall("image") for shape in image):
        return  # nothing to import
    index = imported(path, recordings, classes=ClassMap(("car",), ("road",)), empty_means_empty=empty).index
    (out,) = exported(index, tmp_path)
    assert tree_of(out) == tree_of(path)
    kept = tuple(image for image in index.images if image.index not in gone)
    if kept:
        (out,) = exported(replace(index, images=kept), tmp_path)
        left_out = {image.name for image in index.images} - {image.name for image in kept}
        expected = ElementTree.parse(path).getroot()
        expected[:] = [child for child in expected if child.get("name") not in left_out]
        assert tree_of(out) == tree(expected)


@st.composite
def tracks(draw: st.DrawFn) -> Element:
    shapes = []
    for frame in sorted(draw(st.sets(st.integers(0, 9), min_size=1, max_size=5))):
        x, y = sorted((draw(pixels), draw(pixels)), key=float), sorted((draw(pixels), draw(pixels)), key=float)
        said = {"frame": str(frame), "keyframe": draw(st.sampled_from("110")), "outside": draw(st.sampled_from("001"))}
        said |= {"xtl": x[0], "ytl": y[0], "xbr": x[1], "ybr": y[1], **draw(st.dictionaries(names, texts))}
        shapes.append(element("box", said, draw(attributes), draw(texts), draw(texts)))
    return element("track", {"id": "3", "label": "car", **draw(st.dictionaries(names, texts))}, shapes, "", draw(texts))


@given(st.lists(tracks(), min_size=1, max_size=3), st.sets(st.integers(0, 9)))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_file_of_tracks_comes_out_as_it_went_in(
    tmp_path: Path, recordings: Path, drawn: list[Element], gone: set[int]
) -> None:
    text = "".join(ElementTree.tostring(track, encoding="unicode").replace("\r", "&#13;") for track in drawn)
    path = write_cvat_video(tmp_path / "any.xml", text)
    if not boxes_of(path):
        return  # nothing to import
    index = imported(path, recordings).index
    (out,) = exported(index, tmp_path)
    assert tree_of(out) == tree_of(path)
    kept = replace(index, images=tuple(image for image in index.images if image.index not in gone))
    if kept.images:
        (out,) = exported(kept, tmp_path)
        assert boxes_of(out) == {name: box for name, box in boxes_of(path).items() if int(name[-10:-4]) not in gone}


def test_the_real_drives_come_out_byte_by_byte(tmp_path: Path) -> None:
    folder = DATA / "camvid"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    paths = sorted((folder / "annotations").glob("*.xml"))
    index = import_annotations([read_cvat(path) for path in paths], folder).index
    outs = exported(index, tmp_path)
    assert sorted(out.name for out in outs) == [path.name for path in paths]
    for out in outs:
        assert out.read_bytes() == (folder / "annotations" / out.name).read_bytes()


def test_a_real_warehouse_export_comes_out_byte_by_byte_with_its_counts(tmp_path: Path) -> None:
    path = DATA / "cvat" / "warehouse-2022-10-19-10-44-31.xml"
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    file = read_cvat(path)
    # Its recording is not public: grey frames of its name and size, as many as it names, stand in for it.
    grey = np.full((480, 640, 3), 128, np.uint8)
    last = max(int(image.name[-10:-4]) for image in file.images)
    frames = [image_message("/camera", 1000 * n, 1000 * n, grey[:, :, :], "rgb8") for n in range(last + 1)]
    write_recording(tmp_path / "recordings", "2022-10-19-10-44-31", "mcap-zstd", frames)
    index = import_annotations([file], tmp_path / "recordings").index
    names = {category.id: category.name for category in index.categories}
    boxes = [names[label.category_id] for image in index.images for label in image.boxes]
    assert (len(index.images), {(image.width, image.height) for image in index.images}) == (32, {(640, 480)})
    assert {name: boxes.count(name) for name in sorted(set(boxes))} == {"agv": 15, "box": 23, "person": 78}
    assert [names[label.category_id] for image in index.images for label in image.surfaces] == ["floor"] * 32
    (out,) = exported(index, tmp_path)
    assert out.read_bytes() == path.read_bytes()


def test_an_index_without_documents_is_read_as_before(tmp_path: Path, recordings: Path) -> None:
    path = write_cvat(tmp_path / "a.xml", image_element("drive-a-000001.png", CAR))
    coco = imported(path, recordings).index.to_coco()
    del coco["info"]["documents"], coco["images"][0]["origin"]
    (tmp_path / "old.json").write_text(json.dumps(coco))
    old = DatasetIndex.load(tmp_path / "old.json")
    assert old.to_coco() == coco
    assert (old.documents, old.images[0].origin) == ((), None)
    for info in ({}, {"documents": []}):
        assert DatasetIndex.from_coco({**coco, "info": info}) == old
    for info in (None, [1], "text", {"documents": [{"name": "a"}]}, {"documents": 1}):
        (tmp_path / "old.json").write_text(json.dumps({**coco, "info": info}))
        with pytest.raises(MayhemError, match="no dataset index"):
            DatasetIndex.load(tmp_path / "old.json")
    for origin in ({"document": 0, "place": 0, "xml": ""}, {"document": -1, "place": 0, "xml": ""}, {}, 3):
        (tmp_path / "old.json").write_text(json.dumps({**coco, "images": [{**coco["images"][0], "origin": origin}]}))
        with pytest.raises(MayhemError, match="no dataset index"):
            DatasetIndex.load(tmp_path / "old.json")
