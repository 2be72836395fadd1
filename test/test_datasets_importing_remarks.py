"""`mayhem import-cvat` prints a count of everything that did not go into the index as it was drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets_drives import HEIGHT, WIDTH, box_element, image_element, polygon_element, write_cvat, write_drive

from mayhem_train.cli import main


def test_whatever_is_cut_or_left_out_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_drive(tmp_path / "recordings", "drive", 6)
    everything = f"0,0;{WIDTH},0;{WIDTH},{HEIGHT};0,{HEIGHT}"
    write_cvat(
        tmp_path / "a.xml",
        image_element("drive-000000.png", *[box_element("car", -3, 2, 30, 40)] * 3),
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
        "2 boxes outside their image dropped",
        "1 surfaces without a visible pixel dropped",
    ]
