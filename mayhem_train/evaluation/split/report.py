"""What an evaluation found, as files: JSON and CSV for machines, pictures and one HTML page for people."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mayhem_train.datasets.frame_reader import FrameReader
from mayhem_train.datasets.index import BACKGROUND
from mayhem_train.evaluation.metrics.boundary import TOLERANCE
from mayhem_train.evaluation.provenance import DatasetSummary, Machine, ModelSummary
from mayhem_train.evaluation.reporting.comparison import Drawing, draw_comparison, write_png
from mayhem_train.evaluation.reporting.gallery import Exhibit
from mayhem_train.evaluation.reporting.page import render_page
from mayhem_train.evaluation.reporting.pictures import (
    Picture,
    colours_of,
    jpeg_data_uri,
    png_data_uri,
    prediction_panel,
    truth_panel,
)
from mayhem_train.evaluation.scoring.scorer import BACKGROUND_NAME
from mayhem_train.evaluation.split.evaluation import SplitEvaluation
from mayhem_train.evaluation.split.plots import box_confusion_plot, pixel_confusion_plot, precision_recall_plot
from mayhem_train.evaluation.split.single_task_results import HEADLINES, Comparison, SingleTaskResults

METRICS_FORMAT = 1
_CSV_COLUMNS = (
    "class",
    "kind",
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "score_threshold",
    "precision",
    "recall",
    "true_positives",
    "false_positives",
    "false_negatives",
    "iou",
    "boundary_f1",
    "false_rate",
)


@dataclass(frozen=True)
class SplitReport:
    """An evaluation with what it was made of.

    Attributes:
        single_tasks: what it is held against; none are named as a rule.
    """

    created: str
    model: ModelSummary
    dataset: DatasetSummary
    evaluation: SplitEvaluation
    single_tasks: SingleTaskResults
    machine: Machine
    versions: Mapping[str, str]

    @property
    def comparison(self) -> Comparison | None:
        """Δm, where single-task results were named."""
        return self.single_tasks.compare(self.headlines)

    @property
    def headlines(self) -> dict[str, float | None]:
        """By task the figure that Δm compares; tasks that were not scored are left out."""
        return {
            task: values[HEADLINES[task]]
            for task, values in (("detection", self.detection), ("segmentation", self.segmentation))
            if values is not None
        }

    @property
    def detection(self) -> dict[str, Any] | None:
        """The figures of boxes as they stand in metrics.json."""
        scores = self.evaluation.scores
        if scores.detection is None or scores.box_confusion is None:
            return None
        whole = asdict(scores.detection)
        classes = whole.pop("per_class")
        for name, point in scores.operating_points.items():
            classes[name] |= asdict(point) | {"precision": point.precision, "recall": point.recall}
        names = [category.name for category in self.evaluation.index.things]
        confusion = {"classes": ["nothing", *names], "counts": scores.box_confusion.tolist()}
        return {**whole, "classes": classes, "confusion": confusion}

    @property
    def segmentation(self) -> dict[str, Any] | None:
        """The figures of surfaces as they stand in metrics.json."""
        scores = self.evaluation.scores
        if scores.segmentation is None or scores.boundaries is None:
            return None
        found, borders = scores.segmentation, scores.boundaries
        names = [BACKGROUND_NAME, *(category.name for category in self.evaluation.index.surfaces)]
        return {
            "mean_iou": found.mean_iou,
            "pixel_accuracy": found.pixel_accuracy,
            "mean_boundary_f1": borders.mean_f1,
            "boundary_tolerance": TOLERANCE,
            "recall_like_miou": found.recall_like_miou,
            "classes": {BACKGROUND_NAME: {"iou": found.iou[BACKGROUND_NAME]}}
            | {
                name: {"iou": found.iou[name], "boundary_f1": borders.f1.get(name), "false_rate": false_rate}
                for name, false_rate in found.false_rate.items()
            },
            "confusion": {"classes": names, "counts": found.confusion.tolist()},
        }

    def to_json(self) -> dict[str, Any]:
        """The content of metrics.json; its schema stands in docs/evaluation.md."""
        evaluation = self.evaluation
        return {
            "format_version": METRICS_FORMAT,
            "created": self.created,
            "model": {
                "path": self.model.path,
                "sha256": self.model.sha256,
                "task": self.model.card.task,
                "origin": asdict(self.model.card.origin),
            },
            "dataset": asdict(self.dataset),
            "frames": {
                "scored": len(evaluation.frames),
                "unreadable": [frame.name for frame in evaluation.unreadable],
            },
            "detection": self.detection,
            "segmentation": self.segmentation,
            "delta_m": None if self.comparison is None else asdict(self.comparison),
            "missing_in_model": list(evaluation.scores.missing_in_model),
            "missing_in_index": list(evaluation.scores.missing_in_index),
            "worst_frames": [
                {"name": exhibit.image.name, "score": exhibit.score.score, "faults": list(exhibit.score.faults)}
                for exhibit in evaluation.worst
                if exhibit.image is not None and exhibit.score is not None
            ],
            "machine": asdict(self.machine),
            "versions": dict(self.versions),
        }

    def class_rows(self) -> Iterator[dict[str, Any]]:
        """One row a class, boxes first, by the columns of metrics.csv; what is not there is left out."""
        for kind, figures in (("box", self.detection), ("surface", self.segmentation)):
            for name, values in ({} if figures is None else figures["classes"]).items():
                yield {"class": name, "kind": kind, **{key: values[key] for key in _CSV_COLUMNS if key in values}}


def write_split_report(report: SplitReport, reader: FrameReader, folder: Path) -> None:
    """Writes every file into an existing folder; a plot that would show nothing is left out.

    Raises:
        MayhemError: a frame that is to be shown cannot be read any more.
    """
    evaluation = report.evaluation
    scores = evaluation.scores
    colours = colours_of(evaluation.index, evaluation.card)
    (folder / "metrics.json").write_text(json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n")
    _write_csv(folder / "metrics.csv", _CSV_COLUMNS, report.class_rows())
    _write_csv(folder / "frames.csv", ("frame", "score", "boxes", "surfaces", "faults"), _frame_rows(evaluation))
    plots = []
    if any(evaluation.curves.values()):
        plots.append("pr-curves.png")
        precision_recall_plot(evaluation.curves, scores.operating_points, colours, folder / plots[-1])
    if scores.box_confusion is not None:
        plots.append("box-confusion.png")
        names = [category.name for category in evaluation.index.things]
        box_confusion_plot(scores.box_confusion, names, folder / plots[-1])
    if scores.segmentation is not None:
        plots.append("pixel-confusion.png")
        names = [BACKGROUND_NAME, *(category.name for category in evaluation.index.surfaces)]
        pixel_confusion_plot(scores.segmentation.confusion, names, folder / plots[-1])
    if evaluation.worst:
        (folder / "worst").mkdir()
    pictures = []
    for place, exhibit in enumerate(evaluation.worst, start=1):
        pictures.append(_show(evaluation, exhibit, place, reader, colours, folder / "worst"))
    page = _page(report, plots, pictures, colours, folder)
    (folder / "report.html").write_text(page, encoding="utf-8")


def _frame_rows(evaluation: SplitEvaluation) -> Iterator[dict[str, Any]]:
    for frame in evaluation.frames:
        yield {
            "frame": frame.image.name,
            "score": frame.score.score,
            "boxes": frame.score.detection,
            "surfaces": frame.score.segmentation,
            "faults": "; ".join(frame.score.faults),
        }


def _write_csv(path: Path, columns: tuple[str, ...], rows: Iterator[dict[str, Any]]) -> None:
    """Empty where a column does not apply, "n/a" where there is no ground truth for it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _cell(value) for key, value in row.items()})


def _cell(value: Any) -> Any:
    if value is None:
        return "n/a"
    return f"{value:.6f}" if isinstance(value, float) else value


def _show(
    evaluation: SplitEvaluation,
    exhibit: Exhibit,
    place: int,
    reader: FrameReader,
    colours: Mapping[str, str],
    folder: Path,
) -> Picture:
    """Writes the frame as a PNG with truth and prediction, and gives it as it stands in the HTML page."""
    image, card = exhibit.image, evaluation.card
    assert image is not None
    pixels = reader.read(image)
    truth = truth_panel(evaluation.index, image, colours)
    prediction = prediction_panel(card, exhibit.prediction, colours)
    of_truth = {value: colours[c.name] for value, c in enumerate(evaluation.index.surfaces, start=1)}
    of_model = {c.id: colours[c.name] for c in card.segmentation_classes if c.id != BACKGROUND}
    true_mask = evaluation.index.mask(image) if evaluation.scores.segmentation is not None else None
    picture = draw_comparison(
        pixels,
        (image.height, image.width),
        Drawing(truth.boxes if evaluation.scores.detection is not None else (), true_mask, of_truth),
        Drawing(prediction.boxes, exhibit.prediction.mask, of_model),
        f"{place}. {image.name} · {exhibit.caption}",
    )
    name = image.name.replace("/", "_").replace("\\", "_")  # a recording's name in an index may be anything
    write_png(picture, folder / f"{place:02d}-{name}")
    return Picture(image.name, exhibit.caption, image.width, image.height, jpeg_data_uri(pixels), truth, prediction)


def _page(
    report: SplitReport, plots: list[str], pictures: list[Picture], colours: Mapping[str, str], folder: Path
) -> str:
    """One page that holds everything: its pictures are in it."""
    return render_page(
        "mayhem_train.evaluation.split",
        "test.html.jinja",
        report=report,
        plots=[(name, png_data_uri((folder / name).read_bytes())) for name in plots],
        pictures=pictures,
        colours=colours,
        tolerance=TOLERANCE,
    )
