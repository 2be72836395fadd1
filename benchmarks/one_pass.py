"""Times one complete multi-task pass at 480x640 against the two single-task networks it replaces, and YOLO11n-seg.

    python benchmarks/one_pass.py [--rounds 30] [--threads 2] [--rival DIR] [--out one_pass.json]

All of this project's networks run complete, from camera pixels to boxes and mask; weights are random, which cost the
same time. Networks that share a body cannot fall below half of two that have the same one each, as those of the fair
preset do; those of the original preset replace networks whose body is dilated, and can.
YOLO11n-seg runs bare (no resizing, no suppression, no mask assembly), from its yaml with random weights.
It lives in a virtual environment of its own, which is made in --rival where there is none: ultralytics is installed
there from PyPI and never here; what else it needs (torch, OpenCV) it borrows from this environment.
Without a network, and without that environment, leave it out with --without-rival.
"""

from __future__ import annotations

import mayhem_train  # isort: skip  # noqa: F401 - before torch, whose threads it tells how to wait
import argparse
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import onnxruntime
import torch
from measured import report
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from mayhem_ros.model_card import (
    DetectionClass,
    InputSpecification,
    ModelCard,
    Origin,
    SegmentationClass,
)
from mayhem_ros.onnx_model import OnnxModel, session_options
from mayhem_train.evaluation.benchmarking.benchmark import Contender, Timing, time_contenders
from mayhem_train.evaluation.benchmarking.operations import model_size
from mayhem_train.evaluation.provenance import this_machine
from mayhem_train.export.deployable import DeployableNetwork
from mayhem_train.export.onnx_file import write_onnx
from mayhem_train.export.parity import generated_images
from mayhem_train.models.network import build_network
from mayhem_train.models.specification import NetworkSpecification, Preset

HEIGHT, WIDTH = 480, 640
BODY = "mobilenet_v3_large"
THINGS, SURFACES = ("person", "agv", "box", "cart"), ("floor",)
REPLACED = {  # multi-task network to the single-task networks with its heads
    "lraspp-mtl": ("ssdlite", "lraspp"),
    "ssdlite-mtl": ("ssdlite", "deeplabv3"),
    "frcnn-mtl": ("frcnn", "deeplabv3"),
}
RIVAL = "yolo11n-seg"
RIVAL_PACKAGES = (
    "ultralytics==8.4.190",
    "ultralytics-thop==2.2.3",
    "polars==2.1.0",
    "polars-runtime-32==2.1.0",
    "psutil==7.2.2",
)
_EXPORT_RIVAL = """
import sys
from pathlib import Path
import torch
from ultralytics import YOLO
model = YOLO("yolo11n-seg.yaml")
torch.manual_seed(0)
model.export(format="onnx", imgsz=[int(sys.argv[2]), int(sys.argv[3])], simplify=False, device="cpu")
Path("yolo11n-seg.onnx").rename(sys.argv[1])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="turns of five passes each network has")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    parser.add_argument("--networks", nargs="+", choices=REPLACED, default=["lraspp-mtl"], help="multi-task networks")
    parser.add_argument("--presets", nargs="+", choices=get_args(Preset), default=list(get_args(Preset)))
    parser.add_argument("--rival", type=Path, default=Path.home() / ".cache" / "mayhem" / "yolo")
    parser.add_argument("--without-rival", action="store_true")
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    threads = arguments.threads or this_machine().cores
    names = [
        Name(n, preset) for preset in arguments.presets for multi in arguments.networks for n in with_replaced(multi)
    ]
    with tempfile.TemporaryDirectory(prefix="mayhem-one-pass-") as folder:
        contenders = []
        for name in dict.fromkeys(names):
            path = export(name, Path(folder) / f"{name}.onnx")
            model = OnnxModel(path, provider="cpu", threads=threads)
            contenders.append(Contender(str(name), "onnxruntime cpu", model.predict, model_size(path, HEIGHT, WIDTH)))
        if not arguments.without_rival:
            path = export_rival(arguments.rival, Path(folder) / f"{RIVAL}.onnx")
            contenders.append(Contender(RIVAL, "onnxruntime cpu", bare(path, threads), model_size(path, HEIGHT, WIDTH)))
        timings = time_contenders(contenders, np.stack(generated_images(1, HEIGHT, WIDTH)), [1], arguments.rounds)
    multis = [Name(multi, preset) for preset in arguments.presets for multi in arguments.networks]
    show(contenders, timings, multis, threads, arguments.out)


class Name(NamedTuple):
    """Of a network and the preset it comes from."""

    network: str
    preset: Preset

    def __str__(self) -> str:
        return f"{self.network}-{self.preset}"


def with_replaced(multi: str) -> tuple[str, ...]:
    return (multi, *REPLACED[multi])


def export(name: Name, path: Path) -> Path:
    """A network of this name with random weights, whose normalisation has seen pictures, so that few scores tie."""
    torch.manual_seed(0)
    specification = NetworkSpecification(name.network, BODY, HEIGHT, WIDTH, THINGS, SURFACES, name.preset)
    network = build_network(specification, "none").train()
    pictures = torch.from_numpy(np.stack(generated_images(2, HEIGHT, WIDTH))).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        network(pictures)
    tasks = network.tasks
    card = ModelCard(
        task="multitask" if len(tasks) > 1 else tasks[0],
        detection_classes=tuple(DetectionClass(k, thing, 0.5) for k, thing in enumerate(THINGS, 1))
        if "detection" in tasks
        else (),
        segmentation_classes=tuple(SegmentationClass(k, kind) for k, kind in enumerate(("background", *SURFACES)))
        if "segmentation" in tasks
        else (),
        input=InputSpecification(HEIGHT, WIDTH),
        origin=Origin(f"{name} on {BODY}", "none", 0, "0" * 64, "benchmark"),
    )
    write_onnx(DeployableNetwork(network.eval()), card, path)
    return path


def export_rival(environment: Path, path: Path) -> Path:
    """YOLO11n-seg as ONNX, by the environment it lives in."""
    python = environment / "bin" / "python"
    if not python.is_file():
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
        command = [uv, "pip", "install", "--quiet", "--python", str(python), "--no-deps", *RIVAL_PACKAGES]
        subprocess.run(command, check=True)
        (own,) = (environment / "lib").glob("python*/site-packages")
        (own / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    command = [str(python.absolute()), "-c", _EXPORT_RIVAL, str(path), str(HEIGHT), str(WIDTH)]
    environment_variables = {"PATH": "/usr/bin:/bin", "HOME": str(path.parent), "YOLO_AUTOINSTALL": "false"}
    subprocess.run(command, check=True, cwd=path.parent, env=environment_variables, stdout=subprocess.DEVNULL)
    return path


def bare(path: Path, threads: int) -> Callable[[NDArray[np.uint8]], object]:
    """The rival's network on prepared float32 pixels [1, 3, H, W], with the very session settings of `OnnxModel`."""
    session = onnxruntime.InferenceSession(path, session_options(threads), ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pixels = np.random.default_rng(0).random((1, 3, HEIGHT, WIDTH), np.float32)

    def run(_: NDArray[np.uint8]) -> object:
        return session.run(None, {name: pixels})

    return run


def show(
    contenders: list[Contender], timings: list[Timing], multis: list[Name], threads: int, out: Path | None
) -> None:
    """The tables and the JSON."""
    medians = {timing.model: timing.milliseconds.p50 for timing in timings}
    table = Table("network", "parameters", "GFLOPs", "p50 ms", "p90", "p99")
    for contender, timing in zip(contenders, timings, strict=True):
        size, found = contender.size, timing.milliseconds
        sizes = (f"{size.parameters / 1e6:.2f} M", f"{size.flops / 1e9:.2f}") if size else ("", "")
        table.add_row(contender.model, *sizes, *(f"{value:.1f}" for value in (found.p50, found.p90, found.p99)))
    ratios = {}
    for multi in multis:
        replaced = [str(Name(single, multi.preset)) for single in REPLACED[multi.network]]
        ratios[f"{multi} / ({' + '.join(replaced)})"] = medians[str(multi)] / sum(medians[s] for s in replaced)
        if RIVAL in medians:
            ratios[f"{multi} / {RIVAL}"] = medians[str(multi)] / medians[RIVAL]
    compared = Table("ratio of the medians", "")
    for what, ratio in ratios.items():
        compared.add_row(what, f"{ratio:.3f}")
    console = Console()
    console.print(table)
    console.print(compared)
    report(
        {
            "image": [HEIGHT, WIDTH],
            "body": BODY,
            "threads": threads,
            "passes": timings[0].milliseconds.count,
            "median_ms": {name: round(value, 2) for name, value in medians.items()},
            "gflops": {c.model: round(c.size.flops / 1e9, 3) for c in contenders if c.size},
            "parameters": {c.model: c.size.parameters for c in contenders if c.size},
            "ratios": {what: round(ratio, 3) for what, ratio in ratios.items()},
        },
        out,
    )


if __name__ == "__main__":
    main()
