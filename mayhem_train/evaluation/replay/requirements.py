"""What a replay must reach before it passes: `map50=0.5`, `iou.floor=0.9`, `latency.p99=40`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mayhem_ros.errors import UsageError

AT_LEAST = ("map", "map50", "map75", "mean_iou", "pixel_accuracy")
AT_LEAST_BY_CLASS = ("ap", "ap50", "ap75", "precision", "recall", "iou")
AT_MOST = ("latency.p50", "latency.p90", "latency.p99", "latency.max", "frames.lost", "frames.undecodable")


@dataclass(frozen=True)
class Requirement:
    """One figure and its limit: quality must reach it, latency (ms) and lost frames must not exceed it."""

    name: str
    limit: float

    @property
    def at_most(self) -> bool:
        """Whether smaller is better."""
        return self.name in AT_MOST

    def check(self, figures: Mapping[str, float | None]) -> Verdict:
        """Compares with what was measured; a figure that could not be measured does not meet any limit."""
        found = figures.get(self.name)
        met = found is not None and (found <= self.limit if self.at_most else found >= self.limit)
        return Verdict(self, found, met)


@dataclass(frozen=True)
class Verdict:
    """What came of a requirement; `found` is None where the figure was not measured ("n/a")."""

    requirement: Requirement
    found: float | None
    met: bool

    @property
    def sentence(self) -> str:
        """Such as "map50 is 0.412, below the required 0.5"."""
        name, limit = self.requirement.name, self.requirement.limit
        if self.found is None:
            return f"{name} could not be measured, and {limit:g} is required"
        if self.requirement.at_most:
            relation = "within" if self.met else "above"
        else:
            relation = "which meets" if self.met else "below"
        return f"{name} is {self.found:.4g}, {relation} the required {limit:g}"


def parse_requirement(text: str) -> Requirement:
    """Reads NAME=LIMIT.

    Raises:
        UsageError: there is no such figure, or the limit is no number.
    """
    name, separator, value = text.partition("=")
    name = name.strip()
    if not separator:
        raise UsageError(f"--require {text}: write NAME=LIMIT, such as map50=0.5 or iou.floor=0.9.")
    kind, _, class_name = name.partition(".")
    if name not in AT_LEAST and name not in AT_MOST and not (kind in AT_LEAST_BY_CLASS and class_name):
        known = [*AT_LEAST, *(f"{kind}.CLASS" for kind in AT_LEAST_BY_CLASS), *AT_MOST]
        raise UsageError(f"--require {text}: there is no figure {name!r}; choose from {', '.join(known)}.")
    try:
        limit = float(value)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise UsageError(f"--require {text}: the limit {value!r} is no number.")
    return Requirement(name, limit)


def refuse_unknown_classes(
    requirements: Collection[Requirement], things: Collection[str], surfaces: Collection[str]
) -> None:
    """Raises UsageError where a requirement names a class that nothing labels, before hours are spent on it."""
    for requirement in requirements:
        if requirement.name in AT_MOST or "." not in requirement.name:
            continue
        kind, _, class_name = requirement.name.partition(".")
        known = ["background", *surfaces] if kind == "iou" else list(things)
        if class_name not in known:
            raise UsageError(
                f"--require {requirement.name}: the dataset index has no class {class_name!r} of that kind; "
                f"it has {', '.join(known) or 'none'}."
            )
