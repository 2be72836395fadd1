"""`mayhem import-cvat` prints a count of everything that did not go into the index as it was drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets_drives import (
    HEIGHT,
    WIDTH,
    box_element,
    image_element,
    polygon_element,
    track_element,
    tracked_box,
    write_cvat,
    write_cvat_video,
    write_drive,
)

from mayhem_train.cli import main


def test_whatever_is_cut_or_left_out_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_drive(tmp_path / "recordings", "drive", 6)
    everything = f"0,0;{WIDTH},0;{WIDTH},{HEIGHT};0,{HEIGHT}"
    write_cvat(
        tmp_path / "a.xml",
        image_element(
            "drive-000000.png",
            *(box_element("car", -3, 2, 30, bottom) for bottom in (40, 41, 42)),
            box_element("car", 5, 5, 5, 9),
        ),
        image_element("drive-000001.png", *[box_element("car", WIDTH + 1, 2, WIDTH + 9, 40)] * 2),
        image_element("drive-000002.png", polygon_element("road", everything), polygon_element("grass", everything, 1)),
        *(image_element(f"drive-{k:06d}.png") for k in (3, 4, 5)),
    )
    found = ["--recordings", str(tmp_path / "recordings"), "--out", str(tmp_path / "index.json")]
    assert main(["import-cvat", str(tmp_path / "a.xml"), *found]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line[:1].isdigit()] == [
        "3 images without shapes left out as unlabelled",
        "3 boxes clipped at the image's border",
        "2 boxes outside the image dropped",
        "1 box without any area dropped",
        "1 surface without a visible pixel dropped",
    ]


def test_one_of_a_kind_and_several_of_another_are_said_as_people_say_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_drive(tmp_path / "recordings", "drive", 10)
    flat = [box_element("car", 5, 5, 9, 5)] * 2
    write_cvat(
        tmp_path / "a.xml",
        image_element("drive-000000.png", box_element("car", -3, 2, 30, 40), box_element("car", -9, 2, -1, 4), *flat),
        image_element("drive-000001.png"),
    )
    # A track that goes on over frames 4 and 5, which the task does not have any more.
    track = track_element("car", tracked_box(3, 0, 0, 9, 9), *(tracked_box(k, 0, 0, 9, 9, keyframe=0) for k in (6, 7)))
    write_cvat_video(tmp_path / "b.xml", track, source="drive.mp4", start=3, stop=7)
    found = ["--recordings", str(tmp_path / "recordings"), "--out", str(tmp_path / "index.json")]
    assert main(["import-cvat", str(tmp_path / "a.xml"), str(tmp_path / "b.xml"), *found]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line[:1].isdigit()] == [
        "1 image without shapes left out as unlabelled",
        "2 frames deleted in CVAT left out",
        "1 box clipped at the image's border",
        "1 box outside the image dropped",
        "2 boxes without any area dropped",
    ]


def test_that_nothing_is_left_to_train_on_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_drive(tmp_path / "recordings", "drive", 2)
    write_cvat(tmp_path / "a.xml", image_element("drive-000000.png", box_element("car", 1, 2, 30, 40)))
    found = ["--recordings", str(tmp_path / "recordings"), "--out", str(tmp_path / "index.json"), "--force"]
    assert main(["import-cvat", str(tmp_path / "a.xml"), *found]) == 0
    assert "train on" not in capsys.readouterr().err
    for option in ("--val", "--test"):  # an index to judge by is no mistake
        assert main(["import-cvat", str(tmp_path / "a.xml"), *found, option, "drive"]) == 0
        assert "Warning: no frame is left to train on" in capsys.readouterr().err


def test_a_recording_without_any_label_of_a_kind_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training would take its floor, or its objects, for background."""
    for stem in ("both", "boxes", "floors"):
        write_drive(tmp_path / "recordings", stem, 3)
    box, floor = box_element("car", 3, 2, 30, 40), polygon_element("floor", f"0,0;{WIDTH},0;{WIDTH},9;0,9")
    write_cvat(
        tmp_path / "a.xml",
        image_element("both-000000.png", box, floor),
        image_element("both-000001.png", box),
        image_element("boxes-000000.png", box),
        image_element("boxes-000001.png", box),
        image_element("floors-000000.png", floor),
    )
    found = ["--recordings", str(tmp_path / "recordings"), "--out", str(tmp_path / "index.json")]
    assert main(["import-cvat", str(tmp_path / "a.xml"), *found]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "Warning: no labelled frame of floors (1) has a box, so training takes all of it for background: "
        "label it, or leave the recording out.",
        "Warning: no labelled frame of boxes (2) has a surface, so training takes all of it for background: "
        "label it, or leave the recording out.",
    ]
