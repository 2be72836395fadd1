"""What learning together gains, on real images: single-task against multi-task networks, equal against balanced.

    python benchmarks/real_images.py --index camvid.json --recordings camvid/ --runs runs/real --out real_images.json

Every network is trained for the same number of steps with the same body, input size, schedule and augmentation, once a
seed, by `mayhem train`; the weights of the last step, chosen by nobody, are scored by `mayhem test` on the validation
split. Finished runs are kept and unfinished ones gone on with, so that the command can be stopped and given again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from measured import report
from rich.console import Console
from rich.table import Table

CONFIGURATIONS = Path(__file__).parent.parent / "config" / "train"
ALONE = ("ssdlite", "lraspp")
TOGETHER = "lraspp-mtl"
DEFAULT_BALANCERS = ("equal", "uncertainty", "pcgrad")
GRADIENT_METHODS = ("pcgrad", "cagrad", "graddrop", "mgda", "nash-mtl", "imtl-g", "aligned-mtl", "upgrad", "dualproj")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, help="what an import of labels wrote")
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="where the runs and their scores go")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), help="of the networks' input")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--body", default="mobilenet_v2")
    parser.add_argument("--balancers", nargs="+", default=DEFAULT_BALANCERS, help="weightings and gradient methods")
    parser.add_argument("--workers", type=int, default=2, help="processes that load the data")
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for name in ALONE:
            train_and_test(arguments, name, name, "equal", seed)
        for balancer in arguments.balancers:
            train_and_test(arguments, f"{TOGETHER}-{balancer}", TOGETHER, balancer, seed)
    rows = {name: row(arguments, name) for name in (*ALONE, *(f"{TOGETHER}-{b}" for b in arguments.balancers))}
    show(rows)
    setting = {key: getattr(arguments, key) for key in ("size", "epochs", "seeds", "body")}
    report({**setting, "networks": rows}, arguments.out)


def train_and_test(arguments: argparse.Namespace, label: str, network: str, balancer: str, seed: int) -> None:
    """One run and its score, each left alone where it is there."""
    run, tested = folders(arguments, label, seed)
    if (tested / "metrics.json").is_file():
        return
    Console().rule(f"{label}, seed {seed}")
    role = "gradient" if balancer in GRADIENT_METHODS else "weighting"
    data = ["--data.index", str(arguments.index), "--data.recordings", str(arguments.recordings)]
    epochs = str(arguments.epochs)
    options = {
        "--config": CONFIGURATIONS / f"{network}.yaml",
        "--out": run,
        "--seed_everything": seed,
        "--model.body": arguments.body,
        f"--balancer.{role}": balancer,
        "--data.size": list(arguments.size),
        "--data.workers": arguments.workers,
        "--trainer.max_epochs": epochs,
        "--trainer.check_val_every_n_epoch": epochs,
        "--panels.every_n_epochs": 0,
    }
    mayhem(["train", *data, *(str(word) for option in options.items() for word in option)])
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    against = [] if network in ALONE else ["--against", *(str(folders(arguments, name, seed)[1]) for name in ALONE)]
    mayhem(["test", checkpoint, *data, "--split", "val", "--worst", "1", "--out", str(tested), *against])


def folders(arguments: argparse.Namespace, label: str, seed: int) -> tuple[Path, Path]:
    """Of the run and of its score."""
    return arguments.runs / f"{label}-seed-{seed}", arguments.runs / f"{label}-seed-{seed}-tested"


def mayhem(words: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "mayhem_train.cli", *words], check=True)


def row(arguments: argparse.Namespace, label: str) -> dict[str, Any]:
    """Mean and sample standard deviation over the seeds, with every seed's own value."""
    metrics = [json.loads((folders(arguments, label, s)[1] / "metrics.json").read_text()) for s in arguments.seeds]
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
        name: {"mean": statistics.fmean(values), "spread": statistics.stdev(values), "values": values}
        for name, values in found.items()
    }


def show(rows: dict[str, dict[str, Any]]) -> None:
    metrics = ("map", "ap50", "mean_iou", "false_rate", "delta_m")
    table = Table("network", *metrics)
    for label, figures in rows.items():
        cells = [figures.get(metric) for metric in metrics]
        table.add_row(label, *("" if cell is None else f"{cell['mean']:.3f} ± {cell['spread']:.3f}" for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
