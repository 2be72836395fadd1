"""`mayhem inspect`: what recordings hold, as tables or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.table import Table
from rich.text import Text

from mayhem_ros.errors import MayhemError
from mayhem_train.commands.recording_arguments import add_distro
from mayhem_train.console import console, warn
from mayhem_train.recordings.inspection import RecordingReport, TopicReport, inspect_recording
from mayhem_train.recordings.recording import Recording
from mayhem_train.recordings.verification import Verification

EXAMPLE = "mayhem inspect drive-1.mcap drive-2.bag rosbag2_2026_11_02/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "recordings", nargs="+", type=Path, metavar="RECORDING", help="file (.mcap, .db3, .bag or .zst) or folder"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of tables")
    parser.add_argument(
        "--verify", action="store_true", help="read every message and decode every image; ends with 1 if any is damaged"
    )
    add_distro(parser)


def run(arguments: argparse.Namespace) -> int:
    """Shows every recording that can be read, and ends with 1 or 2 where one cannot."""
    reports: list[RecordingReport] = []
    exit_code = 0
    for path in arguments.recordings:
        try:
            with Recording(path, distro=arguments.distro) as recording:
                report = inspect_recording(recording, verify=arguments.verify)
                warn(*(told for told in recording.warnings if arguments.json or told not in report.problems))
                reports.append(report)
        except MayhemError as error:
            print(f"mayhem inspect: {error}", file=sys.stderr)
            exit_code = max(exit_code, error.exit_code)
            continue
        exit_code = max(exit_code, int(reports[-1].is_damaged))
        if not arguments.json:
            _show(reports[-1])
    if arguments.json:
        print(json.dumps([report.to_json() for report in reports], indent=2))
    return exit_code


def _show(report: RecordingReport) -> None:
    facts = f"{report.storage}, {', '.join(report.compression) or 'not compressed'}, {_size(report.size_bytes)}"
    times = f"{report.duration_s:.3f} s from {report.start}, {report.message_count} messages"
    console.print(Text.assemble((report.stem, "bold"), f"  {facts}, {times}"), soft_wrap=True)
    table = Table(show_lines=True)
    table.add_column("topic, type, image", min_width=34)
    for heading in ("count", "Hz", "gaps,\nlongest", "stamps\ntwice/back"):
        table.add_column(heading, justify="right")
    for topic in report.topics:
        table.add_row(
            Text("\n".join(filter(None, (topic.name, topic.type, _image(topic)))), overflow="fold"),
            str(topic.count),
            "" if topic.rate_hz is None else f"{topic.rate_hz:.2f}",
            "" if topic.largest_gap_s is None else f"{topic.gaps}\n{topic.largest_gap_s:.3f} s",
            "" if topic.duplicated_stamps is None else f"{topic.duplicated_stamps}/{topic.backward_stamps}",
        )
    console.print(table)
    if report.verification is not None:
        console.print(Text(_verified(report.verification)), soft_wrap=True)
    for problem in report.problems:
        console.print(Text(f"Problem: {problem}", style="yellow"), soft_wrap=True)


def _verified(verification: Verification) -> str:
    damaged = sum(verification.damaged.values())
    counts = f"{verification.messages} messages read, {verification.images} of them images decoded, {damaged} damaged"
    return "\n".join(
        [f"Verified: {counts}", *(f"sha256 {value}  {name}" for name, value in verification.sha256.items())]
    )


def _image(topic: TopicReport) -> str:
    size = "" if topic.width is None else f"{topic.width}x{topic.height} "
    if topic.codec is None:
        return f"{size}{topic.encoding or ''}"
    keys = f"{topic.key_frames} key frame{'' if topic.key_frames == 1 else 's'}"
    if topic.key_distance is not None:
        keys = f"a key frame every {topic.key_distance}"
    return f"{size}{topic.codec} ({topic.encoding}), {keys}"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.4g} {unit}"
        size /= 1000
    return f"{size:.4g} GB"
