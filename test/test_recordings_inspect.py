"""`mayhem inspect` counts what is in a recording exactly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recordings_writing import COLOUR, START_NS, Written, colour_pixels, image, imu, jpeg, jpeg_bytes, write

from mayhem_train.cli import main
from mayhem_train.recordings.inspection import TopicReport, inspect_recording
from mayhem_train.recordings.recording import Recording

PERIOD_NS = 40_000_000


def messages() -> list[Written]:
    """25 Hz with one gap of 0.5 s; stamps: one repeated, two earlier than the one before."""
    times = [START_NS + i * PERIOD_NS for i in range(10)]
    times += [times[-1] + 500_000_000 + i * PERIOD_NS for i in range(10)]
    stamps = list(times)
    stamps[4] = stamps[3]
    stamps[7] = stamps[2]
    stamps[12] = stamps[10]
    colour = [image(COLOUR, t, s, colour_pixels(0), "bgr8") for t, s in zip(times, stamps, strict=True)]
    return [*colour, imu(times[0]), imu(times[0] + 5_000_000), jpeg("/front", times[0], jpeg_bytes(colour_pixels(1)))]


@pytest.mark.parametrize("form", ["mcap", "mcap-zstd", "mcap-lz4", "db3", "bag", "bag-bz2"])
def test_counts_rates_gaps_and_stamps_are_exact(tmp_path: Path, form: str) -> None:
    with Recording(write(tmp_path, "drive", form, messages())) as recording:
        report = inspect_recording(recording)
    names = {"mcap": "mcap", "db3": "sqlite3", "bag": "ros1"}
    kind, _, compression = form.partition("-")
    assert report.storage == names[kind]
    assert report.compression == ((compression,) if compression else ())
    assert report.message_count == 23
    assert report.start == "2023-11-14T22:13:20.000+00:00"
    assert report.duration_s == pytest.approx(1.22, abs=1e-9)
    assert report.problems == ()
    front, colour, other = sorted(report.topics, key=lambda t: ("/front", COLOUR, "/imu").index(t.name))
    assert colour == TopicReport(COLOUR, "sensor_msgs/msg/Image", 20, 25.0, 0.5, 1, 2, 80, 60, "bgr8", 1, "stamp")
    assert front == TopicReport(
        "/front", "sensor_msgs/msg/CompressedImage", 1, None, None, 0, 0, 80, 60, "jpeg", clock="stamp"
    )
    assert other == TopicReport("/imu", "sensor_msgs/msg/Imu", 2, 200.0, 0.005, 0, 0, gaps=0, clock="stamp")


def test_json_is_the_only_thing_on_stdout(tmp_path: Path) -> None:
    path = write(tmp_path, "drive", "mcap", messages())
    (path / "metadata.yaml").unlink()  # a warning goes to stderr
    command = [sys.executable, "-m", "mayhem_train.cli", "inspect", "--json", str(path), str(tmp_path / "missing.bag")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert result.returncode == 1
    (report,) = json.loads(result.stdout)
    assert report["stem"] == "drive"
    assert report["size_bytes"] == (path / "drive.mcap").stat().st_size
    assert [(t["name"], t["count"], t["rate_hz"]) for t in report["topics"]] == [
        (COLOUR, 20, 25.0),
        ("/front", 1, None),
        ("/imu", 2, 200.0),
    ]
    assert len(report["problems"]) == 1
    assert "missing.bag" in result.stderr
    assert "Traceback" not in result.stderr


def test_it_starts_without_libraries_that_it_does_not_need(tmp_path: Path) -> None:
    path = write(tmp_path, "drive", "mcap", messages())
    code = (
        "import json, sys; from mayhem_train.cli import main; "
        "assert main(['inspect', sys.argv[1]]) == 0; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=True,
    )
    loaded = set(json.loads(result.stderr.splitlines()[-1]))
    assert "mayhem_train.recordings.recording" in loaded
    slow = {"torch", "numba", "scipy", "matplotlib", "pandas", "pyarrow", "onnxruntime", "rclpy", "rosbags.convert"}
    assert not slow & loaded
    assert "rosbags.typesys.stores.ros2_jazzy" not in loaded  # the recording has all definitions


def test_the_table_shows_every_topic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path, "first", "db3", messages())
    second = write(tmp_path, "second", "bag", [image("/d", START_NS, START_NS, np.zeros((2, 3), np.uint16), "16UC1")])
    assert main(["inspect", str(first), str(second)]) == 0
    output = capsys.readouterr().out
    for text in ("first", COLOUR, "80x60 bgr8", "25.00", "0.500 s", "second", "3x2 16UC1"):
        assert text in output


def test_images_larger_than_their_heads_are_not_read_for_their_stamps(tmp_path: Path) -> None:
    frames = [image(COLOUR, START_NS + i, START_NS + i, colour_pixels(0, 240, 320), "rgb8") for i in range(60)]
    path = write(tmp_path, "drive", "mcap", frames)
    before = _bytes_read()
    with Recording(path) as recording:
        assert inspect_recording(recording).topics[0].count == 60
        assert _bytes_read() - before < 0.15 * recording.size


def _bytes_read() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])
