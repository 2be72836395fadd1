"""A replay of a video camera: the node is sent the decoded pictures, and every packet is accounted for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import video_recordings as video
from robot_small_model import save_model

from mayhem_train.cli import main


def test_the_node_answers_every_picture_that_can_be_decoded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = np.zeros((24, 32, 3), np.uint8)
    picture[12:, :, 0] = 200
    packets = [data for _, data in video.encode(pictures=[picture] * 6, key_distance=3)]
    packets[2] = b"rubbish"
    path = video.record(tmp_path / "drive", packets)
    model = save_model(tmp_path / "small.onnx")
    assert main(["replay", str(path), "--model", str(model), "--out", str(tmp_path / "report")]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["frames"] == {"in": 6, "out": 5, "lost": 0, "undecodable": 1, "scored": 0}
    rows = list(csv.DictReader((tmp_path / "report" / "frames.csv").open()))
    assert [row["outcome"] for row in rows] == ["answered"] * 2 + ["undecodable"] + ["answered"] * 3
    assert [int(row["stamp_ns"]) for row in rows] == [
        video.START_NS + index * video.PERIOD_NS - 5_000_000 for index in range(6)
    ]
    said = capsys.readouterr().err
    assert said.count("is video: its pictures are decoded on the way and sent to the node as raw images") == 1
