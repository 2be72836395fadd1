"""Recordings beside others, or topics beside others, that a command has no use for: named, and no reason to stop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from recordings_writing import COLOUR, DEPTH, START_NS, Written, image, imu, jpeg, write

from mayhem_train.cli import main
from mayhem_train.recordings.pruning.kept_frames import read_kept_frames

PIXELS = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)


def picture(number: int = 0, topic: str = COLOUR) -> Written:
    return image(topic, START_NS + number, START_NS + number, PIXELS, "rgb8")


def text(number: int = 0) -> Written:
    return Written(
        "/text", "std_msgs/msg/String", START_NS + number, lambda t: t.types["std_msgs/msg/String"](data="hello")
    )


def test_ingest_names_the_topics_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "drive", "mcap", [picture(), text(1), text(2)])
    assert main(["ingest", str(path), "--out", str(tmp_path / "out")]) == 0
    line = "  Left out, since their types are not extracted: /text (std_msgs/msg/String, 2 messages).\n"
    assert line in capsys.readouterr().out
    manifest = json.loads((tmp_path / "out" / "drive" / "ingest.json").read_text())
    assert manifest["left_out"] == [{"topic": "/text", "type": "std_msgs/msg/String", "messages": 2}]


def test_topics_that_nobody_asked_ingest_for_are_not_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "drive", "mcap", [picture(), text(1)])
    assert main(["ingest", str(path), "--out", str(tmp_path / "out"), "--topics", COLOUR]) == 0
    assert "Left out" not in capsys.readouterr().out


def test_ingest_ends_with_1_where_nothing_of_a_topic_can_be_extracted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [jpeg("/broken", START_NS + n, b"no picture") for n in range(3)]
    path = write(tmp_path, "drive", "mcap", [picture(), *broken])
    folder = tmp_path / "out" / "drive"
    said = f"mayhem ingest: None of 3 messages on /broken could be extracted into {folder}; the first: The compressed "
    for again in (False, True):
        assert main(["ingest", str(path), "--out", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err
        assert error.startswith(said)
        assert error.endswith(" (as ingested before; --force tries again).\n") == again
    assert len(list((folder / "colour").rglob("*.png"))) == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ingest_goes_on_beside_a_recording_that_has_nothing_for_it(
    tmp_path: Path, workers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good, words = write(tmp_path, "good", "mcap", [picture()]), write(tmp_path, "words", "mcap", [text()])
    assert main(["ingest", str(words), str(good), "--out", str(tmp_path / "out"), "--workers", workers]) == 1
    assert capsys.readouterr().err.startswith(f"mayhem ingest: {words} has nothing of what is asked for: it has /text")
    assert (tmp_path / "out" / "good" / "ingest.json").exists()


@pytest.mark.parametrize("topic", [[], ["--topic", COLOUR]])
def test_prune_goes_on_beside_a_recording_without_images(
    tmp_path: Path, topic: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    good, motion = write(tmp_path, "good", "mcap", [picture()]), write(tmp_path, "motion", "mcap", [imu(START_NS)])
    out = tmp_path / "kept.json"
    assert main(["prune", str(motion), str(good), "--out", str(out), *topic]) == 1
    assert capsys.readouterr().err == f"mayhem prune: {motion} has no images: it has /imu (sensor_msgs/msg/Imu).\n"
    assert [frame.name for frame in read_kept_frames(out)] == ["good-000000.png"]


def test_prune_goes_on_beside_a_recording_of_depth_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    depth = [image(DEPTH, START_NS, START_NS, np.ones((120, 160), np.uint16), "16UC1")]
    good, deep = write(tmp_path, "good", "mcap", [picture()]), write(tmp_path, "deep", "mcap", depth)
    out = tmp_path / "kept.json"
    assert main(["prune", str(deep), str(good), "--out", str(out)]) == 1
    assert capsys.readouterr().err.startswith(f"mayhem prune: {deep} has no colour images: it has {DEPTH} (")
    assert [frame.name for frame in read_kept_frames(out)] == ["good-000000.png"]


def test_a_topic_that_a_recording_of_another_camera_lacks_is_a_wrong_argument(tmp_path: Path) -> None:
    front = write(tmp_path, "front", "mcap", [picture(0, "/front")])
    rear = write(tmp_path, "rear", "mcap", [picture(0, "/rear")])
    out = tmp_path / "kept.json"
    assert main(["prune", str(front), str(rear), "--topic", "/rear", "--out", str(out)]) == 2
    assert not out.exists()
