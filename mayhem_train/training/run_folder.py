"""A run's folder: whose run it holds, and what is recorded of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from mayhem_ros.errors import UsageError
from mayhem_train.outputs import whole_file
from mayhem_train.training.provenance import environment, git_revision

# What is said of a start rather than of the run, and not kept.
_PASSING = ("config", "out", "force", "wandb")
_EXTENDABLE = {"trainer.max_epochs", "trainer.max_time"}
# Where and by what a run is computed, where its data lie (whose hash decides whether they are the same), and what is
# shown of it: none of this changes what is learned. What belongs to one of them is free too.
_ELSEWHERE = {
    *(f"data.{name}" for name in ("index", "recordings", "images", "distro", "workers", "on_unreadable")),
    *(f"trainer.{name}" for name in ("accelerator", "devices", "num_nodes", "strategy", "use_distributed_sampler")),
    *(f"trainer.{name}" for name in ("deterministic", "benchmark", "inference_mode", "num_sanity_val_steps")),
    *(f"trainer.{name}" for name in ("logger", "log_every_n_steps", "profiler", "detect_anomaly")),
    *(f"trainer.{name}" for name in ("enable_progress_bar", "enable_model_summary", "enable_autolog_hparams")),
    *(f"trainer.{name}" for name in ("model_registry", "limit_test_batches", "limit_predict_batches")),
    "panels",
}
# Compared by what they come to: see `check_step` and `arguments`.
_COMPARED_APART = {"trainer.accumulate_grad_batches", "trainer.precision"}


def check_run_folder(folder: Path, settings: dict[str, Any], defaults: dict[str, Any], *, force: bool) -> None:
    """Refuses a folder that holds something else than this run; changes nothing.

    A setting that the run does not have, being older than it, counts as the default. Where it is computed, where its
    data lie and what is shown of it may change.

    Raises:
        UsageError: it holds a run with other settings and `force` is not set, or no run at all.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "config.yaml").is_file():
        raise UsageError(f"{folder} exists and is no training run: choose another --out.")
    if force:
        return
    before = _completed(_saved_settings(folder), _lasting(defaults))
    free = _EXTENDABLE | _ELSEWHERE | _COMPARED_APART
    differing = sorted(name for name in _differences(before, _lasting(settings)) if not _within(name, free))
    if differing:
        raise another_run(folder, differing)


def check_step(folder: Path, batches: int, processes: int, images: int) -> str:
    """What to say where a run goes on with steps of other sizes than it began with, being elsewhere; mostly nothing.

    Args:
        folder: the run's.
        batches: that are accumulated for one step.
        processes: that train now.
        images: of one batch.

    Raises:
        UsageError: other batches are accumulated, and not because there are other processes.
    """
    record = read_record(folder)
    last_start = (record.get("resumed") or [record])[-1]
    batches_before = _saved_settings(folder).get("trainer", {}).get("accumulate_grad_batches", 1)
    processes_before = last_start.get("processes", processes)
    before, now = batches_before * processes_before, batches * processes
    if before == now:
        return ""
    if batches != batches_before:
        raise another_run(folder, ["trainer.accumulate_grad_batches"])
    hint = (
        f": --trainer.accumulate_grad_batches {before // processes} would keep them" if not before % processes else ""
    )
    return f"A step takes {images * now} images here and took {images * before} before{hint}."


def another_run(folder: Path, differing: Sequence[str]) -> UsageError:
    """The error that names the settings in which a folder's run differs."""
    return UsageError(
        f"{folder} holds a run with other settings ({', '.join(differing[:4])}): "
        "choose another --out, or pass --force to replace it."
    )


def precision_before(folder: Path) -> str | None:
    """The precision that the folder's run was begun with; None where there is no run or it says nothing."""
    precision = read_record(folder).get("precision")
    return None if precision is None else str(precision)


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


def _saved_settings(folder: Path) -> dict[str, Any]:
    """What config.yaml says.

    Raises:
        UsageError: it cannot be read.
    """
    saved = folder / "config.yaml"
    try:
        settings = yaml.safe_load(saved.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            f"{saved} cannot be read: choose another --out, or pass --force to replace the run."
        ) from error
    return settings if isinstance(settings, dict) else {}


def _within(name: str, settings: Collection[str]) -> bool:
    """Whether a dotted name is one of these settings or an argument of one."""
    parts = name.split(".")
    return any(".".join(parts[:length]) in settings for length in range(1, len(parts) + 1))


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
