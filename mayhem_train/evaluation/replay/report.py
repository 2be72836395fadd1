"""What a replay found, as one JSON for machines and one self-contained HTML page for people."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mayhem_train.evaluation.latency import Percentiles
from mayhem_train.evaluation.provenance import DatasetSummary, Machine, ModelSummary
from mayhem_train.evaluation.replay.latency_plot import latency_plot
from mayhem_train.evaluation.replay.requirements import Verdict
from mayhem_train.evaluation.reporting.page import render_page
from mayhem_train.evaluation.reporting.pictures import Picture
from mayhem_train.evaluation.scoring.scorer import Scores

REPORT_FORMAT = 1


@dataclass(frozen=True)
class FrameCounts:
    """What became of the frames sent: sent = answered + lost + undecodable.

    Attributes:
        sent: frames played to the node.
        answered: frames for which every expected message came back.
        lost: frames overtaken by newer ones or dropped on the way.
        undecodable: frames that the node reported as damaged.
        scored: answered frames that have labels.
    """

    sent: int
    answered: int
    lost: int
    undecodable: int
    scored: int


@dataclass(frozen=True)
class FrameRow:
    """One frame of the replay; `outcome` is "answered", "lost" or "undecodable"."""

    recording: str
    topic: str
    index: int
    stamp_ns: int | None
    outcome: str
    latency_ms: float | None
    score: float | None


@dataclass(frozen=True)
class RecordingSummary:
    """One recording's share of the replay; `scores` is None without labels."""

    name: str
    path: str
    topic: str
    type: str
    frames: FrameCounts
    latency: Percentiles | None
    scores: Scores | None


@dataclass(frozen=True)
class Report:
    """Everything a replay found.

    Attributes:
        latency: from handing a frame to DDS until the last of its results is back, at the client.
        node_stages_ms: the node's own times by stage and statistic, from its last /diagnostics.
        rows: every frame in the order sent.
        worst: pictures of the frames with the lowest scores, worst first.
        spread: pictures at even distances over the whole replay.
    """

    created: str
    mode: str
    rate: float
    score_threshold: float | None
    model: ModelSummary
    dataset: DatasetSummary | None
    recordings: tuple[RecordingSummary, ...]
    frames: FrameCounts
    latency: Percentiles | None
    node_stages_ms: Mapping[str, Mapping[str, float]]
    scores: Scores | None
    verdicts: tuple[Verdict, ...]
    rows: tuple[FrameRow, ...]
    worst: tuple[Picture, ...]
    spread: tuple[Picture, ...]
    machine: Machine
    versions: Mapping[str, str]
    colours: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The content of report.json; its schema stands in docs/replay.md."""
        return {
            "format_version": REPORT_FORMAT,
            "created": self.created,
            "mode": self.mode,
            "rate": self.rate,
            "score_threshold": self.score_threshold,
            "model": {
                "path": self.model.path,
                "sha256": self.model.sha256,
                "task": self.model.card.task,
                "origin": asdict(self.model.card.origin),
            },
            "dataset": None if self.dataset is None else asdict(self.dataset),
            "recordings": [
                {
                    "name": recording.name,
                    "path": recording.path,
                    "topic": recording.topic,
                    "type": recording.type,
                    "frames": frames_json(recording.frames),
                    "latency_ms": _latency_json(recording.latency),
                    **_scores_json(recording.scores),
                }
                for recording in self.recordings
            ],
            "frames": frames_json(self.frames),
            "latency_ms": _latency_json(self.latency),
            "node_stages_ms": {stage: dict(times) for stage, times in self.node_stages_ms.items()},
            **_scores_json(self.scores),
            "requirements": [
                {"name": v.requirement.name, "limit": v.requirement.limit, "found": v.found, "met": v.met}
                for v in self.verdicts
            ],
            "worst_frames": [picture.name for picture in self.worst],
            "machine": asdict(self.machine),
            "versions": dict(self.versions),
        }

    def to_html(self) -> str:
        """The content of report.html."""
        unanswered = [place for place, row in enumerate(self.rows) if row.outcome != "answered"]
        plot = Markup(latency_plot([row.latency_ms for row in self.rows], unanswered))
        return render_page("mayhem_train.evaluation.replay", "replay.html.jinja", report=self, latency_plot=plot)

    def figures(self) -> dict[str, float | None]:
        """Every figure that a requirement may name."""
        figures: dict[str, float | None] = {
            "frames.lost": self.frames.lost,
            "frames.undecodable": self.frames.undecodable,
        }
        if self.latency is not None:
            figures |= {f"latency.{name}": getattr(self.latency, name) for name in ("p50", "p90", "p99", "max")}
        return figures | score_figures(self.scores)


def score_figures(scores: Scores | None) -> dict[str, float | None]:
    """The quality figures by the names that requirements use."""
    figures: dict[str, float | None] = {}
    if scores is None:
        return figures
    if scores.detection is not None:
        figures |= {"map": scores.detection.map, "map50": scores.detection.ap50, "map75": scores.detection.ap75}
        for name, of_class in scores.detection.per_class.items():
            figures |= {f"ap.{name}": of_class.ap, f"ap50.{name}": of_class.ap50, f"ap75.{name}": of_class.ap75}
    for name, point in scores.operating_points.items():
        figures |= {f"precision.{name}": point.precision, f"recall.{name}": point.recall}
    if scores.segmentation is not None:
        figures |= {"mean_iou": scores.segmentation.mean_iou, "pixel_accuracy": scores.segmentation.pixel_accuracy}
        figures |= {f"iou.{name}": value for name, value in scores.segmentation.iou.items()}
    return figures


def write_report(report: Report, folder: Path) -> None:
    """Writes report.json, report.html and frames.csv into an existing folder."""
    (folder / "report.json").write_text(json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n")
    (folder / "report.html").write_text(report.to_html(), encoding="utf-8")
    with (folder / "frames.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["recording", "topic", "index", "stamp_ns", "outcome", "latency_ms", "score"])
        for row in report.rows:
            latency = "" if row.latency_ms is None else f"{row.latency_ms:.3f}"
            score = "" if row.score is None else f"{row.score:.4f}"
            stamp = "" if row.stamp_ns is None else row.stamp_ns
            writer.writerow([row.recording, row.topic, row.index, stamp, row.outcome, latency, score])


def frames_json(frames: FrameCounts) -> dict[str, int]:
    """The frame counts as they stand in report.json."""
    return {
        "in": frames.sent,
        "out": frames.answered,
        "lost": frames.lost,
        "undecodable": frames.undecodable,
        "scored": frames.scored,
    }


def _latency_json(latency: Percentiles | None) -> dict[str, float] | None:
    return None if latency is None else asdict(latency)


def _scores_json(scores: Scores | None) -> dict[str, Any]:
    if scores is None:
        return {"detection": None, "segmentation": None, "missing_in_model": [], "missing_in_index": []}
    detection = segmentation = None
    if scores.detection is not None:
        detection = {
            "map": scores.detection.map,
            "ap50": scores.detection.ap50,
            "ap75": scores.detection.ap75,
            "classes": {
                name: asdict(of_class) | _operating_point_json(scores, name)
                for name, of_class in scores.detection.per_class.items()
            },
        }
    if scores.segmentation is not None:
        segmentation = {
            "mean_iou": scores.segmentation.mean_iou,
            "pixel_accuracy": scores.segmentation.pixel_accuracy,
            "classes": dict(scores.segmentation.iou),
            "confusion": scores.segmentation.confusion.tolist(),
        }
    return {
        "detection": detection,
        "segmentation": segmentation,
        "missing_in_model": list(scores.missing_in_model),
        "missing_in_index": list(scores.missing_in_index),
    }


def _operating_point_json(scores: Scores, name: str) -> dict[str, Any]:
    if name not in scores.operating_points:
        return {}
    point = scores.operating_points[name]
    return asdict(point) | {"precision": point.precision, "recall": point.recall}
