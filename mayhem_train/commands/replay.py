"""`mayhem replay`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mayhem_train.evaluation.playback.settings import LOCK_STEP, MODES

if TYPE_CHECKING:
    from rich.table import Table

    from mayhem_train.evaluation.replay.report import Report

EXAMPLE = "mayhem replay recordings/drive-2 --model model.onnx --index index.json --out report --require map50=0.5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("recordings", type=Path, nargs="+", metavar="RECORDING", help=".bag, .db3, .mcap or a folder")
    parser.add_argument("--model", type=Path, required=True, help="the ONNX file to judge")
    parser.add_argument("--index", type=Path, help="the dataset index to score by; without it only time is measured")
    parser.add_argument("--split", help="score only this split's frames")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write the report into")
    parser.add_argument(
        "--mode", choices=MODES, default=LOCK_STEP, help="every frame in turn (default), or at the recorded pace"
    )
    parser.add_argument("--rate", type=float, default=1.0, help="of the recorded pace, with --mode real-time")
    parser.add_argument("--topic", help="the image topic, if the recording has several")
    parser.add_argument(
        "--score-threshold",
        type=float,
        help="publish boxes from this score on; -1: the model card's (default in real-time; 0.01 in lock-step)",
    )
    parser.add_argument("--provider", default="auto", help="what runs the model in the node (auto)")
    parser.add_argument("--threads", type=int, default=0, help="the node's CPU threads; 0: one a core")
    parser.add_argument("--domain-id", type=int, help="the ROS domain to play on (one that nobody uses)")
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="FIGURE=LIMIT",
        help="fail where a figure misses its limit: map50=0.5, iou.floor=0.9, latency.p99=40; may be repeated",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing report")


def run(arguments: argparse.Namespace) -> int:
    """Replays, prints the figures, and returns 1 where a requirement is not met or nothing was measured."""
    import sys

    from mayhem_train.console import console
    from mayhem_train.evaluation.playback.settings import PlaybackSettings
    from mayhem_train.evaluation.replay.requirements import parse_requirement

    requirements = [parse_requirement(text) for text in arguments.require]
    settings = PlaybackSettings(
        mode=arguments.mode,
        rate=arguments.rate,
        score_threshold=arguments.score_threshold,
        provider=arguments.provider,
        threads=arguments.threads,
    )
    from mayhem_train.evaluation.replay.replay import replay

    report = replay(
        arguments.recordings,
        arguments.model,
        arguments.out,
        index=arguments.index,
        split=arguments.split,
        topic=arguments.topic,
        settings=settings,
        domain=arguments.domain_id,
        requirements=requirements,
        force=arguments.force,
    )
    console.print(report_table(report))
    console.print(f"report: {arguments.out / 'report.html'}", highlight=False, markup=False, soft_wrap=True)
    unmet = [verdict for verdict in report.verdicts if not verdict.met]
    for verdict in unmet:
        print(f"mayhem replay: {verdict.sentence}.", file=sys.stderr)
    nothing = _nothing_measured(report)
    if nothing is not None:
        print(f"mayhem replay: {nothing}", file=sys.stderr)
    return 1 if unmet or nothing is not None else 0


def report_table(report: Report) -> Table:
    """The headline figures: quality a class and in the mean, frames, latency."""
    from rich import box
    from rich.table import Table

    table = Table("", "AP50", "AP", "IoU", box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    detection = report.scores.detection if report.scores is not None else None
    segmentation = report.scores.segmentation if report.scores is not None else None
    for name, of_class in (detection.per_class if detection is not None else {}).items():
        table.add_row(name, _figure(of_class.ap50), _figure(of_class.ap), "")
    for name, iou in (segmentation.iou if segmentation is not None else {}).items():
        table.add_row(name, "", "", _figure(iou))
    mean_ap = (_figure(detection.ap50), _figure(detection.map)) if detection is not None else ("", "")
    table.add_row("mean", *mean_ap, _figure(segmentation.mean_iou) if segmentation is not None else "")
    table.add_section()
    frames = report.frames
    for name, count in (
        ("frames in", frames.sent),
        ("frames out", frames.answered),
        ("lost", frames.lost),
        ("undecodable", frames.undecodable),
        ("scored", frames.scored),
    ):
        table.add_row(name, str(count))
    if report.latency is not None:
        table.add_section()
        for name in ("p50", "p90", "p99", "max"):
            table.add_row(f"latency {name}, ms", f"{getattr(report.latency, name):.1f}")
    return table


def _nothing_measured(report: Report) -> str | None:
    """What the report is empty of, as a sentence; None where it holds what was asked for."""
    frames = report.frames
    if frames.answered == 0:
        return f"None of {frames.sent} frames was answered: see the node's log beside the report."
    if report.dataset is not None and frames.scored == 0:
        return f"None of {frames.answered} answered frames was scored: {report.dataset.path} labels none of them."
    return None


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
