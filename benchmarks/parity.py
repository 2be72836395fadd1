"""Does every network pass the parity gate once it is trained? Seven networks in both presets, on a recording's frames.

    python benchmarks/parity.py --index camvid.json --recordings camvid/ --recording camvid/camvid-0016E5-val \
        --runs runs/parity --out parity.json

Each is trained by `mayhem train` with its ready configuration and exported by what `mayhem export` exports with; the
figures are what the gate measured, or the sentence it refused the file with. Finished runs are kept and unfinished ones
gone on with, so that the command can be stopped and given again; exported is everything anew.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from measured import report
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table
from runs import Run

from mayhem_ros.errors import MayhemError
from mayhem_train.export.calibration import RecordedFrames
from mayhem_train.export.onnx_file import export_checkpoint
from mayhem_train.models.bodies import Weights
from mayhem_train.models.network import NETWORKS
from mayhem_train.models.original import BODY as ORIGINAL_BODY
from mayhem_train.models.specification import Preset
from mayhem_train.training.trained_network import CHECKPOINT_KEY, read_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, help="what an import of labels wrote")
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--recording", type=Path, required=True, help="whose frames the gate compares on")
    parser.add_argument("--frames", type=int, default=16, help="how many of them, as `mayhem export` takes")
    parser.add_argument("--runs", type=Path, required=True, help="where the runs go")
    parser.add_argument("--size", type=int, nargs=2, default=(192, 256), help="of the networks' input")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--presets", nargs="+", choices=get_args(Preset), default=list(get_args(Preset)))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--body", default="mobilenet_v2", help="of the fair preset; the original has its own")
    for option, whose in (("--weights", "the fair preset's"), ("--original-weights", "the original preset's")):
        help_text = f"what {whose} body starts from"
        parser.add_argument(option, choices=get_args(Weights), default="imagenet", help=help_text)
    parser.add_argument("--workers", type=int, default=1, help="processes that load the data")
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    runs = {f"{n}-{preset}": run(arguments, n, preset) for preset in arguments.presets for n in arguments.networks}
    try:
        for one in runs.values():
            one.refuse_other_settings()
        images = list(RecordedFrames([arguments.recording], arguments.frames))
    except MayhemError as error:
        raise SystemExit(str(error)) from error
    found = {}
    for label, one in runs.items():
        Console().rule(label)
        one.train()
        found[label] = gate(one.checkpoint, images)
    show(found)
    setting = {key: getattr(arguments, key) for key in ("size", "epochs", "body", "weights", "original_weights")}
    report({**setting, "recording": arguments.recording.name, "images": len(images), "networks": found}, arguments.out)


def run(arguments: argparse.Namespace, network: str, preset: Preset) -> Run:
    fair = preset == "fair"
    settings = {
        "seed_everything": 0,
        "model.preset": preset,
        "model.body": arguments.body if fair else ORIGINAL_BODY,
        "model.weights": arguments.weights if fair else arguments.original_weights,
        "data.size": list(arguments.size),
        "trainer.max_epochs": arguments.epochs,
    }
    passing = {
        "trainer.check_val_every_n_epoch": arguments.epochs,
        "data.workers": arguments.workers,
        "panels.every_n_epochs": 0,
    }
    folder = arguments.runs / f"{network}-{preset}"
    return Run(folder, network, arguments.index, arguments.recordings, settings, passing)


def gate(checkpoint: Path, images: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    """How far a checkpoint was trained, and what the gate measured of its export or why it refused it."""
    trained = read_checkpoint(checkpoint)
    metrics = trained[CHECKPOINT_KEY]["metrics"]
    state = {"steps": trained["global_step"], "map": metrics.get("map"), "mean_iou": metrics.get("mean_iou")}
    with tempfile.TemporaryDirectory(prefix="mayhem-parity-") as folder:
        try:
            measured = export_checkpoint(checkpoint, Path(folder) / "model.onnx", images=list(images))
        except MayhemError as error:
            return {**state, "refused": str(error).replace(f"{folder}/", "")}
    boxes = measured.detections is not None
    return {
        **state,
        "detections": measured.detections,
        "score_difference": measured.score_difference if boxes else None,
        "box_difference": measured.box_difference if boxes else None,
        "mask_agreement": measured.mask_agreement,
    }


def show(found: dict[str, dict[str, Any]]) -> None:
    forms = {
        "steps": "d",
        "map": ".3f",
        "mean_iou": ".3f",
        "detections": "d",
        "score_difference": ".1e",
        "box_difference": ".1e",
        "mask_agreement": ".4%",
    }
    table = Table(Column("network", overflow="fold"), *(name.replace("_", " ") for name in forms))
    for label, figures in found.items():
        cells = ("" if figures.get(name) is None else format(figures[name], form) for name, form in forms.items())
        table.add_row(label, *cells)
    Console().print(table)
    for label, figures in found.items():
        if "refused" in figures:
            Console().print(f"{label}: {figures['refused']}", style="red", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
