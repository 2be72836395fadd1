"""A CVAT file of images is read as it was drawn, or refused in one sentence that names it."""

from __future__ import annotations

import math
import os
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from datasets_drives import box_element, image_element, polygon_element, write_cvat

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.shapes import BoxShape, MaskShape, OtherShape, PolygonShape

DATA = Path(os.environ.get("MAYHEM_DATA", Path(__file__).parents[2] / "shared" / "data"))
BOX = box_element("car", 1, 2, 3, 4)


def refusal(path: Path) -> str:
    """The sentence a file is refused with: one line that names the file."""
    with pytest.raises(MayhemError) as caught:
        read_cvat(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def with_shape(tmp_path: Path, shape: str) -> Path:
    return write_cvat(tmp_path / "a.xml", image_element("drive-000000.png", shape))


def test_boxes_polygons_and_masks_are_read_as_drawn(tmp_path: Path) -> None:
    mask = '<mask label="road" rle="3, 2, 1" left="5" top="6" width="3" height="2" z_order="2"></mask>'
    path = write_cvat(
        tmp_path / "a.xml",
        image_element(
            "drive-000007.png",
            box_element("car", 1.5, 2, 30.25, 40, 'z_order="1"'),
            polygon_element("road", "0.50,1.00;10,1;10,20.75"),
            mask,
            '<tag label="rain"></tag>',
            '<points label="nose" points="1,2"></points>',
        ),
        labels=["road", "car"],
    )
    file = read_cvat(path)
    assert file.labels == ("road", "car")
    (image,) = file.images
    assert (image.name, image.width, image.height) == ("drive-000007.png", 64, 48)
    box, polygon, painted, points = image.shapes
    assert box == BoxShape("car", (1.5, 2.0, 30.25, 40.0), 1)
    assert isinstance(polygon, PolygonShape)
    np.testing.assert_array_equal(polygon.points, [(0.5, 1), (10, 1), (10, 20.75)])
    assert isinstance(painted, MaskShape)
    assert (painted.runs.tolist(), painted.window, painted.z_order) == ([3, 2, 1], (5, 6, 3, 2), 2)
    assert points == OtherShape("nose", "points")


def test_a_rotated_box_becomes_its_upright_hull(tmp_path: Path) -> None:
    path = with_shape(tmp_path, box_element("car", 10, 10, 30, 20, 'rotation="90"'))
    (shape,) = read_cvat(path).images[0].shapes
    assert isinstance(shape, BoxShape)
    assert shape.box == pytest.approx((15, 5, 25, 25))


def test_a_rotation_of_nothing_leaves_a_box_exactly_where_it_is(tmp_path: Path) -> None:
    (shape,) = (
        read_cvat(with_shape(tmp_path, box_element("car", 0.1, 0.2, 0.7, 0.3, 'rotation="0.00"'))).images[0].shapes
    )
    assert shape == BoxShape("car", (0.1, 0.2, 0.7, 0.3))


@pytest.mark.parametrize("rotation", [0, 30, 90, 200.5])
def test_an_ellipse_is_an_area_with_exactly_its_hull(tmp_path: Path, rotation: float) -> None:
    path = with_shape(
        tmp_path, f'<ellipse label="oil" cx="30" cy="20" rx="16" ry="8" rotation="{rotation}" z_order="4"/>'
    )
    (shape,) = read_cvat(path).images[0].shapes
    assert isinstance(shape, PolygonShape)
    assert shape.z_order == 4
    angle = math.radians(rotation)
    reach = math.hypot(16 * math.cos(angle), 8 * math.sin(angle)), math.hypot(16 * math.sin(angle), 8 * math.cos(angle))
    np.testing.assert_allclose(shape.points.max(0), np.array((30, 20)) + reach)
    np.testing.assert_allclose(shape.points.min(0), np.array((30, 20)) - reach)
    x, y = shape.points.T
    area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    assert area == pytest.approx(math.pi * 16 * 8, rel=0.005)


def test_shapes_say_who_drew_them_whether_something_is_before_them_and_their_attributes(tmp_path: Path) -> None:
    said = '<attribute name="colour">red &amp; blue</attribute><attribute name="empty"></attribute>'
    shapes = [
        f'<box label="car" source="auto" occluded="1" xtl="0" ytl="0" xbr="3" ybr="4">{said}</box>',
        f'<polygon label="road" source="auto" occluded="1" points="0,0;3,0;3,3">{said}</polygon>',
        f'<mask label="road" source="auto" occluded="1" rle="0, 4" left="0" top="0" width="2" height="2">{said}</mask>',
        f'<cuboid label="crate" source="auto" occluded="1">{said}</cuboid>',
        box_element("car", 0, 0, 3, 4),
    ]
    *found, plain = read_cvat(with_shape(tmp_path, "".join(shapes))).images[0].shapes
    assert len(found) == 4
    for shape in found:
        assert (shape.occluded, shape.source) == (True, "auto")
        assert shape.attributes == (("colour", "red & blue"), ("empty", ""))
    assert (plain.occluded, plain.source, plain.attributes) == (False, "", ())


@pytest.mark.parametrize("head", ["task", "job", "project"])
def test_labels_of_tasks_jobs_and_projects_are_read(tmp_path: Path, head: str) -> None:
    path = write_cvat(tmp_path / "a.xml", image_element("drive-000000.png", BOX), labels=["road", "car"])
    path.write_text(path.read_text().replace("task>", f"{head}>"))
    assert read_cvat(path).labels == ("road", "car")


@pytest.mark.parametrize("folders", ["drive/camera/", "drive\\camera\\", "drive\\camera/"])
def test_folders_before_an_images_name_do_not_matter(tmp_path: Path, folders: str) -> None:
    path = write_cvat(tmp_path / "a.xml", image_element(f"{folders}drive-000003.png", BOX))
    assert read_cvat(path).images[0].name == "drive-000003.png"


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in members.items():
            written.writestr(name.replace("__", "/").replace("_xml", ".xml"), content)
    return path


def test_the_archive_cvat_exports_is_read_without_unpacking_it(tmp_path: Path) -> None:
    content = write_cvat(tmp_path / "a.xml", image_element("drive-000003.png", BOX)).read_bytes()
    path = archive(tmp_path / "a.zip", images__other_xml=b"no annotations", annotations_xml=content)
    before = sorted(tmp_path.iterdir())
    assert read_cvat(path).images[0].shapes == (BoxShape("car", (1, 2, 3, 4)),)
    only = archive(tmp_path / "b.zip", **{".._______evil_xml": content})  # the only one, whatever it is called
    assert read_cvat(only).images[0].name == "drive-000003.png"
    assert sorted(tmp_path.iterdir()) == [*before, only]


def test_archives_that_cannot_be_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write_cvat(tmp_path / "a.xml", image_element("drive-000003.png", BOX)).read_bytes()
    assert "no XML files" in refusal(archive(tmp_path / "none.zip", images__a=b""))
    assert "2 XML files" in refusal(archive(tmp_path / "two.zip", one_xml=content, two_xml=content))
    assert "not CVAT's" in refusal(archive(tmp_path / "other.zip", annotations_xml=b"<annotation/>"))
    whole = archive(tmp_path / "whole.zip", annotations_xml=content).read_bytes()
    (cut := tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    assert "damaged zip archive" in refusal(cut)
    start = whole.index(b"annotations.xml") + len("annotations.xml")
    (flipped := tmp_path / "flipped.zip").write_bytes(whole[:start] + bytes(20) + whole[start + 20 :])
    assert "damaged zip archive" in refusal(flipped)
    encrypted = bytearray(whole)
    encrypted[6] |= 1
    encrypted[whole.rindex(b"PK\x01\x02") + 8] |= 1
    (locked := tmp_path / "locked.zip").write_bytes(encrypted)
    assert "encrypted" in refusal(locked)
    monkeypatch.setattr("mayhem_train.datasets.annotations.cvat.documents._LARGEST_MEMBER", 10_000)
    bomb = archive(tmp_path / "bomb.zip", annotations_xml=b"<annotations>" + b" " * 10_000_000)
    assert bomb.stat().st_size < 20_000
    assert "larger than" in refusal(bomb)


def test_elements_nested_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        f"<annotations>{'<a>' * 100_000}{'</a>' * 100_000}{image_element('drive-000000.png', BOX)}</annotations>"
    )
    assert "nests elements deeper" in refusal(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.xml")


def test_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "directory" in refusal(tmp_path / "folder")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"<annotations><version>1.1</version><image", "cut short"),
        (b"just text", "not XML"),
        (b"PK\x03\x04 and so on", "damaged zip archive"),
        (b"<annotation><folder>VOC</folder></annotation>", "not CVAT's: it is Pascal VOC's"),
        (b'\xef\xbb\xbf {"images": []}', "is JSON: import COCO's with `mayhem import-coco`"),
        (b"<annotations><version>2.0</version></annotations>", "not CVAT's"),
        (b"<annotations><version>1.1</version></annotations>", "lists no <image>"),
        (b'<annotations><version>1.1</version><track id="0" label="car"/></annotations>', "how large the frames"),
        (b'<?xml version="1.0" encoding="no-such"?><annotations/>', "not XML"),
    ],
)
def test_what_is_no_cvat_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(content)
    assert reason in refusal(path)


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;&x;&x;"><!ENTITY z "&y;&y;&y;&y;&y;&y;">]>',
        '<!DOCTYPE a [<!ENTITY z SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a SYSTEM "http://example.org/a.dtd">',
    ],
)
def test_entities_and_document_types_are_refused(tmp_path: Path, declaration: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(f"{declaration}<annotations><version>1.1</version><meta>&z;</meta></annotations>")
    assert "declares a document type or entities" in refusal(path)


@pytest.mark.parametrize(
    "name",
    [
        "../x-000001.png",
        "../../etc/passwd-000001.png",
        "a/../x-000001.png",
        "/etc/x-000001.png",
        "a//x-000001.png",
        "..\\x-000001.png",
        "a/",
        ".x-000001.png",
        "x.png",
        "",
    ],
)
def test_image_names_that_are_no_frame_names_are_refused(tmp_path: Path, name: str) -> None:
    assert repr(name) in refusal(write_cvat(tmp_path / "a.xml", image_element(name, BOX)))


def test_a_nul_in_a_name_is_refused(tmp_path: Path) -> None:
    for nul in ("\0", "&#0;"):
        assert "not XML" in refusal(write_cvat(tmp_path / "a.xml", image_element(f"x{nul}-000001.png", BOX)))


@pytest.mark.parametrize("size", [(0, 48), (-64, 48)])
def test_impossible_image_sizes_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    image = image_element("drive-000000.png", BOX, width=size[0], height=size[1])
    assert f"{size[0]}x{size[1]}" in refusal(write_cvat(tmp_path / "a.xml", image))


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ('<box label="car" xtl="nan" ytl="0" xbr="3" ybr="4"/>', "xtl='nan'"),
        ('<box label="car" xtl="1_0" ytl="0" xbr="30" ybr="4"/>', "xtl='1_0'"),
        ('<box label="car" xtl="\u0661" ytl="0" xbr="30" ybr="4"/>', "xtl='\u0661'"),
        (f'<box label="car" xtl="{500 * "1"}" ytl="0" xbr="3" ybr="4"/>', f"xtl='{37 * '1'}...{38 * '1'}'"),
        (f'<box label="{500 * "c"}" xtl="3" ytl="0" xbr="1" ybr="4"/>', f"of '{37 * 'c'}...{38 * 'c'}' is reversed"),
        ('<box label="car" xtl="1" ytl="0" xbr="3" ybr="4" z_order="1_0"/>', "z_order='1_0'"),
        (polygon_element("road", "1,1;2_0,2;3,3"), "points that are not"),
        (polygon_element("road", "1,1;\u0662,2;3,3"), "points that are not"),
        ('<mask label="road" rle="1_0, 6" left="0" top="0" width="4" height="4"/>', "run lengths that are no whole"),
        ('<box label="car" xtl="0" ytl="0" xbr="inf" ybr="4"/>', "xbr='inf'"),
        ('<box label="car" xtl="0" ytl="0" xbr="3"/>', "ybr=None"),
        ('<box label="car" xtl="0" ytl="0" xbr="3" ybr="4" rotation="x"/>', "rotation='x'"),
        ('<box label="car" xtl="0" ytl="0" xbr="3" ybr="4" z_order="1.5"/>', "z_order='1.5'"),
        (box_element("car", 30, 2, 3, 4), "reversed"),
        (box_element("car", 3, 20, 30, 4), "reversed"),
        ('<box xtl="0" ytl="0" xbr="3" ybr="4"/>', "no label"),
        (polygon_element("road", "1,1;2,2"), "fewer than three"),
        (polygon_element("road", ""), "not x,y"),
        (polygon_element("road", "1,1;2,2;3"), "not x,y"),
        (polygon_element("road", "1,1,1;2,2,2;3,3,3"), "three points"),
        (polygon_element("road", "1,1;nan,2;3,3"), "finite"),
        (polygon_element("road", "1,1;2,inf;3,3"), "finite"),
        (polygon_element("road", "1,1;2e9,2;3,3"), "far outside"),
        ('<mask label="road" rle="1, 2, 2" left="0" top="0" width="3" height="2"/>', "3x2"),
        ('<mask label="road" rle="1, 2, 4" left="0" top="0" width="3" height="2"/>', "3x2"),
        ('<mask label="road" rle="7, -3, 2" left="0" top="0" width="3" height="2"/>', "3x2"),
        ('<mask label="road" rle="a, b" left="0" top="0" width="3" height="2"/>', "whole numbers"),
        ('<mask label="road" rle="99999999999999999999" left="0" top="0" width="3" height="2"/>', "whole numbers"),
        ('<mask label="road" rle="" left="0" top="0" width="3" height="2"/>', "whole numbers"),
        ('<mask label="road" rle="6" left="62" top="0" width="3" height="2"/>', "leaves the image"),
        ('<mask label="road" rle="6" left="0" top="-1" width="3" height="2"/>', "leaves the image"),
        ('<mask label="road" rle="6" left="0" top="0" width="3"/>', "height=None"),
        ('<ellipse label="oil" cx="9" cy="9" rx="0" ry="4"/>', "radii of 0 and 4"),
        ('<ellipse label="oil" cx="9" cy="nan" rx="3" ry="4"/>', "cy='nan'"),
        ('<ellipse label="oil" cx="9" cy="9" rx="3e9" ry="4"/>', "far outside"),
    ],
)
def test_shapes_that_cannot_be_are_refused(tmp_path: Path, shape: str, reason: str) -> None:
    sentence = refusal(with_shape(tmp_path, shape))
    assert reason in sentence
    assert "drive-000000.png" in sentence


@pytest.mark.parametrize(
    ("name", "images", "counts"),
    [
        ("camvid/annotations/camvid-0001TP.xml", 62, {"car": 178, "pedestrian": 118, "bicyclist": 48, "road": 113}),
        ("camvid/annotations/camvid-0006R0.xml", 101, {"car": 391, "pedestrian": 107, "bicyclist": 12, "road": 349}),
        ("camvid/annotations/camvid-0016E5.xml", 204, {"car": 545, "pedestrian": 532, "bicyclist": 107, "road": 204}),
        (
            "camvid/annotations/camvid-0016E5-val.xml",
            101,
            {"car": 156, "pedestrian": 161, "bicyclist": 200, "road": 101},
        ),
        ("cvat/warehouse-2022-10-19-10-44-31.xml", 32, {"person": 78, "box": 23, "agv": 15, "floor": 32}),
    ],
)
def test_real_files_hold_exactly_what_their_text_says(name: str, images: int, counts: dict[str, int]) -> None:
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is not on this machine")
    file = read_cvat(DATA / name)
    assert len(file.images) == images
    assert Counter(shape.label for image in file.images for shape in image.shapes) == counts


@pytest.mark.parametrize("box", [(1, 2, "1e308", 4), ("-1e308", 2, 3, 4), (1, 2, 3, 641), (1, -640.5, 3, 4)])
@pytest.mark.parametrize("rotation", ["", 'rotation="30"'])
def test_a_box_that_reaches_far_outside_its_image_is_refused_as_a_polygon_is(
    tmp_path: Path, box: tuple[float, float, float, float], rotation: str
) -> None:
    assert refusal(with_shape(tmp_path, box_element("car", *box, rotation))).endswith(
        "image drive-000000.png: the <box> of 'car' has a point far outside the image: draw it again in CVAT."
    )


def test_a_box_may_lie_outside_its_image_as_far_as_a_polygon(tmp_path: Path) -> None:
    (shape,) = read_cvat(with_shape(tmp_path, box_element("car", -640, 2, 640, 640))).images[0].shapes
    assert shape == BoxShape("car", (-640, 2, 640, 640))


def test_a_file_that_may_not_be_read_asks_for_its_permissions(tmp_path: Path) -> None:
    path = with_shape(tmp_path, BOX)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        assert refusal(path).endswith("(Permission denied): check its permissions.")
    finally:
        os.seteuid(user)


def test_long_names_are_shortened_where_they_are_refused(tmp_path: Path) -> None:
    for name in (5000 * "n", f"../{5000 * 'n'}-000001.png"):
        sentence = refusal(write_cvat(tmp_path / "a.xml", image_element(name)))
        assert len(sentence) < len(str(tmp_path)) + 200
        assert sentence.endswith("name it as it was exported.")


def project(tmp_path: Path, *names: str) -> Path:
    """The file of a project whose tasks, 4 and 5, have images of these names."""
    images = [
        image_element(name, box_element("car", 1, 1, 9, 9)).replace("<image", f'<image task_id="{4 + (place > 0)}"')
        for place, name in enumerate(names)
    ]
    return write_cvat(tmp_path / "project.xml", *images)


def test_a_number_that_cvat_gave_a_name_of_two_tasks_is_taken_off(tmp_path: Path) -> None:
    names = ["drive-a-000001.png", "drive-a-000001_1.png", "sub/drive-a-000002_2_1.JPG"]
    images = read_cvat(project(tmp_path, *names)).images
    assert [image.name for image in images] == ["drive-a-000001.png", "drive-a-000001.png", "drive-a-000002.png"]
    assert 'name="drive-a-000001_1.png"' in images[1].original  # and goes back to CVAT as it came
