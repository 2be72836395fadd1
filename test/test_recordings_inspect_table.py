"""The table of `mayhem inspect` says what the report says: counts, rates, gaps, stamps, size and compression."""

from __future__ import annotations

from pathlib import Path

import pytest
from recordings_writing import COLOUR, START_NS, colour_pixels, image, imu, write

from mayhem_train.cli import main

MS = 1_000_000


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("│")]


@pytest.mark.parametrize(("form", "compression"), [("mcap", "not compressed"), ("mcap-lz4", "lz4"), ("bag-bz2", "bz2")])
def test_every_figure_of_a_recording_is_in_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, compression: str
) -> None:
    """25 Hz with one gap of 0.5 s; one stamp is repeated, two go back."""
    times = [START_NS + 40 * MS * k for k in range(10)]
    times += [times[-1] + 500 * MS + 40 * MS * k for k in range(10)]
    stamps = list(times)
    stamps[4], stamps[7], stamps[12] = stamps[3], stamps[2], stamps[10]
    messages = [image(COLOUR, t, s, colour_pixels(0), "bgr8") for t, s in zip(times, stamps, strict=True)]
    path = write(tmp_path, "drive", form, [*messages, imu(times[0]), imu(times[0] + 5 * MS)])
    assert main(["inspect", str(path)]) == 0
    title, *table = capsys.readouterr().out.splitlines()
    file = path / "drive.mcap" if path.is_dir() else path
    size = f"{file.stat().st_size / 1000:.4g} kB"
    storage = "ros1" if form.startswith("bag") else "mcap"
    assert title == (
        f"drive  {storage}, {compression}, {size}, 1.220 s from 2023-11-14T22:13:20.000+00:00, 22 messages"
    )
    rows = [cells(line) for line in table if line.startswith("│")]
    assert rows == [
        [COLOUR, "20", "25.00", "1", "1/2"],
        ["sensor_msgs/msg/Image", "", "", "0.500 s", ""],
        ["80x60 bgr8", "", "", "", ""],
        ["/imu", "2", "200.00", "0", "0/0"],
        ["sensor_msgs/msg/Imu", "", "", "0.005 s", ""],
    ]
