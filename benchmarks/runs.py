"""The training runs of a benchmark: made by `mayhem train`, kept when finished, all of one setting."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mayhem_ros.errors import UsageError
from mayhem_train.datasets.index import dataset_hash
from mayhem_train.training.run_folder import read_record

CONFIGURATIONS = Path(__file__).parent.parent / "config" / "train"


@dataclass(frozen=True)
class Run:
    """One run of `mayhem train` from a ready configuration.

    Attributes:
        folder: where it goes.
        network: whose configuration it takes.
        index: the labels it learns from.
        recordings: the folder of their recordings.
        settings: what is set besides, by the name that `mayhem train` has for it; a finished run must have the same.
        passing: likewise, what a finished run may have had otherwise.
    """

    folder: Path
    network: str
    index: Path
    recordings: Path
    settings: Mapping[str, Any]
    passing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def checkpoint(self) -> Path:
        """The weights of the last step, chosen by nobody."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def data(self) -> list[str]:
        """Whose labels and recordings, as `mayhem train` and `mayhem test` take them."""
        return ["--data.index", str(self.index), "--data.recordings", str(self.recordings)]

    def train(self) -> None:
        """Trains it, goes on with it, or leaves it alone where it is finished."""
        options = {"config": CONFIGURATIONS / f"{self.network}.yaml", "out": self.folder}
        named = {**options, **self.settings, **self.passing}
        mayhem("train", *self.data, *(word for name, value in named.items() for word in (f"--{name}", str(value))))

    def refuse_other_settings(self) -> None:
        """Nothing where there is no run yet.

        Raises:
            UsageError: the folder holds a run with other settings, or of other labels.
        """
        saved = self.folder / "config.yaml"
        if not saved.is_file():
            return
        before = yaml.safe_load(saved.read_text())
        found = {name: _setting(before, name) for name in self.settings}
        differing = [
            f"{name} {found[name]}, not {asked}" for name, asked in self.settings.items() if found[name] != asked
        ]
        if read_record(self.folder).get("dataset_sha256") != dataset_hash(self.index):
            differing.append(f"other labels than {self.index}")
        if differing:
            raise UsageError(f"{self.folder} holds another run ({'; '.join(differing)}): choose another --runs.")


def mayhem(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "mayhem_train.cli", *words], check=True)


def _setting(settings: Any, name: str) -> Any:
    for part in name.split("."):
        settings = settings.get(part) if isinstance(settings, dict) else None
    return settings
