"""Stamps that tell no time, or another one: rates, gaps and pairs are by log time then, and that is said."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recordings_writing import COLOUR, DEPTH, START_NS, Written, image, imu, write

from mayhem_train.cli import main
from mayhem_train.recordings.inspection import RecordingReport, inspect_recording
from mayhem_train.recordings.recording import Recording

PERIOD_NS, SECOND_NS = 100_000_000, 10**9
PIXELS = np.zeros((6, 8, 3), np.uint8)
METRES = np.full((6, 8), 1000, np.uint16)
LOG_TIMES = [START_NS + n * PERIOD_NS for n in range(8)]


def camera(stamps: list[int], log_times: list[int] = LOG_TIMES) -> list[Written]:
    return [image(COLOUR, log, stamp, PIXELS, "rgb8") for log, stamp in zip(log_times, stamps, strict=True)]


def depth(stamps: list[int]) -> list[Written]:
    return [image(DEPTH, log, stamp, METRES, "16UC1") for log, stamp in zip(LOG_TIMES, stamps, strict=True)]


def inspected(tmp_path: Path, messages: list[Written]) -> RecordingReport:
    with Recording(write(tmp_path, "drive", "mcap", messages)) as recording:
        return inspect_recording(recording)


@pytest.mark.parametrize(
    ("stamp_of", "clock", "said"),
    [
        (lambda n, log: log, "stamp", None),
        (lambda n, log: log - 1_600_000_000 * SECOND_NS, "stamp", None),  # since the computer was started
        (lambda n, log: 0, "log_time", "all 8 stamps are zero: rate and gaps are by log time"),
        (lambda n, log: START_NS, "log_time", "all stamps given are the same: rate and gaps are by log time"),
        (lambda n, log: 0 if n < 2 else log, "stamp", "2 of 8 stamps are zero: rate and gaps are by the others"),
        (
            lambda n, log: log - (3600 * SECOND_NS if n < 3 else 0),  # until the clock was set
            "log_time",
            "stamps jump 1 times by more than 10 s: rate and gaps are by log time",
        ),
        (
            lambda n, log: log + (10**5 * SECOND_NS if n == 3 else 0),  # and back
            "log_time",
            "stamps jump 2 times by more than 10 s: rate and gaps are by log time",
        ),
    ],
)
def test_rates_and_gaps_are_by_a_clock_that_tells_the_time(
    tmp_path: Path, stamp_of: Callable[[int, int], int], clock: str, said: str | None
) -> None:
    report = inspected(tmp_path, camera([stamp_of(n, log) for n, log in enumerate(LOG_TIMES)]))
    (topic,) = report.topics
    assert (topic.clock, topic.rate_hz, topic.gaps, topic.largest_gap_s) == (clock, 10.0, 0, 0.1)
    assert report.problems == (() if said is None else (f"On {COLOUR} of {report.path} {said}.",))


def test_a_pause_of_the_recorder_is_no_jump_of_the_stamps(tmp_path: Path) -> None:
    paused = [log + (60 * SECOND_NS if n > 3 else 0) for n, log in enumerate(LOG_TIMES)]
    (topic,) = inspected(tmp_path, camera(LOG_TIMES, paused)).topics
    assert (topic.clock, topic.largest_gap_s) == ("stamp", 0.1)


def test_log_times_that_are_all_the_same_do_not_stand_in(tmp_path: Path) -> None:
    report = inspected(tmp_path, camera([n * 20 * SECOND_NS + 1 for n in range(8)], [START_NS] * 8))
    (topic,) = report.topics
    assert (topic.clock, topic.rate_hz) == ("stamp", 0.05)
    assert report.problems == (
        f"All messages of {report.path} were logged at one time: --start and --stop cannot tell them apart.",
    )


def test_a_topic_of_another_clock_is_named(tmp_path: Path) -> None:
    tai = [log + 37 * SECOND_NS for log in LOG_TIMES]
    report = inspected(tmp_path, [*camera(LOG_TIMES), *depth(tai), *(imu(log) for log in LOG_TIMES)])
    assert report.problems == (
        f"{DEPTH} of {report.path} is stamped by another clock than {COLOUR} (+37.0 s), judged by their log times.",
    )


@pytest.mark.parametrize(
    ("shift", "remark"),
    [
        (lambda log: log + 37 * SECOND_NS, f"{DEPTH} is stamped by another clock than {COLOUR} (+37.0 s)"),
        (lambda log: log - START_NS + 1, f"{DEPTH} is stamped by another clock than {COLOUR} (-1700000000.0 s)"),
        (lambda log: 0, f"{DEPTH} has no stamps: its log times stand in for them."),
        (lambda log: START_NS, f"{DEPTH} has the same stamp on all of 8 messages: its log times stand in for them."),
    ],
)
def test_what_other_clocks_stamp_is_paired_by_log_time(
    tmp_path: Path, shift: Callable[[int], int], remark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "drive", "mcap", [*camera(LOG_TIMES), *depth([shift(log) for log in LOG_TIMES])])
    assert main(["ingest", str(path), "--out", str(tmp_path / "out")]) == 0
    assert remark in capsys.readouterr().out
    with (tmp_path / "out" / "drive" / "frames.csv").open() as stream:
        assert [row["depth_index"] for row in csv.DictReader(stream)] == [str(n) for n in range(8)]


def test_what_one_clock_stamps_is_paired_by_stamp(tmp_path: Path) -> None:
    late = depth([log - PERIOD_NS for log in LOG_TIMES])  # each logged a period after it was measured
    path = write(tmp_path, "drive", "mcap", [*camera(LOG_TIMES), *late])
    assert main(["ingest", str(path), "--out", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "drive" / "frames.csv").open() as stream:
        assert [row["depth_index"] for row in csv.DictReader(stream)] == [*map(str, range(1, 8)), ""]
