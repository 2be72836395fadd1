"""Classes come from a class map, or from how labels are drawn, always in the same order."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets_drives import box_element, image_element, polygon_element, write_cvat, write_drive

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.datasets.annotations.classes import ClassMap, infer_class_map, read_class_map
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.importing import import_annotations
from mayhem_train.datasets.index import Category

FLOOR = polygon_element("floor", "0,0;9,0;9,9")


def class_map(tmp_path: Path, text: str) -> ClassMap:
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    return read_class_map(path)


def test_categories_number_things_first_then_surfaces(tmp_path: Path) -> None:
    classes = class_map(tmp_path, "{things: [car, agv], surfaces: [road], rename: {van: car}, ignore: [sky]}")
    assert classes == ClassMap(("car", "agv"), ("road",), {"van": "car"}, frozenset({"sky"}))
    assert classes.categories == (Category(1, "car", True), Category(2, "agv", True), Category(3, "road", False))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[car]", "mapping"),
        ("{things: [car], colours: [red]}", "keys out of"),
        ("{things: car}", "`things`"),
        ("{things: [1]}", "`things`"),
        ("{}", "at least one class"),
        ("{things: [car, car]}", "each once"),
        ("{things: [car], surfaces: [car]}", "each once"),
        ("{surfaces: [background]}", "'background'"),
        ("{things: [car], rename: {van: lorry}}", "'lorry'"),
        ("{things: [car], rename: [van]}", "`rename`"),
        ("{things: [car], ignore: {sky: 1}}", "`ignore`"),
    ],
)
def test_an_impossible_class_map_is_wrong_usage(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=r"classes\.yaml") as caught:
        class_map(tmp_path, text)
    assert reason in str(caught.value)


@pytest.mark.parametrize("text", ["{things: [car", "!!python/object/apply:os.system [ls]", "a: b: c"])
def test_a_class_map_that_is_no_plain_yaml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(MayhemError, match=r"classes\.yaml is no YAML") as caught:
        class_map(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_missing_class_map_is_named(tmp_path: Path) -> None:
    with pytest.raises(MayhemError, match=r"absent\.yaml"):
        read_class_map(tmp_path / "absent.yaml")


def test_without_a_map_boxes_are_things_and_polygons_surfaces_in_declared_order(tmp_path: Path) -> None:
    first = image_element("a-000000.png", box_element("person", 1, 1, 2, 2), FLOOR, box_element("agv", 1, 1, 2, 2))
    second = image_element("b-000000.png", box_element("crate", 1, 1, 2, 2), box_element("agv", 1, 1, 2, 2))
    files = [
        read_cvat(write_cvat(tmp_path / "1.xml", first, labels=["floor", "forklift", "agv", "person"])),
        read_cvat(write_cvat(tmp_path / "2.xml", second, labels=["crate", "agv"])),
    ]
    assert infer_class_map(files) == ClassMap(("agv", "person", "crate"), ("floor",))


def test_a_label_that_its_file_does_not_declare_is_refused_unless_a_map_says_what_it_is(tmp_path: Path) -> None:
    image = image_element("a-000000.png", box_element("car", 1, 1, 2, 2), box_element("caar", 1, 1, 2, 3))
    write_drive(tmp_path / "recordings", "a", 1)
    declared = [read_cvat(write_cvat(tmp_path / "1.xml", image, labels=["car", "person"]))]
    with pytest.raises(MayhemError) as caught:
        import_annotations(declared, tmp_path / "recordings")
    assert str(caught.value) == (
        f"{tmp_path / '1.xml'}, image a-000000.png has the label 'caar', which is none of those that the file declares "
        "('car', 'person'): correct it, or say in a class map what it is and pass that with --classes."
    )
    corrected = ClassMap(("car",), (), {"caar": "car"})
    (labelled,) = import_annotations(declared, tmp_path / "recordings", classes=corrected).index.images
    assert [label.category_id for label in labelled.boxes] == [1, 1]
    undeclared = [read_cvat(write_cvat(tmp_path / "2.xml", image))]
    assert infer_class_map(undeclared) == ClassMap(("car", "caar"), ())


def test_a_label_drawn_both_ways_asks_for_a_map(tmp_path: Path) -> None:
    image = image_element("a-000000.png", FLOOR, box_element("floor", 1, 1, 2, 2))
    file = read_cvat(write_cvat(tmp_path / "1.xml", image))
    with pytest.raises(MayhemError, match=r"'floor' .*1\.xml.*class map"):
        infer_class_map([file])


def test_nothing_drawn_at_all_is_refused(tmp_path: Path) -> None:
    file = read_cvat(write_cvat(tmp_path / "1.xml", image_element("a-000000.png"), labels=["floor"]))
    with pytest.raises(MayhemError, match=r"1\.xml"):
        infer_class_map([file])


def test_what_can_only_be_looked_at_is_named_with_its_count(tmp_path: Path) -> None:
    points, line = '<points label="tip" points="1,2"/>', '<polyline label="lane" points="1,2;3,4"/>'
    path = write_cvat(
        tmp_path / "a.xml", image_element("d-000000.png", points, line), image_element("d-000001.png", points)
    )
    with pytest.raises(MayhemError) as caught:
        infer_class_map([read_cvat(path)])
    assert str(caught.value) == (
        f"{path}: only 2 <points>, 1 <polyline> found, which cannot be trained on: draw boxes, polygons or masks."
    )


def test_background_alone_is_no_class(tmp_path: Path) -> None:
    path = write_cvat(tmp_path / "a.xml", image_element("d-000000.png", polygon_element("background", "0,0;9,0;9,9")))
    with pytest.raises(MayhemError, match="only 'background' is labelled, which is no class"):
        infer_class_map([read_cvat(path)])
