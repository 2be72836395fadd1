"""What each stage of the node took, by its own reports in /diagnostics."""

from __future__ import annotations

import numpy as np


class StageTimes:
    """The node's own times, gathered from its reports over one or several replays."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, list[float]]] = {}

    def note(self, stage: str, statistic: str, milliseconds: float) -> None:
        """One report's figure; `statistic` is "median" or "most"."""
        self._values.setdefault(stage, {}).setdefault(statistic, []).append(milliseconds)

    def summary(self) -> dict[str, dict[str, float]]:
        """By stage: the median of the reports' medians, and the most of any report."""
        return {
            stage: {
                statistic: float(np.max(values) if statistic == "most" else np.median(values))
                for statistic, values in statistics.items()
            }
            for stage, statistics in self._values.items()
        }
