"""`mayhem demo`: the whole line once, on synthetic drives."""

from __future__ import annotations

import argparse
import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

EXAMPLE = "mayhem demo --out demo"

# Many short drives rather than few long ones: what stands in a warehouse hardly changes from frame to frame.
TRAINING_DRIVES, TRAINING_FRAMES, TRAINING_SEED = 16, 24, 7
HELD_OUT_FRAMES, HELD_OUT_SEED = 80, 8
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

    _open_folder(arguments.out, force=arguments.force)
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

    recordings, index, run_folder = str(out / "recordings"), str(out / "index.json"), str(out / "run")
    model, held_out_name = str(out / "model.onnx"), f"warehouse-s{HELD_OUT_SEED}-0"
    held_out = str(out / "recordings" / held_out_name)
    names = [f"warehouse-s{TRAINING_SEED}-{number}" for number in range(TRAINING_DRIVES)]
    labels = [str(out / "recordings" / "annotations" / f"{name}.xml") for name in (*names, held_out_name)]
    small = ["--size", "320x240", "--compressed", "--force"]
    network = ["--model.body", "mobilenet_v2", "--data.size", "[240,320]", "--data.max_scale", "1.5"]
    schedule = ["--model.learning_rate", "0.002", "--trainer.max_epochs", "5", "--trainer.check_val_every_n_epoch", "5"]
    data = ["--data.index", index, "--data.recordings", recordings]
    required = [word for requirement in REQUIREMENTS for word in ("--require", requirement)]
    return [
        Step(
            f"Drive through {TRAINING_DRIVES} synthetic warehouses",
            [
                "synthesise",
                recordings,
                "--frames",
                str(TRAINING_FRAMES),
                "--drives",
                str(TRAINING_DRIVES),
                "--seed",
                str(TRAINING_SEED),
                *small,
            ],
            Path(labels[-2]),
        ),
        Step(
            "Drive through one more, to judge by",
            [
                "synthesise",
                recordings,
                "--frames",
                str(HELD_OUT_FRAMES),
                "--drives",
                "1",
                "--seed",
                str(HELD_OUT_SEED),
                *small,
            ],
            Path(labels[-1]),
        ),
        Step(
            "Import the labels, keeping that last drive for validation",
            ["import-cvat", *labels, "--recordings", recordings, "--val", held_out_name, "--out", index],
            Path(index),
        ),
        Step(
            "Train boxes and floor on one MobileNetV2",
            [
                "train",
                "--config",
                str(shipped_file("config/train/lraspp-mtl.yaml")),
                *data,
                *network,
                *schedule,
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


def _open_folder(out: Path, *, force: bool) -> None:
    """Makes the folder, or takes one that a demonstration made: the steps replace what they find in it."""
    from mayhem_ros.errors import MayhemError, UsageError

    mark = out / ".mayhem-demo"
    try:
        if out.exists() and not mark.is_file() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{out} holds something else than a demonstration: choose another --out.")
        if force and out.exists():
            shutil.rmtree(out)
        out.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        reason = error.strerror or error
        raise MayhemError(f"Cannot write {out} ({reason}): free the disk or choose another --out.") from error
