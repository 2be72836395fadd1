"""One recording's part in a replay: its camera, its labels, and what became of every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.evaluation.latency import percentiles
from mayhem_train.evaluation.playback.playback import PlayedFrame
from mayhem_train.evaluation.replay.report import FrameCounts, FrameRow, RecordingSummary
from mayhem_train.evaluation.scoring.scorer import FrameScore, Scorer
from mayhem_train.recordings.recording import IMAGE, RecordedMessage, Recording, Topic
from mayhem_train.recordings.video.raw_images import raw_images


class Drive:
    """A recording to be played, with the labelled frames of its image topic.

    Attributes:
        recording: the recording.
        topic: the topic to play.
        is_video: whether it holds packets of a video.
        labelled: labelled images by index.
        rows: what became of the frames noted so far.

    Args:
        recording: an open recording.
        topic: the image topic; None takes the one that the labels name, or the only camera.
        labels: the labels to score by, or None.
        labels_path: the labels' file, for messages.
        intensity_range: by which the model sees 16-bit cameras.

    Raises:
        UsageError: the topic does not exist, or there are several and none is chosen.
        MayhemError: the labels are none of this recording's.
    """

    def __init__(
        self,
        recording: Recording,
        topic: str | None,
        labels: DatasetIndex | None,
        labels_path: Path | None,
        intensity_range: IntensityRange | None = None,
    ) -> None:
        self.recording = recording
        ours = [] if labels is None else [image for image in labels.images if image.recording == recording.stem]
        topics = {image.topic for image in ours}
        self.topic: Topic = recording.image_topic(topics.pop() if topic is None and len(topics) == 1 else topic)
        self.labelled = {image.index: image for image in ours if image.topic == self.topic.name}
        self.is_video = recording.is_video(self.topic.name)
        self.rows: list[FrameRow] = []
        self._labels_path = labels_path
        self._intensity_range = intensity_range
        if labels is not None:
            self._refuse_foreign_labels(labels)

    def messages(self) -> Iterator[RecordedMessage]:
        """What is played, in the order of log time: a video's pictures as raw images, which the node takes."""
        if self.is_video:
            return raw_images(self.recording, self.topic.name)
        return self.recording.messages([self.topic.name])

    @property
    def played_topic(self) -> Topic:
        """The topic with the type of what is played."""
        return replace(self.topic, type=IMAGE) if self.is_video else self.topic

    def is_damaged(self, index: int) -> bool:
        """Whether the frame cannot be decoded."""
        try:
            self.image(index)
        except MayhemError:
            return True
        return False

    def image(self, index: int) -> NDArray[np.uint8]:
        """A frame as the model sees it: uint8 [H, W, 3] RGB.

        Raises:
            MayhemError: it cannot be decoded.
        """
        return self.recording.read_image(self.topic.name, index, self._intensity_range)

    def note(self, played: PlayedFrame, score: FrameScore | None) -> None:
        """Adds a frame that was played; `score` where it was scored."""
        if played.prediction is not None:
            outcome = "answered"
        else:
            outcome = "undecodable" if self.is_damaged(played.index) else "lost"
        self.rows.append(
            FrameRow(
                recording=self.recording.stem,
                topic=self.topic.name,
                index=played.index,
                stamp_ns=played.stamp_ns,
                outcome=outcome,
                latency_ms=played.latency_ms,
                score=None if score is None else score.score,
            )
        )

    def summary(self, scorer: Scorer | None) -> RecordingSummary:
        """What the report says of this recording."""
        self.rows.sort(key=lambda row: row.index)
        return RecordingSummary(
            name=self.recording.stem,
            path=str(self.recording.path),
            topic=self.topic.name,
            type=self.topic.type,
            frames=count_frames(self.rows),
            latency=percentiles([row.latency_ms for row in self.rows if row.latency_ms is not None]),
            scores=None if scorer is None else scorer.compute(),
        )

    def _refuse_foreign_labels(self, labels: DatasetIndex) -> None:
        stem, topic = self.recording.stem, self.topic
        if not self.labelled:
            named = sorted({f"{image.recording} {image.topic}" for image in labels.images})
            raise MayhemError(
                f"{self._labels_path} labels no frame of {stem} {topic.name}, only of {_some(named)}: choose the "
                "recording that was labelled, or leave --index out."
            )
        for image in self.labelled.values():
            if image.index >= topic.count:
                raise MayhemError(
                    f"{self._labels_path} labels frame {image.index} of {stem}, but {self.recording.path} has only "
                    f"{topic.count} on {topic.name}: choose the whole recording that was labelled."
                )
            stamp = self.recording.frame(topic.name, image.index).stamp_ns
            if stamp != image.stamp_ns:
                raise MayhemError(
                    f"{self._labels_path} labels a frame {image.name} stamped {image.stamp_ns}, but in "
                    f"{self.recording.path} it is stamped {stamp}: it is another recording of the same name."
                )


def refuse_same_names(drives: Sequence[Drive]) -> None:
    """Raises UsageError where two recordings share a name: their frames could not be told apart."""
    seen: dict[str, Path] = {}
    for drive in drives:
        stem, path = drive.recording.stem, drive.recording.path
        if stem in seen:
            raise UsageError(f"{seen[stem]} and {path} are both called {stem}: replay them one by one.")
        seen[stem] = path


def count_frames(rows: Sequence[FrameRow]) -> FrameCounts:
    """How the frames fared."""
    outcomes = [row.outcome for row in rows]
    return FrameCounts(
        sent=len(rows),
        answered=outcomes.count("answered"),
        lost=outcomes.count("lost"),
        undecodable=outcomes.count("undecodable"),
        scored=sum(row.score is not None for row in rows),
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) or "none at all"
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
