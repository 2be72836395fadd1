"""`--intensity-range` of the commands that turn recordings into pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mayhem_ros.errors import UsageError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.recordings.pruning.kept_frames import read_intensity_range
from mayhem_train.recordings.sixteen_bits import AUTO, AskedRange


def add_intensity_range(parser: argparse.ArgumentParser) -> None:
    """Declares it; its value is a range, "auto" or None."""
    parser.add_argument(
        "--intensity-range",
        nargs="+",
        action=_IntensityRange,
        metavar=("LOW|auto|KEPT.json", "HIGH"),
        help="samples of 16-bit cameras (thermal, infrared, 10 to 14 bits) that become black and white; auto: found in "
        "the recordings; a file: as `mayhem prune` wrote there (default: 0 65535)",
    )


def parse_intensity_range(values: Sequence[str]) -> AskedRange:
    """What stands behind `--intensity-range`.

    Raises:
        UsageError: it is none of what may stand there.
        MayhemError: the file that it names cannot be used.
    """
    if list(values) == [AUTO]:
        return AUTO
    if len(values) == 1 and values[0].endswith(".json"):
        return read_intensity_range(Path(values[0]))
    try:
        low, high = map(int, values)
    except ValueError as error:
        raise UsageError(
            f"--intensity-range takes LOW HIGH, auto or the name of a kept.json, not {' '.join(values)!r}: name "
            "recordings and other files before it."
        ) from error
    try:
        return IntensityRange.of((low, high))
    except ValueError as error:
        raise UsageError(f"--intensity-range: {error}.") from error


class _IntensityRange(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, _: Any = None
    ) -> None:
        setattr(namespace, self.dest, parse_intensity_range(values))
