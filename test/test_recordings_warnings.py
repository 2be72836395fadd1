"""What is wrong with a recording is data on it, and said once a command, whatever opens it how often."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from recordings_writing import COLOUR, ROS2, START_NS, image

from mayhem_train.cli import main
from mayhem_train.console import forget_warnings, warn
from mayhem_train.datasets.dataset import FrameDataset
from mayhem_train.datasets.index import Category, DatasetIndex, LabelledImage
from mayhem_train.datasets.samples import collate
from mayhem_train.recordings.opening import opened_recording
from mayhem_train.recordings.recording import Recording

FRAMES = 8


def damaged(tmp_path: Path, name: str) -> Path:
    """A recording of which one pixel lies in a chunk whose checksum is wrong, which only reading finds."""
    path = tmp_path / f"{name}.mcap"
    random = np.random.default_rng(0)
    frames = [
        image(COLOUR, START_NS + n, START_NS + n, random.integers(0, 255, (60, 80, 3), np.uint8), "rgb8")
        for n in range(FRAMES)
    ]
    with path.open("wb") as stream:
        writer = McapWriter(stream, compression=CompressionType.LZ4, chunk_size=20_000)
        writer.start(profile="ros2")
        definition = ROS2.generate_msgdef(frames[0].type, ros_version=2)[0].encode()
        channel = writer.register_channel(COLOUR, "cdr", writer.register_schema(frames[0].type, "ros2msg", definition))
        for frame in frames:
            writer.add_message(channel, frame.log_time_ns, frame.cdr, frame.log_time_ns)
        writer.finish()
    data = bytearray(path.read_bytes())
    data[data.index(frames[5].cdr[5000:5050])] ^= 0xFF  # noise, which no compression changes
    path.write_bytes(data)
    return path


def said(text: str, path: Path) -> int:
    return sum("Warning: The chunk at byte" in line and f"of {path} is damaged" in line for line in text.splitlines())


def test_opening_and_reading_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Recording(damaged(tmp_path, "drive")) as recording:
        assert recording.problems == ()
        recording.read_image(COLOUR, 5)
        (problem,) = recording.problems
    assert "is damaged (its checksum is wrong)" in problem
    assert capfd.readouterr() == ("", "")


def test_a_command_says_what_reading_came_upon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = damaged(tmp_path, "drive")
    for _ in range(2):
        with opened_recording(path) as recording:
            recording.read_image(COLOUR, 5)
    assert said(capsys.readouterr().err, path) == 1


def test_a_warning_is_said_once_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        forget_warnings()
        warn("It rains.", "It pours.", "It rains.")
    assert capsys.readouterr().err == "Warning: It rains.\nWarning: It pours.\n" * 2


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("verb", [["ingest"], ["prune", "--export", "images"]])
def test_workers_leave_it_to_the_command_to_say_it(
    tmp_path: Path, verb: list[str], workers: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [damaged(tmp_path, name) for name in ("a", "b")]
    assert main([*verb, *map(str, paths), "--out", str(tmp_path / "out"), "--workers", workers]) == 0
    error = capfd.readouterr().err
    assert [said(error, path) for path in paths] == [1, 1]


def test_inspect_says_it_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = damaged(tmp_path, "drive")
    assert main(["inspect", "--verify", str(path)]) == 1
    output = capsys.readouterr()
    assert output.out.count(f"of {path} is damaged") == 1
    assert said(output.err, path) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_hand_it_over_with_the_batch(tmp_path: Path, workers: int, capfd: pytest.CaptureFixture[str]) -> None:
    path = damaged(tmp_path, "drive")
    images = tuple(
        LabelledImage(n + 1, 80, 60, "drive", COLOUR, n, START_NS + n, START_NS + n, "train") for n in range(FRAMES)
    )
    dataset = FrameDataset(DatasetIndex((Category(1, "person", "thing"),), images), tmp_path)
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, num_workers=workers, collate_fn=collate)
    (sentence,) = {sentence for _ in range(2) for batch in loader for sentence in batch.warnings}
    assert f"of {path} is damaged" in sentence
    assert capfd.readouterr().err == ""
