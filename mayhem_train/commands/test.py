"""`mayhem test`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from mayhem_train.commands.recording_arguments import add_distro
from mayhem_train.console import console, error_console

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mayhem_ros.model_card import ModelCard
    from mayhem_ros.prediction import Prediction
    from mayhem_train.evaluation.split.evaluation import Predictor
    from mayhem_train.evaluation.split.report import SplitReport

EXAMPLE = "mayhem test model.onnx --data.index index.json --data.recordings recordings/ --split val --out tested"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="an exported .onnx, run as the robot runs it, or a checkpoint of `mayhem train`",
    )
    parser.add_argument(
        "--data.index", "--index", dest="index", type=Path, required=True, metavar="INDEX.json", help="the labels"
    )
    parser.add_argument(
        "--data.recordings",
        "--recordings",
        dest="recordings",
        type=Path,
        metavar="DIR",
        help="folder the frames are in; not needed where all are extracted images",
    )
    parser.add_argument(
        "--data.images",
        "--images",
        dest="images",
        type=Path,
        metavar="DIR",
        help="folder of extracted images, for the frames whose file names the index has",
    )
    parser.add_argument("--split", metavar="NAME", help="which frames (test where the index has such, otherwise val)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--against",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="what this command wrote for single-task networks on the same frames, one or more of each task: gives Δm",
    )
    parser.add_argument("--worst", type=int, default=12, metavar="N", help="how many of the worst frames to show (12)")
    parser.add_argument(
        "--provider",
        default="auto",
        help="what runs the model: auto, cpu, cuda, and for .onnx tensorrt, openvino (auto)",
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of a pass; 0: one a core")
    add_distro(parser)
    parser.add_argument("--force", action="store_true", help="replace what --out holds")


def run(arguments: argparse.Namespace) -> int:
    """Scores the model on the split, writes the folder and prints the figures."""
    from mayhem_ros.errors import UsageError
    from mayhem_train.evaluation.split.model_evaluation import evaluate_model

    if arguments.worst < 0:
        raise UsageError(f"--worst is {arguments.worst}: choose how many frames to show, from 0.")
    report = evaluate_model(
        arguments.model,
        lambda: _open(arguments.model, arguments.provider, arguments.threads),
        arguments.out,
        index=arguments.index,
        recordings=arguments.recordings,
        images=arguments.images,
        distro=arguments.distro,
        split=arguments.split,
        against=arguments.against,
        worst=arguments.worst,
        force=arguments.force,
    )
    _show(report)
    _say_what_is_left_out(report)
    console.print(f"wrote {arguments.out}", soft_wrap=True, markup=False, highlight=False)
    return 0


class _Checkpoint:
    """A checkpoint as the robot would run it: the graph that is exported, in torch and in float32."""

    def __init__(self, path: Path, device: str) -> None:
        from mayhem_train.export.deployable import DeployableNetwork
        from mayhem_train.export.onnx_file import model_card
        from mayhem_train.training.trained_network import load_trained_network

        trained, network = load_trained_network(path)
        self.card: ModelCard = model_card(trained, network.tasks)
        self._path = path
        self._graph = DeployableNetwork(network).eval().to(device)
        self._device = device

    def predict(self, images: NDArray[np.uint8]) -> list[Prediction]:
        """One prediction an image, uint8 [N, H, W, 3] RGB, in its own pixels, whatever the score."""
        import numpy as np
        import torch

        from mayhem_ros.graph_outputs import read_outputs, refuse_nonsense

        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)  # as precise as what ONNX Runtime does
        with torch.inference_mode(), exact:
            outputs = self._graph(torch.from_numpy(np.array(images)).to(self._device))  # a frame may be read-only
        arrays = {name: value.cpu().numpy() for name, value in zip(self._graph.output_names, outputs, strict=True)}
        return refuse_nonsense(read_outputs(arrays, images.shape, self.card, self._path))


def _open(path: Path, provider: str, threads: int) -> Predictor:
    """The model, run by the robot's own runtime where it is an exported file."""
    from mayhem_ros.errors import MayhemError, UsageError
    from mayhem_ros.onnx_model import PROVIDERS, OnnxModel

    if provider not in PROVIDERS:
        raise UsageError(f"The provider {provider!r} is none of {', '.join(PROVIDERS)}.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a checkpoint in it, such as {path / 'checkpoints' / 'best.ckpt'}.")
    if path.suffix == ".onnx":
        return OnnxModel(path, provider=provider, threads=threads)

    import torch

    available = torch.cuda.is_available()
    if provider not in ("auto", "cpu", "cuda"):
        raise UsageError(f"A checkpoint runs on cpu or cuda, not on {provider}: export it first, or leave that out.")
    if provider == "cuda" and not available:
        raise MayhemError("This machine has no CUDA device that torch can use: leave --provider out.")
    if threads < 0:
        raise UsageError(f"threads is {threads}: name a number of threads, or 0 for one a core.")
    if threads:
        torch.set_num_threads(threads)
    return _Checkpoint(path, "cuda" if available and provider != "cpu" else "cpu")


def _show(report: SplitReport) -> None:
    """The figures as tables."""
    detection, segmentation = report.detection, report.segmentation
    count = len(report.evaluation.frames)
    console.print(
        f"{report.model.card.origin.model}: {count} {'frame' if count == 1 else 'frames'} of the split "
        f"{report.dataset.split}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    if detection is not None:
        of_boxes = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "precision", "recall")
        rows = {
            name: [_number(values[key]) if key in values else "" for key in of_boxes]
            for name, values in detection["classes"].items()
        }
        means = [_number(detection["map" if key == "ap" else key]) for key in of_boxes[:6]]
        headings = ("AP", "AP50", "AP75", "small", "medium", "large", "precision", "recall")
        console.print(_table("boxes", headings, rows, means))
    if segmentation is not None:
        rows = {
            name: [
                _number(values["iou"]),
                _number(values["boundary_f1"]) if "boundary_f1" in values else "",
                _number(values["false_rate"], ".2%") if "false_rate" in values else "",
            ]
            for name, values in segmentation["classes"].items()
        }
        means = [_number(segmentation["mean_iou"]), _number(segmentation["mean_boundary_f1"])]
        console.print(_table("surfaces", ("IoU", "boundary F1", "false rate"), rows, means))
    if report.comparison is not None:
        changes = ", ".join(f"{task} {change:+.2%}" for task, change in report.comparison.changes.items())
        console.print(f"Δm {report.comparison.delta_m:+.2%} against single-task networks ({changes})", highlight=False)


def _table(kind: str, headings: Sequence[str], rows: Mapping[str, Sequence[str]], means: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(kind, overflow="fold", min_width=10)
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, values in rows.items():
        table.add_row(escape(name), *values)
    table.add_section()
    table.add_row("mean", *means)
    return table


def _number(value: float | None, form: str = ".3f") -> str:
    return "n/a" if value is None else format(value, form)


def _say_what_is_left_out(report: SplitReport) -> None:
    """On stderr, what a reader of the figures must know."""
    scores = report.evaluation.scores
    lines = []
    if scores.missing_in_model:
        lines.append(
            f"Warning: the model does not know {', '.join(scores.missing_in_model)}: they count as undetected."
        )
    if scores.missing_in_index:
        unlabelled = ", ".join(scores.missing_in_index)
        lines.append(f"Warning: the labels do not have {unlabelled}, which is not scored.")
    if report.evaluation.unreadable:
        count = len(report.evaluation.unreadable)
        lines.append(f"Warning: {count} unreadable {'frame was' if count == 1 else 'frames were'} left out.")
    for line in lines:
        error_console.print(line, soft_wrap=True, markup=False, highlight=False)
