"""Recordings through the real perception node, scored: from files to one report."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType

from mayhem_ros.errors import UsageError
from mayhem_ros.model_card import ModelCard
from mayhem_ros.onnx_model import OnnxModel
from mayhem_train.console import error_console, track
from mayhem_train.datasets.index import DatasetIndex, dataset_hash
from mayhem_train.evaluation.latency import percentiles
from mayhem_train.evaluation.playback.playback import PlayedFrame, playback
from mayhem_train.evaluation.playback.private_domain import private_domain
from mayhem_train.evaluation.playback.settings import PlaybackSettings
from mayhem_train.evaluation.playback.stage_times import StageTimes
from mayhem_train.evaluation.provenance import DatasetSummary, ModelSummary, software_versions, this_machine
from mayhem_train.evaluation.replay.drive import Drive, count_frames, refuse_same_names
from mayhem_train.evaluation.replay.report import Report, write_report
from mayhem_train.evaluation.replay.requirements import Requirement, refuse_unknown_classes
from mayhem_train.evaluation.reporting.gallery import Exhibit, Gallery, evenly
from mayhem_train.evaluation.reporting.pictures import (
    Picture,
    colours_of,
    jpeg_data_uri,
    prediction_panel,
    truth_panel,
)
from mayhem_train.evaluation.scoring.scorer import Scorer
from mayhem_train.outputs import refuse_existing_folder, refuse_inputs_within, whole_folder
from mayhem_train.recordings.frame import frame_name
from mayhem_train.recordings.opening import opened_recording

REPORT = "report"  # what the folder lists itself as
SPREAD_PICTURES = 6
WORST_PICTURES = 6


def replay(
    recordings: Sequence[Path],
    model: Path,
    out: Path,
    *,
    index: Path | None = None,
    split: str | None = None,
    topic: str | None = None,
    settings: PlaybackSettings | None = None,
    domain: int | None = None,
    requirements: Sequence[Requirement] = (),
    force: bool = False,
) -> Report:
    """Plays recordings to the perception node, each to a fresh one, scores what it publishes and writes the report.

    Args:
        recordings: files or folders of different names.
        model: an exported model.
        out: the folder for report.json, report.html, frames.csv and the nodes' logs.
        index: the labels; None plays without scoring.
        split: score only the frames of this split; all are played.
        topic: the image topic; None takes the one that the labels name, or the recording's only camera.
        settings: how to play.
        domain: the ROS domain id to play on; None takes one that nobody uses.
        requirements: limits; whether they are met stands in the report.
        force: replace `out`.

    Raises:
        MayhemError: a file is missing or damaged, labels and recording do not belong together, or the node fails.
        UsageError: the arguments contradict each other or what is there.
    """
    settings = settings or PlaybackSettings()
    refuse_inputs_within(out, [model, *recordings, *([] if index is None else [index])])
    refuse_existing_folder(out, of=REPORT, force=force)
    card = OnnxModel(model, provider="cpu", threads=1).card
    labels = _load_labels(index, split)
    if labels is not None:
        refuse_unknown_classes(requirements, [c.name for c in labels.things], [c.name for c in labels.surfaces])
    with ExitStack() as resources:
        resources.enter_context(_terminated_as_interrupted())
        seen_by = card.input.intensity_range
        opened = [resources.enter_context(opened_recording(path)) for path in recordings]
        drives = [Drive(recording, topic, labels, index, seen_by) for recording in opened]
        refuse_same_names(drives)
        judge = _Judge(drives, card, labels)
        stages = StageTimes()
        folder = resources.enter_context(whole_folder(out, of=REPORT, force=force))
        on_domain = resources.enter_context(private_domain(domain))
        for number in range(len(drives)):
            _play(judge, number, model, card, on_domain, settings, stages, folder)
        report = judge.report(model, index, split, settings, stages, requirements)
        write_report(report, folder)
    return report


def _load_labels(index: Path | None, split: str | None) -> DatasetIndex | None:
    if index is None:
        if split is not None:
            raise UsageError(f"--split {split} needs a dataset index: name it with --index.")
        return None
    labels = DatasetIndex.load(index)
    if split is None:
        return labels
    splits = sorted({image.split for image in labels.images})
    if split not in splits:
        raise UsageError(f"{index} has no split {split!r}: it has {', '.join(splits) or 'no images'}.")
    return labels.split(split)


def _play(
    judge: _Judge,
    number: int,
    model: Path,
    card: ModelCard,
    domain: int,
    settings: PlaybackSettings,
    stages: StageTimes,
    folder: Path,
) -> None:
    """Plays one recording to a node of its own and leaves the node's log in `folder`."""
    drive = judge.drives[number]
    if drive.is_video:
        error_console.print(
            f"{drive.topic.name} of {drive.recording.path} is video: its pictures are decoded on the way and sent to "
            "the node as raw images, rgb8 with the headers as recorded.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    with tempfile.TemporaryDirectory(prefix="mayhem-replay-") as workplace:
        with playback(model, card, drive.played_topic, domain, Path(workplace), settings, stages) as played:
            frames = played.play(drive.messages(), drive.is_damaged)
            for frame in track(frames, f"replaying {drive.recording.stem}", total=drive.topic.count):
                judge.note(number, frame)
        shutil.copyfile(Path(workplace) / "node.log", folder / f"node-{drive.recording.stem}.log")


class _Judge:
    """Scores frames as they come back and, at the end, draws the report from what it noted."""

    def __init__(self, drives: Sequence[Drive], card: ModelCard, labels: DatasetIndex | None) -> None:
        self.drives = drives
        self._card = card
        self._labels = labels
        self._scorers = [None if labels is None else Scorer(card, labels) for _ in drives]
        # Scoring takes processor time from the node, so that a lone recording is not scored twice.
        self._scorer = self._scorers[0] if len(drives) == 1 or labels is None else Scorer(card, labels)
        frames = [
            (number, index)
            for number, drive in enumerate(drives)
            for index in (range(drive.topic.count) if labels is None else sorted(drive.labelled))
        ]
        self._gallery = Gallery(evenly(frames, SPREAD_PICTURES), WORST_PICTURES)

    def note(self, number: int, played: PlayedFrame) -> None:
        """Takes one frame of the recording of that number."""
        drive, scorer = self.drives[number], self._scorers[number]
        image = drive.labelled.get(played.index)
        score = None
        if played.prediction is not None:
            if image is not None and scorer is not None and self._scorer is not None:
                score = self._scorer.add(image, played.prediction)
                if scorer is not self._scorer:
                    scorer.add(image, played.prediction)
            self._gallery.offer(Exhibit(number, played.index, played.prediction, played.latency_ms, image, score))
        drive.note(played, score)

    def report(
        self,
        model: Path,
        index: Path | None,
        split: str | None,
        settings: PlaybackSettings,
        stages: StageTimes,
        requirements: Sequence[Requirement],
    ) -> Report:
        """Everything noted, as a report."""
        summaries = tuple(drive.summary(scorer) for drive, scorer in zip(self.drives, self._scorers, strict=True))
        rows = tuple(row for drive in self.drives for row in drive.rows)
        colours = colours_of(self._labels, self._card)
        report = Report(
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            mode=settings.mode,
            rate=settings.rate,
            score_threshold=settings.threshold,
            model=ModelSummary.of(model, self._card),
            dataset=None if index is None else DatasetSummary(str(index), dataset_hash(index), split),
            recordings=summaries,
            frames=count_frames(rows),
            latency=percentiles([row.latency_ms for row in rows if row.latency_ms is not None]),
            node_stages_ms=stages.summary(),
            scores=None if self._scorer is None else self._scorer.compute(),
            verdicts=(),
            rows=rows,
            worst=tuple(self._picture(exhibit, colours) for exhibit in self._gallery.worst),
            spread=tuple(self._picture(exhibit, colours) for exhibit in self._gallery.spread),
            machine=this_machine(),
            versions=software_versions(),
            colours=colours,
        )
        figures = report.figures()
        return replace(report, verdicts=tuple(requirement.check(figures) for requirement in requirements))

    def _picture(self, exhibit: Exhibit, colours: Mapping[str, str]) -> Picture:
        drive = self.drives[exhibit.recording]
        image = drive.image(exhibit.index)
        truth = None
        if self._labels is not None and exhibit.image is not None:
            truth = truth_panel(self._labels, exhibit.image, colours)
        return Picture(
            name=frame_name(drive.recording.stem, exhibit.index),
            caption=exhibit.caption,
            width=image.shape[1],
            height=image.shape[0],
            jpeg=jpeg_data_uri(image),
            truth=truth,
            prediction=prediction_panel(self._card, exhibit.prediction, colours),
        )


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block like Ctrl-C, so that the node is stopped and nothing half-written stays.

    What is ignored, as SIGHUP is under nohup, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    taken = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    try:
        for number in taken:
            signal.signal(number, interrupt)
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
