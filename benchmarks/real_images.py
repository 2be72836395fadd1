"""What learning together gains, on real images: single-task against multi-task networks, equal against balanced.

    python benchmarks/real_images.py --index camvid.json --recordings camvid/ --runs runs/real --out real_images.json
    … --networks lraspp-mtl ssdlite-mtl frcnn-mtl --balancers equal pcgrad fairgrad uncertainty+pcgrad

Beside each multi-task network of --networks stand the single-task ones with its heads; --balancers takes weightings,
gradient methods, and both together, as uncertainty+pcgrad.
Every network is trained for the same number of steps with the same body, input size, schedule and augmentation, once a
seed, by `mayhem train`; the weights of the last step, chosen by nobody, are scored by `mayhem test` on the validation
split. Finished runs are kept and unfinished ones gone on with, so that the command can be stopped and given again; runs
with other settings are refused.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measured import report
from one_pass import REPLACED
from rich.console import Console
from rich.table import Column, Table
from runs import Run, mayhem

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.names import ALIASES, CONSTANT, GRADIENT_METHODS, WEIGHTINGS
from mayhem_train.naming import look_up

DEFAULT_BALANCERS = ("equal", "uncertainty", "pcgrad")
# Constant weighting has numbers to be named.
WEIGHTING_NAMES = {name: name for name in WEIGHTINGS if name != CONSTANT}
GRADIENT_NAMES = {name: name for name in GRADIENT_METHODS}


@dataclass(frozen=True)
class Learner:
    """A network and how its tasks are balanced.

    Attributes:
        label: in the table and in the names of its runs.
        network: its name.
        weighting: of its losses.
        gradient: the gradient method.
        alone: the single-task networks that it is compared with; none for one of these.
    """

    label: str
    network: str
    weighting: str = "equal"
    gradient: str = "none"
    alone: tuple[str, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, help="what an import of labels wrote")
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="where the runs and their scores go")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), help="of the networks' input")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--body", default="mobilenet_v2")
    parser.add_argument("--networks", nargs="+", default=["lraspp-mtl"], help="multi-task networks")
    parser.add_argument("--balancers", nargs="+", default=DEFAULT_BALANCERS, help="weightings and gradient methods")
    parser.add_argument("--workers", type=int, default=2, help="processes that load the data")
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    try:
        learners = chosen(arguments.networks, arguments.balancers)
        for learner in learners:
            for seed in arguments.seeds:
                refuse_other_settings(arguments, learner, seed)
    except UsageError as error:
        raise SystemExit(str(error)) from error
    for seed in arguments.seeds:
        for learner in learners:
            train_and_test(arguments, learner, seed)
    rows = {learner.label: row(arguments, learner.label) for learner in learners}
    show(rows, arguments.seeds)
    setting = {key: getattr(arguments, key) for key in ("size", "epochs", "seeds", "body")}
    report({**setting, "networks": rows}, arguments.out)


def chosen(networks: list[str], balancers: list[str]) -> list[Learner]:
    """The single-task networks first, since the others are compared with them.

    Raises:
        UsageError: there is no network or no method of this name.
    """
    beside = {name: look_up("multi-task network", REPLACED, name) for name in networks}
    balanced = {name: parse_balancer(name) for name in balancers}
    alone = dict.fromkeys(name for names in beside.values() for name in names)
    together = [
        Learner(f"{network}-{balancer}", network, *methods, beside[network])
        for network in beside
        for balancer, methods in balanced.items()
    ]
    return [*(Learner(name, name) for name in alone), *together]


def parse_balancer(name: str) -> tuple[str, str]:
    """The weighting and the gradient method of `weighting`, `gradient` or `weighting+gradient`.

    Raises:
        UsageError: there is no such method.
    """
    weighting, plus, gradient = name.partition("+")
    if plus:
        weighting = look_up("loss weighting", WEIGHTING_NAMES, weighting, ALIASES)
        return weighting, look_up("gradient method", GRADIENT_NAMES, gradient)
    method = look_up("balancer", WEIGHTING_NAMES | GRADIENT_NAMES, name, ALIASES)
    return ("equal", method) if method in GRADIENT_NAMES else (method, "none")


def refuse_other_settings(arguments: argparse.Namespace, learner: Learner, seed: int) -> None:
    """Nothing where there is no run yet.

    Raises:
        UsageError: there is one with other settings, or a score whose run is gone.
    """
    run, tested = run_of(arguments, learner, seed), score_folder(arguments, learner.label, seed)
    run.refuse_other_settings()
    if tested.exists() and not run.checkpoint.is_file():
        raise UsageError(f"{tested} holds the score of a run that is gone from {run.folder}: choose another --runs.")


def train_and_test(arguments: argparse.Namespace, learner: Learner, seed: int) -> None:
    """One run and its score, each left alone where it is there."""
    tested = score_folder(arguments, learner.label, seed)
    if (tested / "metrics.json").is_file():
        return
    Console().rule(f"{learner.label}, seed {seed}")
    run = run_of(arguments, learner, seed)
    run.train()
    beside = [str(score_folder(arguments, name, seed)) for name in learner.alone]
    against = ["--against", *beside] if beside else []
    mayhem("test", str(run.checkpoint), *run.data, "--split", "val", "--worst", "1", "--out", str(tested), *against)


def run_of(arguments: argparse.Namespace, learner: Learner, seed: int) -> Run:
    return Run(
        folder=arguments.runs / f"{learner.label}-seed-{seed}",
        network=learner.network,
        index=arguments.index,
        recordings=arguments.recordings,
        settings={
            "seed_everything": seed,
            "model.body": arguments.body,
            "balancer.weighting": learner.weighting,
            "balancer.gradient": learner.gradient,
            "data.size": list(arguments.size),
            "trainer.max_epochs": arguments.epochs,
        },
        passing={
            "trainer.check_val_every_n_epoch": arguments.epochs,
            "data.workers": arguments.workers,
            "panels.every_n_epochs": 0,
        },
    )


def score_folder(arguments: argparse.Namespace, label: str, seed: int) -> Path:
    return arguments.runs / f"{label}-seed-{seed}-tested"


def row(arguments: argparse.Namespace, label: str) -> dict[str, Any]:
    """Mean and sample standard deviation over the seeds (None for a single one), with every seed's own value."""
    metrics = [json.loads((score_folder(arguments, label, s) / "metrics.json").read_text()) for s in arguments.seeds]
    found: dict[str, list[float]] = {}
    for of_seed in metrics:
        if of_seed["detection"]:
            found.setdefault("map", []).append(of_seed["detection"]["map"])
            found.setdefault("ap50", []).append(of_seed["detection"]["ap50"])
        if of_seed["segmentation"]:
            found.setdefault("mean_iou", []).append(of_seed["segmentation"]["mean_iou"])
            surfaces = of_seed["segmentation"]["classes"]
            rates = [figures["false_rate"] for name, figures in surfaces.items() if name != "background"]
            found.setdefault("false_rate", []).append(statistics.fmean(rates))
        if of_seed["delta_m"]:
            found.setdefault("delta_m", []).append(of_seed["delta_m"]["delta_m"])
    return {
        name: {
            "mean": statistics.fmean(values),
            "spread": statistics.stdev(values) if len(values) > 1 else None,
            "values": values,
        }
        for name, values in found.items()
    }


def show(rows: dict[str, dict[str, Any]], seeds: list[int]) -> None:
    metrics = ("map", "ap50", "mean_iou", "false_rate", "delta_m")
    table = Table(Column("network", overflow="fold"), *metrics)
    for label, figures in rows.items():
        cells = [figures.get(metric) for metric in metrics]
        table.add_row(label, *("" if cell is None else with_spread(cell) for cell in cells))
    Console().print(table)
    if len(seeds) == 1:
        Console().print(f"Seed {seeds[0]} alone: how far seeds scatter is not known, so small differences say nothing.")


def with_spread(cell: dict[str, Any]) -> str:
    return f"{cell['mean']:.3f}" if cell["spread"] is None else f"{cell['mean']:.3f} ± {cell['spread']:.3f}"


if __name__ == "__main__":
    main()
