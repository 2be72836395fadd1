"""A model on a split of a dataset: from files to a folder of figures, plots and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from mayhem_train.console import error_console
from mayhem_train.datasets.frame_reader import FrameReader
from mayhem_train.datasets.index import DatasetIndex, dataset_hash
from mayhem_train.evaluation.provenance import DatasetSummary, ModelSummary, software_versions, this_machine
from mayhem_train.evaluation.split.evaluation import Predictor, choose_split, evaluate_split, scored_tasks
from mayhem_train.evaluation.split.report import SplitReport, write_split_report
from mayhem_train.evaluation.split.single_task_results import SingleTaskResults
from mayhem_train.outputs import refuse_existing_folder, refuse_inputs_within, whole_folder

_SCORES = "scores"  # what the folder lists itself as
WORST_FRAMES = 12


def evaluate_model(
    model: Path,
    open_model: Callable[[], Predictor],
    out: Path,
    *,
    index: Path,
    recordings: Path | None,
    images: Path | None = None,
    distro: str | None = None,
    split: str | None = None,
    against: Sequence[Path] = (),
    worst: int = WORST_FRAMES,
    force: bool = False,
) -> SplitReport:
    """Scores a model on every labelled frame of a split and writes what it found, whole or not at all.

    Args:
        model: the model's file.
        open_model: opens it; called once everything else is known to be there.
        out: the folder for metrics.json, metrics.csv, frames.csv, report.html, the plots and worst/.
        index: the labels.
        recordings: folder of the recordings they name; None where every frame is an image in `images`.
        images: folder of extracted images.
        distro: ROS distribution whose message definitions to take where a recording has none.
        split: which frames; None takes "test", or "val" where the index has no such frames.
        against: results of single-task networks on the same frames, for Δm.
        worst: how many of the worst frames to show.
        force: replace `out`.

    Raises:
        MayhemError: something is missing or damaged, or model and labels do not belong together.
        UsageError: the arguments contradict each other or what is there.
    """
    inputs = [model, index, recordings, images, *against]
    refuse_inputs_within(out, [path for path in inputs if path is not None])
    refuse_existing_folder(out, of=_SCORES, force=force)
    chosen, labels = choose_split(DatasetIndex.load(index), index, split)
    dataset = DatasetSummary(str(index), dataset_hash(index), chosen)
    results = SingleTaskResults.read(against, dataset.sha256, chosen)
    reader = FrameReader(labels.images, recordings, images, distro)
    opened = open_model()
    reader.intensity_range = opened.card.input.intensity_range  # as the robot will see them
    for sentence in reader.few_levels(labels.images):
        error_console.print(f"Warning: {sentence}", markup=False, highlight=False, soft_wrap=True)
    results.refuse_other_tasks(scored_tasks(opened.card, labels))
    with whole_folder(out, of=_SCORES, force=force) as partial:
        report = SplitReport(
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            model=ModelSummary.of(model, opened.card),
            dataset=dataset,
            evaluation=evaluate_split(opened, labels, reader, worst=worst),
            single_tasks=results,
            machine=this_machine(),
            versions=software_versions(),
        )
        write_split_report(report, reader, partial)
    return report
