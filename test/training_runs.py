"""Real runs of `mayhem train` on two tiny drives."""

from __future__ import annotations

from pathlib import Path

from datasets_drives import box_element, image_element, polygon_element, write_cvat, write_drive

from mayhem_train.cli import main

CONFIG = Path(__file__).parent.parent / "config" / "train" / "lraspp-mtl.yaml"
FRAMES = 4


def write_dataset(folder: Path) -> list[str]:
    """Writes two drives with labels, one to train on and one to validate on, and gives the arguments that name them."""
    images = []
    for stem in ("drive-a", "drive-b"):
        write_drive(folder / "recordings", stem, FRAMES)
        for index in range(FRAMES):
            shapes = [
                box_element("agv", 10 + index, 8, 34 + index, 30),
                polygon_element("floor", "0,24;64,24;64,48;0,48"),
            ]
            images.append(image_element(f"{stem}-{index:06d}.png", *shapes))
    write_cvat(folder / "labels.xml", *images)
    index = folder / "index.json"
    imported = main(
        ["import-cvat", str(folder / "labels.xml"), "--recordings", str(folder / "recordings"), "--out", str(index)]
    )
    assert imported == 0
    return ["--data.index", str(index), "--data.recordings", str(folder / "recordings")]


def arguments(data: list[str], out: Path, *more: str) -> list[str]:
    """Of a small training."""
    small = ["--data.size", "[64, 96]", "--data.batch_size", "2", "--data.workers", "0", "--trainer.accelerator", "cpu"]
    small += ["--panels.every_n_epochs", "0"]
    network = ["--model.body", "mobilenet_v2", "--model.weights", "none", "--trainer.precision", "32-true"]
    return ["train", "--config", str(CONFIG), *data, *small, *network, "--out", str(out), *more]


def train(data: list[str], out: Path, *more: str) -> int:
    """Trains, and gives the exit code."""
    return main(arguments(data, out, *more))
