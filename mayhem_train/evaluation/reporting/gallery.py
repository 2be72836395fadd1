"""Which frames of a report are shown: some at even distances, and the ones that were seen worst."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mayhem_ros.prediction import Prediction
from mayhem_train.datasets.index import LabelledImage
from mayhem_train.evaluation.scoring.scorer import FrameScore

Item = TypeVar("Item")


@dataclass(frozen=True)
class Exhibit:
    """A frame worth a picture; `image` and `score` are None where it has no labels."""

    recording: int
    index: int
    prediction: Prediction
    latency_ms: float | None
    image: LabelledImage | None
    score: FrameScore | None

    @property
    def caption(self) -> str:
        """Its score and what it is made of, how long it took, and what is wrong with it."""
        parts = []
        if self.score is not None:
            parts.append(f"score {self.score.score:.3f}")
            if self.score.detection is not None:
                parts.append(f"boxes {self.score.detection:.3f}")
            if self.score.segmentation is not None:
                parts.append(f"surfaces {self.score.segmentation:.3f}")
        if self.latency_ms is not None:
            parts.append(f"{self.latency_ms:.1f} ms")
        if self.score is not None:
            parts.extend(self.score.faults)
        return " · ".join(parts)


class Gallery:
    """Keeps a few predictions out of many, so that memory does not grow with the recordings.

    Args:
        spread: the frames to keep whatever their score, as (recording number, index).
        worst: how many of the lowest-scored frames to keep besides.
    """

    def __init__(self, spread: Collection[tuple[int, int]], worst: int) -> None:
        self._chosen = frozenset(spread)
        self._count = worst
        self._spread: list[Exhibit] = []
        self._worst: list[Exhibit] = []

    def offer(self, exhibit: Exhibit) -> None:
        """Shows a frame to the gallery, which keeps it or not."""
        if (exhibit.recording, exhibit.index) in self._chosen:
            self._spread.append(exhibit)
        if exhibit.score is not None and exhibit.score.score < 1:
            self._worst = sorted([*self._worst, exhibit], key=_score)[: self._count]

    @property
    def spread(self) -> tuple[Exhibit, ...]:
        """The chosen frames that were offered, in the order of the replay."""
        return tuple(sorted(self._spread, key=lambda exhibit: (exhibit.recording, exhibit.index)))

    @property
    def worst(self) -> tuple[Exhibit, ...]:
        """The lowest scores first; a perfect frame is never among them."""
        return tuple(self._worst)


def evenly(frames: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the frames at even distances, the first and the last among them."""
    if len(frames) <= count:
        return list(frames)
    if count == 1:
        return [frames[0]]
    return [frames[round(place * (len(frames) - 1) / (count - 1))] for place in range(count)]


def _score(exhibit: Exhibit) -> float:
    return 1.0 if exhibit.score is None else exhibit.score.score
