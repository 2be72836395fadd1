"""`mayhem demo`: the whole line once, on synthetic drives."""

from __future__ import annotations

import argparse
import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

EXAMPLE = "mayhem demo --out demo"

DRIVES = 4
FRAMES = 80
SEED = 7
# What a demonstration must reach on the drive it was not trained on, lest it demonstrate nothing.
REQUIREMENTS = ("map50=0.5", "iou.floor=0.9")


@dataclass(frozen=True)
class Step:
    """One command of the demonstration; where `product`, the last thing it makes, is there, it is left out."""

    title: str
    command: list[str]
    product: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("--out", type=Path, default=Path("demo"), help="the folder for everything it makes (demo)")
    parser.add_argument("--force", action="store_true", help="start anew instead of going on where it stopped")


def run(arguments: argparse.Namespace) -> int:
    """Runs the commands one after another, leaving out those whose product is there."""
    from mayhem_train.commands.verbs import run_verb
    from mayhem_train.console import console

    if arguments.force:
        _remove(arguments.out)
    started = time.monotonic()
    steps = demo_steps(arguments.out)
    for number, step in enumerate(steps, start=1):
        console.rule(f"[bold]{number}/{len(steps)}  {step.title}", align="left")
        console.print(
            "$ mayhem " + shlex.join(step.command), style="dim", highlight=False, soft_wrap=True, markup=False
        )
        if step.product is not None and step.product.exists():
            console.print(f"{step.product} is there already.", highlight=False, markup=False)
            continue
        code = run_verb(step.command[0], step.command[1:])
        if code != 0:
            return code
    console.rule(f"[bold]done in {time.monotonic() - started:.0f} s", align="left")
    return 0


def demo_steps(out: Path) -> list[Step]:
    """The commands, as a person would type them."""
    from mayhem_train.shipped import shipped_file

    names = [f"warehouse-s{SEED}-{number}" for number in range(DRIVES)]
    recordings, index, run_folder = str(out / "recordings"), str(out / "index.json"), str(out / "run")
    model, held_out = str(out / "model.onnx"), str(out / "recordings" / names[-1])
    labels = [str(out / "recordings" / "annotations" / f"{name}.xml") for name in names]
    drawn = ["--frames", str(FRAMES), "--seed", str(SEED), "--drives", str(DRIVES), "--compressed", "--force"]
    small = ["--model.body", "mobilenet_v2", "--data.size", "[240,320]", "--trainer.max_epochs", "12"]
    data = ["--data.index", index, "--data.recordings", recordings]
    required = [word for requirement in REQUIREMENTS for word in ("--require", requirement)]
    return [
        Step(f"Drive through {DRIVES} synthetic warehouses", ["synthesise", recordings, *drawn], Path(labels[-1])),
        Step(
            "Import the labels, keeping the last drive for validation",
            ["import-cvat", *labels, "--recordings", recordings, "--val", names[-1], "--out", index],
            Path(index),
        ),
        Step(
            "Train boxes and floor on one MobileNetV2",
            [
                "train",
                "--config",
                str(shipped_file("config/train/lraspp-mtl.yaml")),
                *data,
                *small,
                "--out",
                run_folder,
            ],
            None,
        ),
        Step(
            "Export one file for the robot",
            ["export", str(out / "run" / "checkpoints" / "best.ckpt"), "--out", model, "--recording", held_out],
            Path(model),
        ),
        Step(
            "Replay the last drive through the node and score it",
            [
                "replay",
                held_out,
                "--model",
                model,
                "--index",
                index,
                "--out",
                str(out / "report"),
                *required,
                "--force",
            ],
            None,
        ),
    ]


def _remove(out: Path) -> None:
    """Removes what a demonstration makes and nothing else."""
    for name in ("recordings", "run", "report"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("index.json", "model.onnx"):
        (out / name).unlink(missing_ok=True)
