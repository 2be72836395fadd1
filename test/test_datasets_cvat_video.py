"""What tracks show on each frame of a video, whichever frames of it a task has, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets_drives import (
    TOPIC,
    box_element,
    image_element,
    track_element,
    tracked_box,
    write_cvat,
    write_cvat_video,
    write_drive,
)

from mayhem_ros.errors import MayhemError
from mayhem_train.cli import main
from mayhem_train.datasets.annotations.classes import ClassMap
from mayhem_train.datasets.annotations.counts import ImportCounts
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.importing import import_annotations
from mayhem_train.datasets.annotations.shapes import BoxShape, MaskShape, OtherShape, PolygonShape, Shape
from mayhem_train.datasets.index import DatasetIndex


def shown(path: Path, **options: object) -> dict[str, list[Shape]]:
    """The shapes of every frame on which something is visible, by the frame's name."""
    return {image.name: list(image.shapes) for image in read_cvat(path, **options).images if image.shapes}  # type: ignore[arg-type]


def boxes(path: Path) -> dict[int, tuple[float, ...]]:
    """The only box of each frame, by the frame's index."""
    found = {}
    for name, shapes in shown(path).items():
        (shape,) = shapes
        assert isinstance(shape, BoxShape)
        found[int(name[-10:-4])] = shape.box
    return found


def refusal(path: Path, **options: object) -> str:
    """The sentence a file is refused with: one line that names the file."""
    with pytest.raises(MayhemError) as caught:
        read_cvat(path, **options)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_a_dump_of_every_frame_is_taken_as_it_stands(tmp_path: Path) -> None:
    track = track_element(
        "car",
        tracked_box(2, 0, 0, 10, 10),
        tracked_box(3, 1.5, 1, 11, 12, keyframe=0),
        tracked_box(4, 9, 9, 20, 20, more='rotation="90.00"'),
        tracked_box(5, 9, 9, 20, 20, outside=1),
        tracked_box(8, 30, 30, 40, 40),
        tracked_box(9, 31, 31, 41, 41, keyframe=0),
    )
    assert boxes(write_cvat_video(tmp_path / "a.xml", track)) == {
        2: (0, 0, 10, 10),
        3: (1.5, 1, 11, 12),
        4: pytest.approx((9, 9, 20, 20)),
        8: (30, 30, 40, 40),
        9: (31, 31, 41, 41),
    }


def test_frames_that_were_deleted_from_a_task_are_not_interpolated(tmp_path: Path) -> None:
    track = track_element(
        "car", tracked_box(0, 0, 0, 10, 10), tracked_box(1, 0, 0, 10, 10, keyframe=0), tracked_box(5, 4, 4, 14, 14)
    )
    assert set(boxes(write_cvat_video(tmp_path / "a.xml", track))) == {0, 1, 5}


def deleted(path: Path) -> list[int]:
    return [int(image.name[-10:-4]) for image in read_cvat(path).images if image.is_deleted]


def test_a_frame_that_a_track_skips_was_deleted(tmp_path: Path) -> None:
    skips = track_element(
        "car",
        tracked_box(0, 0, 0, 9, 9),
        tracked_box(1, 0, 0, 9, 9, keyframe=0),  # 2 and 3 are gone
        tracked_box(4, 0, 0, 9, 9, keyframe=0),
        tracked_box(5, 0, 0, 9, 9, outside=1),  # nothing is visible on 6, which may be deleted or not
        tracked_box(7, 0, 0, 9, 9),  # 8 and 9 are gone: it has no end
    )
    assert deleted(write_cvat_video(tmp_path / "a.xml", skips)) == [2, 3, 8, 9]
    shows = track_element("car", tracked_box(3, 0, 0, 9, 9), tracked_box(4, 0, 0, 9, 9, outside=1))
    assert deleted(write_cvat_video(tmp_path / "a.xml", skips, shows)) == [2, 8, 9]


def test_a_shape_on_one_frame_says_nothing_of_the_later_ones_where_cvat_leaves_out_its_end(tmp_path: Path) -> None:
    other = track_element("car", tracked_box(0, 0, 0, 9, 9), tracked_box(1, 0, 0, 9, 9, keyframe=0))
    other = other.replace("</track>", tracked_box(2, 0, 0, 9, 9, outside=1) + "</track>")
    single = track_element("car", tracked_box(8, 0, 0, 9, 9))
    assert deleted(write_cvat_video(tmp_path / "a.xml", other, single)) == []
    early = track_element("car", tracked_box(6, 0, 0, 9, 9))
    assert deleted(write_cvat_video(tmp_path / "a.xml", other, early)) == [7, 8, 9]


def test_deleted_frames_are_those_of_the_tasks_step(tmp_path: Path) -> None:
    boxes = tracked_box(5, 0, 0, 9, 9), tracked_box(10, 0, 0, 9, 9, keyframe=0), tracked_box(20, 0, 0, 9, 9, keyframe=0)
    path = write_cvat_video(tmp_path / "a.xml", track_element("car", *boxes), start=5, stop=27, frame_filter="step=5")
    assert deleted(path) == [15, 25]


def test_frames_between_bare_keyframes_were_not_deleted(tmp_path: Path) -> None:
    track = track_element("car", tracked_box(0, 0, 0, 9, 9), tracked_box(5, 0, 0, 9, 9))
    assert deleted(write_cvat_video(tmp_path / "a.xml", track)) == []


def test_boxes_between_bare_keyframes_are_interpolated_until_they_end(tmp_path: Path) -> None:
    track = track_element(
        "car",
        tracked_box(1, 0, 0, 10, 10),
        tracked_box(5, 8, 4, 14, 18),
        tracked_box(7, 10, 6, 16, 20, outside=1),
    )
    assert boxes(write_cvat_video(tmp_path / "a.xml", track)) == {
        1: (0, 0, 10, 10),
        2: (2, 1, 11, 12),
        3: (4, 2, 12, 14),
        4: (6, 3, 13, 16),
        5: (8, 4, 14, 18),
        6: (9, 5, 15, 19),
    }


def test_the_last_of_several_keyframes_holds_to_the_tasks_end(tmp_path: Path) -> None:
    track = track_element("car", tracked_box(6, 0, 0, 10, 10), tracked_box(7, 1, 1, 11, 11))
    assert boxes(write_cvat_video(tmp_path / "a.xml", track)) == {
        6: (0, 0, 10, 10),
        7: (1, 1, 11, 11),
        8: (1, 1, 11, 11),
        9: (1, 1, 11, 11),
    }


def test_a_shape_of_one_frame_stays_on_it_though_cvat_leaves_out_its_end_before_the_last_frame(tmp_path: Path) -> None:
    single = track_element("car", tracked_box(8, 0, 0, 10, 10))
    held = track_element("car", tracked_box(7, 0, 0, 10, 10))
    assert set(boxes(write_cvat_video(tmp_path / "a.xml", single))) == {8}
    assert set(boxes(write_cvat_video(tmp_path / "a.xml", held))) == {7, 8, 9}


@pytest.mark.parametrize(
    ("start", "end", "hull"),
    # A box of 20 x 10 about (20, 15), half way: at 0 and 90 degrees it is upright.
    [(350, 10, (10, 10, 30, 20)), (10, 350, (10, 10, 30, 20)), (60, 120, (15, 5, 25, 25))],
)
def test_a_box_turns_the_shorter_way_round(tmp_path: Path, start: float, end: float, hull: tuple[float, ...]) -> None:
    track = track_element(
        "car",
        tracked_box(0, 10, 10, 30, 20, more=f'rotation="{start}"'),
        tracked_box(2, 10, 10, 30, 20, more=f'rotation="{end}"'),
        tracked_box(3, 10, 10, 30, 20, outside=1),
    )
    assert boxes(write_cvat_video(tmp_path / "a.xml", track))[1] == pytest.approx(hull)


def polygon(frame: int, points: str, outside: int = 0) -> str:
    return f'<polygon frame="{frame}" keyframe="1" outside="{outside}" points="{points}" z_order="3"/>'


def test_polygons_of_as_many_points_are_interpolated_others_hold(tmp_path: Path) -> None:
    track = track_element(
        "road",
        polygon(0, "0,0;10,0;10,10"),
        polygon(2, "2,4;12,4;12,14"),
        polygon(4, "0,0;10,0;10,10;0,10"),
        polygon(5, "0,0;1,0;1,1", outside=1),
    )
    found = shown(write_cvat_video(tmp_path / "a.xml", track))
    points = []
    for shapes in found.values():
        (shape,) = shapes
        assert isinstance(shape, PolygonShape)
        assert shape.z_order == 3
        points.append(shape.points.tolist())
    assert points == [
        [[0, 0], [10, 0], [10, 10]],
        [[1, 2], [11, 2], [11, 12]],
        [[2, 4], [12, 4], [12, 14]],
        [[2, 4], [12, 4], [12, 14]],
        [[0, 0], [10, 0], [10, 10], [0, 10]],
    ]


def test_masks_hold_until_the_next_keyframe(tmp_path: Path) -> None:
    first, second = (
        f'<mask frame="{frame}" outside="{outside}" rle="1, 3" left="{left}" top="0" width="2" height="2"/>'
        for frame, outside, left in ((0, 0, 5), (2, 1, 9))
    )
    found = shown(write_cvat_video(tmp_path / "a.xml", track_element("road", first, second)))
    assert list(found) == ["drive-a-000000.png", "drive-a-000001.png"]
    for (shape,) in found.values():
        assert isinstance(shape, MaskShape)
        assert (shape.runs.tolist(), shape.window) == ([1, 3], (5, 0, 2, 2))


def test_shapes_say_what_their_track_and_their_keyframes_say(tmp_path: Path) -> None:
    def box(frame: int, occluded: int, attributes: str) -> str:
        return (
            f'<box frame="{frame}" keyframe="1" outside="0" occluded="{occluded}" xtl="0" ytl="0" xbr="4" ybr="4" '
            f'z_order="2">{attributes}</box>'
        )

    red, fast = '<attribute name="colour">red</attribute>', '<attribute name="speed">fast</attribute>'
    slow = '<attribute name="speed">slow</attribute>'
    track = track_element("car", box(6, 0, red + fast), box(8, 1, slow))
    found = [shape for (shape,) in shown(write_cvat_video(tmp_path / "a.xml", track)).values()]
    assert [shape.occluded for shape in found] == [False, False, True, True]
    assert {shape.source for shape in found} == {"manual"}
    assert [dict(shape.attributes)["speed"] for shape in found] == ["fast", "fast", "slow", "slow"]
    assert [dict(shape.attributes)["colour"] for shape in found] == ["red"] * 4
    assert {shape.z_order for shape in found if isinstance(shape, BoxShape)} == {2}


def test_numbers_are_the_videos_whatever_the_task_starts_with_or_leaves_out(tmp_path: Path) -> None:
    track = track_element("car", tracked_box(10, 0, 0, 10, 10), tracked_box(20, 10, 10, 20, 20))
    path = write_cvat_video(tmp_path / "a.xml", track, start=5, stop=27, frame_filter="step=5")
    assert [image.name for image in read_cvat(path).images] == [f"drive-a-{i:06d}.png" for i in (5, 10, 15, 20, 25)]
    assert boxes(path) == {10: (0, 0, 10, 10), 15: (5, 5, 15, 15), 20: (10, 10, 20, 20), 25: (10, 10, 20, 20)}


@pytest.mark.parametrize("frame", [12, 30])
def test_a_frame_that_the_task_has_not_is_refused(tmp_path: Path, frame: int) -> None:
    track = track_element("car", tracked_box(frame, 0, 0, 10, 10))
    path = write_cvat_video(tmp_path / "a.xml", track, start=5, stop=27, frame_filter="step=5")
    assert f"frame {frame}" in refusal(path)
    assert "5 to 25, every 5th" in refusal(path)


def test_an_end_beyond_the_task_is_no_mistake(tmp_path: Path) -> None:
    track = track_element("car", tracked_box(9, 0, 0, 10, 10), tracked_box(10, 0, 0, 10, 10, outside=1))
    assert set(boxes(write_cvat_video(tmp_path / "a.xml", track))) == {9}


@pytest.mark.parametrize("frames", [(3, 3), (3, 2)])
def test_a_track_that_repeats_a_frame_or_goes_backwards_is_refused(tmp_path: Path, frames: tuple[int, int]) -> None:
    track = track_element("car", *(tracked_box(frame, 0, 0, 10, 10) for frame in frames))
    sentence = refusal(write_cvat_video(tmp_path / "a.xml", track))
    assert f"frame {frames[1]} after frame 3" in sentence
    assert "track 0 of 'car'" in sentence


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (tracked_box(-1, 0, 0, 9, 9), "frame -1"),
        ('<box keyframe="1" outside="0" xtl="0" ytl="0" xbr="4" ybr="4"/>', "frame=None"),
        ('<box frame="1.5" keyframe="1" outside="0" xtl="0" ytl="0" xbr="4" ybr="4"/>', "frame='1.5'"),
        ('<box frame="1_0" keyframe="1" outside="0" xtl="0" ytl="0" xbr="4" ybr="4"/>', "frame='1_0'"),
        (tracked_box(0, 0, 0, 9, 9).replace('xbr="9"', 'xbr="1_2"') + tracked_box(4, 0, 0, 9, 9), "xbr='1_2'"),
        (tracked_box(1, float("nan"), 0, 9, 9), "xtl='nan'"),
        (tracked_box(1, 9, 0, 0, 9), "reversed"),
        (tracked_box(0, 0, 0, 9, 9) + '<box frame="2" keyframe="1" xtl="a" ytl="0" xbr="9" ybr="9"/>', "xtl='a'"),
        (polygon(1, "0,0;1,1"), "fewer than three"),
        ('<mask frame="1" keyframe="1" outside="0" rle="1, 2" left="0" top="0" width="2" height="2"/>', "2x2"),
    ],
)
def test_shapes_that_cannot_be_are_refused(tmp_path: Path, shape: str, reason: str) -> None:
    assert reason in refusal(write_cvat_video(tmp_path / "a.xml", track_element("car", shape)))


def test_a_track_without_a_label_is_refused(tmp_path: Path) -> None:
    track = f'<track id="4" source="manual">{tracked_box(1, 0, 0, 9, 9)}</track>'
    assert "no label" in refusal(write_cvat_video(tmp_path / "a.xml", track))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<stop_frame>9<", "<stop_frame>999999999999<", "more than any task"),
        ("<stop_frame>9<", "<stop_frame>many<", "'many'"),
        ("<start_frame>0<", "<start_frame>-3<", "'-3'"),
        ("<frame_filter><", "<frame_filter>step=0<", "'step=0'"),
        ("<frame_filter><", "<frame_filter>every other<", "'every other'"),
        ("<width>64<", "<width>0<", "0x48"),
        ("original_size", "another_size", "CVAT for images 1.1"),
        ("drive-a.mp4", "../..", "'..'"),
    ],
)
def test_a_head_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = write_cvat_video(tmp_path / "a.xml", track_element("car", tracked_box(1, 0, 0, 9, 9)))
    path.write_text(path.read_text().replace(old, new))
    assert reason in refusal(path)


def test_frames_without_end_are_refused_or_not_walked_through(tmp_path: Path) -> None:
    far = track_element("car", tracked_box(8, 0, 0, 9, 9), tracked_box(10**15, 0, 0, 9, 9, outside=1))
    assert set(boxes(write_cvat_video(tmp_path / "a.xml", far))) == {8, 9}
    path = write_cvat_video(tmp_path / "b.xml", track_element("car", tracked_box(10**30, 0, 0, 9, 9)))
    path.write_text(path.read_text().replace("<stop_frame>9</stop_frame>", ""))
    assert "more than any task" in refusal(path)


def test_without_a_last_frame_the_task_ends_with_what_is_visible(tmp_path: Path) -> None:
    track = track_element("car", tracked_box(1, 0, 0, 9, 9), tracked_box(3, 0, 0, 9, 9))
    path = write_cvat_video(tmp_path / "a.xml", track)
    path.write_text(path.read_text().replace("<stop_frame>9</stop_frame>", ""))
    assert [image.name[-10:-4] for image in read_cvat(path).images] == ["000000", "000001", "000002", "000003"]
    path.write_text(path.read_text().replace("<mode>", "<size>6</size><mode>"))
    assert len(read_cvat(path).images) == 6


def test_a_video_is_the_recording_of_its_name_unless_another_is_named(tmp_path: Path) -> None:
    path = write_cvat_video(tmp_path / "a.xml", track_element("car", tracked_box(9, 0, 0, 9, 9)), source="Clip.v2.MP4")
    for recordings, stem in [
        ({}, "Clip.v2"),
        ({"": "drive-b"}, "drive-b"),
        ({"a.xml": "drive-c", "": "drive-b"}, "drive-c"),
        ({"a task": "drive-d", "a.xml": "drive-c"}, "drive-d"),
        ({"Clip.v2.MP4": "drive-e", "a task": "drive-d"}, "drive-e"),
        ({"another.xml": "drive-b"}, "Clip.v2"),
    ]:
        assert list(shown(path, video_recordings=recordings)) == [f"{stem}-000009.png"]
    path.write_text(path.read_text().replace("Clip.v2.MP4", ""))
    assert list(shown(path)) == ["a task-000009.png"]
    path.write_text(path.read_text().replace("a task", ""))
    assert "--video-recording" in refusal(path)


def test_a_job_counts_as_its_task_does(tmp_path: Path) -> None:
    path = write_cvat_video(
        tmp_path / "a.xml", track_element("car", tracked_box(20, 0, 0, 9, 9), tracked_box(22, 2, 2, 11, 11)), stop=24
    )
    text = path.read_text().replace("task>", "job>").replace("<name>a task</name>", "").replace("drive-a.mp4", "")
    path.write_text(text.replace("<start_frame>0<", "<start_frame>20<"))
    names = [image.name for image in read_cvat(path, {"": "drive-b"}).images]
    assert names == [f"drive-b-{index:06d}.png" for index in range(20, 25)]
    assert "--video-recording" in refusal(path)


def project(tmp_path: Path, *children: str) -> Path:
    """Two videos of six frames each; CVAT shifts the second one's numbers by what the first one takes."""
    tasks = "".join(
        f"<task><id>{number}</id><name>t{number}</name><size>3</size><subset>{subset}</subset>"
        "<start_frame>1</start_frame><stop_frame>5</stop_frame><frame_filter>step=2</frame_filter><original_size>"
        f"<width>64</width><height>48</height></original_size><source>drive-{number}.mp4</source></task>"
        for number, subset in ((4, "Train"), (5, "Train"), (6, "Validation"))
    )
    path = tmp_path / "a.xml"
    path.write_text(
        f"<annotations><version>1.1</version><meta><project><tasks>{tasks}</tasks><labels><label><name>car</name>"
        f"</label></labels></project></meta>{''.join(children)}</annotations>"
    )
    return path


def test_the_tasks_of_a_project_have_their_own_recordings(tmp_path: Path) -> None:
    first = track_element("car", tracked_box(3, 1, 1, 9, 9), tracked_box(5, 1, 1, 9, 9), more='task_id="4"')
    # 1 + 2 * 3 frames before it: the second task's frames 1, 3 and 5 are 8, 10 and 12.
    second = track_element("car", tracked_box(12, 1, 1, 9, 9), more='task_id="5"')
    third = track_element("car", tracked_box(5, 1, 1, 9, 9), more='task_id="6"')  # another subset counts anew
    path = project(tmp_path, first, second, third)
    assert read_cvat(path).labels == ("car",)
    assert len(read_cvat(path).images) == 9
    assert list(shown(path)) == ["drive-4-000003.png", "drive-4-000005.png", "drive-5-000005.png", "drive-6-000005.png"]
    path.write_text(path.read_text().replace('task_id="6"', 'task_id="7"'))
    assert "task '7'" in refusal(path)


def test_a_shape_on_one_frame_stays_there_in_a_projects_later_tasks(tmp_path: Path) -> None:
    # CVAT compares the shifted number with the task's own last frame, so it leaves the closing outside="1" out.
    lone = track_element("car", tracked_box(8, 1, 1, 9, 9), more='task_id="5"')
    assert list(shown(project(tmp_path, lone))) == ["drive-5-000001.png"]


def test_a_videos_frames_exported_as_images_are_the_recordings(tmp_path: Path) -> None:
    box = box_element("car", 1, 1, 9, 9)
    path = write_cvat_video(tmp_path / "a.xml", image_element("frame_000007", box), image_element("frame_000008.png"))
    assert [image.name for image in read_cvat(path).images] == ["drive-a-000007.png", "drive-a-000008.png"]
    one, other = (
        image_element(f"frame_{number:06d}", box).replace("<image", f'<image task_id="{task}"')
        for number, task in ((3, 4), (12, 5))
    )
    assert list(shown(project(tmp_path, one, other))) == ["drive-4-000003.png", "drive-5-000005.png"]
    assert "--video-recording" in refusal(write_cvat(tmp_path / "b.xml", image_element("frame_000007", box)))


def test_images_and_tracks_in_one_file_are_refused(tmp_path: Path) -> None:
    both = image_element("drive-a-000001.png"), track_element("car", tracked_box(1, 1, 1, 9, 9))
    assert "two files" in refusal(write_cvat_video(tmp_path / "a.xml", *both))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    write_drive(folder, "drive-a", 10)
    return folder


def test_frames_on_which_nothing_is_visible_are_unlabelled_unless_said_to_be_empty(
    tmp_path: Path, recordings: Path
) -> None:
    track = track_element("car", tracked_box(3, 0, 0, 9, 9), tracked_box(5, 2, 2, 11, 11, outside=1))
    file = read_cvat(write_cvat_video(tmp_path / "a.xml", track))
    left_out = import_annotations([file], recordings)
    assert [image.index for image in left_out.index.images] == [3, 4]
    assert [label.box for image in left_out.index.images for label in image.boxes] == [(0, 0, 9, 9), (1, 1, 10, 10)]
    assert left_out.counts.unlabelled == 8
    kept = import_annotations([file], recordings, empty_means_empty=True)
    assert [len(image.boxes) for image in kept.index.images] == [0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    assert kept.counts.unlabelled == 0


@pytest.mark.parametrize("element", ["task", "job"])
def test_deleted_frames_are_never_empty_ones(tmp_path: Path, recordings: Path, element: str) -> None:
    boxes = tracked_box(3, 0, 0, 9, 9), tracked_box(4, 0, 0, 9, 9, keyframe=0), tracked_box(7, 0, 0, 9, 9, keyframe=0)
    path = write_cvat_video(tmp_path / "a.xml", track_element("car", *boxes), start=2, stop=7)
    path.write_text(path.read_text().replace("task>", f"{element}>"))
    for empty_means_empty, indices, unlabelled in ((True, [2, 3, 4, 7], 0), (False, [3, 4, 7], 1)):
        result = import_annotations([read_cvat(path)], recordings, empty_means_empty=empty_means_empty)
        assert [image.index for image in result.index.images] == indices
        assert (result.counts.deleted, result.counts.unlabelled) == (2, unlabelled)


def test_of_a_frame_deleted_in_one_file_and_labelled_in_another_the_labels_count(
    tmp_path: Path, recordings: Path
) -> None:
    boxes = tracked_box(3, 0, 0, 9, 9), tracked_box(4, 0, 0, 9, 9, keyframe=0), tracked_box(6, 0, 0, 9, 9, keyframe=0)
    video = write_cvat_video(tmp_path / "b.xml", track_element("car", *boxes), start=3, stop=6)
    for name in ("a.xml", "c.xml"):
        images = write_cvat(tmp_path / name, image_element("drive-a-000005.png", box_element("car", 1, 1, 5, 5)))
        result = import_annotations([read_cvat(video), read_cvat(images)], recordings, empty_means_empty=True)
        assert [image.boxes[0].box for image in result.index.images] == [(0, 0, 9, 9)] * 2 + [
            (1, 1, 5, 5),
            (0, 0, 9, 9),
        ]
        assert result.counts == ImportCounts()


def test_the_command_imports_a_video_of_another_name(
    tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    track = track_element("car", tracked_box(3, 0, 0, 9, 9), tracked_box(4, 0, 0, 9, 9, outside=1))
    path = write_cvat_video(tmp_path / "a.xml", track, source="clip.mp4")
    arguments = ["import-cvat", str(path), "--recordings", str(recordings), "--out", str(tmp_path / "index.json")]
    assert main(arguments) == 1
    assert "'clip', which is not in" in (said := capsys.readouterr().err)
    assert "--video-recording" in said
    assert main([*arguments, "--video-recording", "clip.mp4=drive-a"]) == 0
    (image,) = DatasetIndex.load(tmp_path / "index.json").images
    assert (image.recording, image.topic, image.index) == ("drive-a", TOPIC, 3)
    for wrong in (["clip.mp4="], ["drive-a", "drive-b"]):
        assert main([*arguments, "--force", "--video-recording", *wrong]) == 2
        assert "[NAME=]STEM" in capsys.readouterr().err


def test_other_kinds_of_tracks_are_refused_by_name_unless_ignored(tmp_path: Path, recordings: Path) -> None:
    nose = '<points label="tip" keyframe="1" outside="0" occluded="0" points="1,2"></points>'
    skeleton = track_element(
        "person", *(f'<skeleton frame="{f}" keyframe="1" z_order="0">{nose}</skeleton>' for f in (1, 2))
    )
    car = track_element("car", tracked_box(1, 0, 0, 9, 9), tracked_box(2, 0, 0, 9, 9))
    file = read_cvat(write_cvat_video(tmp_path / "a.xml", skeleton, car))
    assert file.images[1].shapes[0] == OtherShape("person", "skeleton", source="manual")
    with pytest.raises(MayhemError, match="<skeleton> of 'person'"):
        import_annotations([file], recordings, classes=ClassMap(("car",), ()))
    classes = ClassMap(("car",), (), ignore=frozenset({"person"}))
    assert len(import_annotations([file], recordings, classes=classes).index.images) == 9


def skeleton(frame: int, *outside: int, keyframe: int = 1) -> str:
    """As CVAT writes it: what is outside stands at the points only."""
    points = "".join(
        f'<points label="p{n}" keyframe="{keyframe}" outside="{out}" occluded="0" points="1.00,2.00"></points>'
        for n, out in enumerate(outside)
    )
    return f'<skeleton frame="{frame}" keyframe="{keyframe}" z_order="0">{points}</skeleton>'


def test_a_skeleton_of_which_all_points_are_outside_is_not_there(tmp_path: Path) -> None:
    bare = track_element("person", skeleton(1, 0, 0), skeleton(3, 1, 0), skeleton(5, 1, 1))
    assert list(shown(write_cvat_video(tmp_path / "a.xml", bare))) == [f"drive-a-{k:06d}.png" for k in (1, 2, 3, 4)]
    every = track_element("person", skeleton(1, 0, 0), skeleton(2, 0, 0, keyframe=0), skeleton(3, 1, 1))
    path = write_cvat_video(tmp_path / "b.xml", every)
    assert list(shown(path)) == ["drive-a-000001.png", "drive-a-000002.png"]
    assert deleted(path) == []


def test_an_ellipse_moves_and_turns_as_a_box_does(tmp_path: Path) -> None:
    def ellipse(frame: int, centre: float, rotation: float, outside: int = 0) -> str:
        return (
            f'<ellipse frame="{frame}" keyframe="1" outside="{outside}" occluded="0" cx="{centre}" cy="20" rx="8" '
            f'ry="4" rotation="{rotation}" z_order="0"/>'
        )

    track = track_element("car", ellipse(0, 20, 80), ellipse(2, 30, 100), ellipse(3, 30, 100, outside=1))
    (shape,) = shown(write_cvat_video(tmp_path / "a.xml", track))["drive-a-000001.png"]
    assert isinstance(shape, PolygonShape)
    np.testing.assert_allclose(shape.points.min(0), (21, 12))
    np.testing.assert_allclose(shape.points.max(0), (29, 28))
