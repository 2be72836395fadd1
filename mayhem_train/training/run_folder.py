"""A run's folder: whose run it holds, and what is recorded of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from mayhem_ros.errors import UsageError
from mayhem_train.outputs import whole_file
from mayhem_train.training.provenance import environment, git_revision

# What may change between two starts of one run.
_PASSING = ("config", "out", "force", "wandb")
_EXTENDABLE = {"trainer.max_epochs", "trainer.max_time"}


def check_run_folder(folder: Path, settings: dict[str, Any], defaults: dict[str, Any], *, force: bool) -> None:
    """Refuses a folder that holds something else than this run; changes nothing.

    A setting that the run does not have, being older than it, counts as the default.

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
    differing = sorted(_differences(_completed(before, _lasting(defaults)), _lasting(settings)) - _EXTENDABLE)
    if differing:
        raise UsageError(
            f"{folder} holds a run with other settings ({', '.join(differing[:4])}): "
            "choose another --out, or pass --force to replace it."
        )


def record_run(folder: Path, settings: dict[str, Any], origin: Mapping[str, Any], *, anew: bool) -> None:
    """Writes config.yaml (every setting) and run.json (where the run comes from); `anew` removes the old run.

    A run that goes on keeps what was said of its start, and each later start stands beside it under "resumed".

    Args:
        folder: the run's.
        settings: as the parser has them.
        origin: what else run.json says, plain values: the data, the devices.
        anew: whether what the folder holds is removed.
    """
    if anew and folder.exists():
        shutil.rmtree(folder)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    now = {"started": started, "git_revision": git_revision(), **origin, "environment": environment()}
    before = read_record(folder)
    record = {**before, "resumed": [*before.get("resumed", []), now]} if before else now
    with whole_file(folder / "config.yaml", force=True) as partial:
        partial.write_text(yaml.safe_dump(_lasting(settings), sort_keys=False))
    _write_record(folder, record)


def read_record(folder: Path) -> dict[str, Any]:
    """What run.json says; nothing where there is none that can be read."""
    try:
        record = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def record_early_stop(folder: Path, epochs: int) -> None:
    """Marks a run as ended by early stopping after so many epochs."""
    _write_record(folder, {**read_record(folder), "stopped_early_after_epoch": epochs})


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    with whole_file(folder / "run.json", force=True) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n")


def _lasting(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in _PASSING}


def _completed(before: Any, defaults: Any) -> Any:
    """A run's settings with the defaults of those that it does not have."""
    if not isinstance(before, dict) or not isinstance(defaults, dict):
        return before
    missing = {name: value for name, value in defaults.items() if name not in before}
    return missing | {name: _completed(value, defaults.get(name)) for name, value in before.items()}


def _differences(before: Any, after: Any, place: str = "") -> set[str]:
    """The dotted names of the settings that differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        return {
            name
            for key in before.keys() | after.keys()
            for name in _differences(before.get(key), after.get(key), f"{place}.{key}" if place else key)
        }
    return set() if before == after else {place}
