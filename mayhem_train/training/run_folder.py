"""A run's folder: whose run it holds, and what is recorded of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from mayhem_ros.errors import UsageError
from mayhem_train.outputs import whole_file
from mayhem_train.training.provenance import environment, git_revision

# What may change between two starts of one run.
_PASSING = ("config", "out", "force")
_EXTENDABLE = {"trainer.max_epochs"}


def check_run_folder(folder: Path, settings: dict[str, Any], *, force: bool) -> None:
    """Refuses a folder that holds something else than this run; changes nothing.

    Raises:
        UsageError: it holds a run with other settings and `force` is not set, or no run at all.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    saved = folder / "config.yaml"
    if not saved.is_file():
        raise UsageError(f"{folder} exists and is no training run: choose another --out.")
    if force:
        return
    try:
        before = yaml.safe_load(saved.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            f"{saved} cannot be read: choose another --out, or pass --force to replace the run."
        ) from error
    differing = sorted(_differences(before, _lasting(settings)) - _EXTENDABLE)
    if differing:
        raise UsageError(
            f"{folder} holds a run with other settings ({', '.join(differing[:4])}): "
            "choose another --out, or pass --force to replace it."
        )


def record_run(folder: Path, settings: dict[str, Any], *, anew: bool) -> None:
    """Writes config.yaml (every setting) and run.json (revision, versions, machine); `anew` removes the old run."""
    if anew and folder.exists():
        shutil.rmtree(folder)
    with whole_file(folder / "config.yaml", force=True) as partial:
        partial.write_text(yaml.safe_dump(_lasting(settings), sort_keys=False))
    with whole_file(folder / "run.json", force=True) as partial:
        partial.write_text(json.dumps({"git_revision": git_revision(), "environment": environment()}, indent=2) + "\n")


def _lasting(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in _PASSING}


def _differences(before: Any, after: Any, place: str = "") -> set[str]:
    """The dotted names of the settings that differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return {
            name
            for key in before.keys() | after.keys()
            for name in _differences(before.get(key), after.get(key), f"{place}.{key}" if place else key)
        }
    return set() if before == after else {place}
