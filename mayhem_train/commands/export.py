"""`mayhem export`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mayhem_ros.model_card import PRECISIONS
from mayhem_train.commands.path_argument import path_argument
from mayhem_train.commands.recording_arguments import add_distro

if TYPE_CHECKING:
    from mayhem_ros.intensity_range import IntensityRange
    from mayhem_train.evaluation.scoring.scorer import Scores
    from mayhem_train.export.calibration import Frames, RecordedFrames
    from mayhem_train.export.onnx_file import ExportReport
    from mayhem_train.export.precision import Lowering

EXAMPLE = "mayhem export runs/first/checkpoints/best.ckpt --out model.onnx --recording recordings/drive-2"
PARITY_FRAMES = 16
COMPARED_FRAMES = 60
# Below these, int8 has cost so much that somebody should look before a robot drives by it.
_MUCH_OF_BOXES, _MUCH_OF_MASK = 0.85, 0.98


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("checkpoint", type=path_argument, metavar="CHECKPOINT", help="a checkpoint of `mayhem train`")
    parser.add_argument("--out", type=path_argument, required=True, help="the ONNX file to write")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="what features are computed in: fp16 for GPUs, int8 for CPUs; boxes and masks stay float32 (fp32)",
    )
    parser.add_argument(
        "--recording",
        type=path_argument,
        help="compare torch and ONNX Runtime on frames of this recording (else on patterns)",
    )
    parser.add_argument(
        "--calibration", type=path_argument, nargs="+", default=[], metavar="RECORDING", help="int8: calibrate on these"
    )
    parser.add_argument(
        "--calibration-frames", type=int, default=64, metavar="N", help="int8: how many frames in all (64)"
    )
    parser.add_argument("--topic", help="the recordings' image topic, if they have several")
    parser.add_argument(
        "--index",
        type=path_argument,
        metavar="INDEX.json",
        help="score the file on this dataset's labels; int8 without --calibration is calibrated on its split train",
    )
    parser.add_argument(
        "--recordings", type=path_argument, metavar="DIR", help="with --index: the folder of its recordings"
    )
    parser.add_argument(
        "--images", type=path_argument, metavar="DIR", help="with --index: the folder of its extracted images"
    )
    parser.add_argument("--split", help="with --index: the split to score (test, or val where there is no test)")
    add_distro(parser)
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def run(arguments: argparse.Namespace) -> int:
    """Exports, and prints what the parity gate found and what a lower precision costs."""
    from mayhem_ros.errors import UsageError
    from mayhem_train.console import console
    from mayhem_train.outputs import refuse_existing

    if arguments.out.suffix != ".onnx":
        raise UsageError(f"--out {arguments.out} does not end in .onnx: name the model file to write.")
    if arguments.calibration_frames < 1:
        raise UsageError(f"--calibration-frames {arguments.calibration_frames}: calibrate on one frame at least.")
    if arguments.calibration and arguments.precision != "int8":
        raise UsageError("--calibration goes with --precision int8: leave it out.")
    refuse_existing(arguments.out, force=arguments.force)

    from mayhem_train.export.onnx_file import export_checkpoint
    from mayhem_train.training.trained_network import read_description

    recorded = _Recorded(arguments, read_description(arguments.checkpoint).intensity_range)
    labels = None if arguments.index is None else _Labels(arguments, recorded.intensity_range)
    images = None if arguments.recording is None else list(recorded([arguments.recording], PARITY_FRAMES))
    lowering = None if arguments.precision == "fp32" else _lowering(arguments, recorded, labels)
    with tempfile.TemporaryDirectory(prefix="mayhem-export-") as folder:
        full = Path(folder) / "fp32.onnx"
        with console.status("exporting and comparing"):
            report = export_checkpoint(
                arguments.checkpoint,
                arguments.out,
                images=images,
                lowering=lowering,
                full_precision=full,
                force=arguments.force,
            )
        _print_report(arguments, report)
        if labels is not None:
            files = {"fp32": arguments.out} if lowering is None else {"fp32": full, arguments.precision: arguments.out}
            _print_scores({precision: labels.score(path) for precision, path in files.items()})
    return 0


class _Labels:
    """The dataset that `--index` names: frames of its split train to calibrate on, and a split to score."""

    def __init__(self, arguments: argparse.Namespace, intensity_range: IntensityRange | None) -> None:
        from mayhem_train.datasets.frame_reader import FrameReader
        from mayhem_train.datasets.index import DatasetIndex
        from mayhem_train.evaluation.split.evaluation import choose_split

        index = DatasetIndex.load(arguments.index)
        _, self.scored = choose_split(index, arguments.index, arguments.split)
        self.train = index.split("train")
        self._where = (arguments.recordings, arguments.images, arguments.distro, intensity_range)
        self._reader = FrameReader(self.scored.images, *self._where)

    def calibration(self, count: int) -> Frames:
        from mayhem_train.datasets.frame_reader import FrameReader
        from mayhem_train.export.calibration import LabelledFrames

        return LabelledFrames(self.train.images, FrameReader(self.train.images, *self._where), count)

    def comparison(self) -> Frames:
        from mayhem_train.export.calibration import LabelledFrames

        return LabelledFrames(self.scored.images, self._reader, COMPARED_FRAMES)

    def score(self, model: Path) -> Scores:
        from mayhem_ros.onnx_model import OnnxModel
        from mayhem_train.evaluation.split.evaluation import evaluate_split

        return evaluate_split(OnnxModel(model, provider="cpu"), self.scored, self._reader).scores


class _Recorded:
    """Frames of recordings as the checkpoint's network sees them."""

    def __init__(self, arguments: argparse.Namespace, intensity_range: IntensityRange | None) -> None:
        self.intensity_range = intensity_range
        self._topic, self._distro = arguments.topic, arguments.distro

    def __call__(self, recordings: list[Path], count: int, besides: RecordedFrames | None = None) -> RecordedFrames:
        from mayhem_train.export.calibration import RecordedFrames

        return RecordedFrames(
            recordings,
            count,
            besides=besides,
            topic=self._topic,
            distro=self._distro,
            intensity_range=self.intensity_range,
        )


def _lowering(arguments: argparse.Namespace, recorded: _Recorded, labels: _Labels | None) -> Lowering:
    """Calibrates on the recordings named for it, else on the dataset; compares on frames it was not calibrated on."""
    from mayhem_train.export.parity import generated_images
    from mayhem_train.export.precision import Lowering

    taken: RecordedFrames | None = None
    calibration: Frames | None = None
    if arguments.calibration:
        calibration = taken = recorded(arguments.calibration, arguments.calibration_frames)
    elif arguments.precision == "int8" and labels is not None:
        calibration = labels.calibration(arguments.calibration_frames)
    comparison: Frames = generated_images()
    if arguments.recording is not None:
        comparison = recorded([arguments.recording], COMPARED_FRAMES, taken)
    elif labels is not None:
        comparison = labels.comparison()
    elif arguments.calibration:
        comparison = recorded(arguments.calibration, COMPARED_FRAMES, taken)
    return Lowering(arguments.precision, comparison, calibration)


def _print_report(arguments: argparse.Namespace, report: ExportReport) -> None:
    from mayhem_train.console import console

    megabytes = arguments.out.stat().st_size / 1e6
    compared = []
    if report.detections is not None:
        compared.append(f"{report.detections} detections matched, scores within {report.score_difference:.1e}")
    if report.mask_agreement is not None:
        compared.append(f"mask {report.mask_agreement:.4%} equal")
    console.print(
        f"{arguments.out} ({megabytes:.1f} MB): torch and ONNX Runtime agree on {report.images} images: "
        f"{', '.join(compared)}.",
        highlight=False,
        soft_wrap=True,
    )
    if report.detections == 0:
        console.print("No box was compared: pass --recording with frames that show objects.", style="yellow")
    agreement = report.agreement
    if agreement is None:
        return
    console.print(f"{arguments.precision} against fp32 {agreement}.", highlight=False, soft_wrap=True)
    boxes, mask_share = agreement.detection, agreement.mask
    if (boxes is not None and boxes < _MUCH_OF_BOXES) or (mask_share is not None and mask_share < _MUCH_OF_MASK):
        console.print(
            f"{arguments.precision} costs this network much: calibrate on more and other frames, or export fp32.",
            style="yellow",
            soft_wrap=True,
        )


def _print_scores(scores: dict[str, Scores]) -> None:
    """A table of the headline figures, a column a precision."""
    from rich.table import Table

    from mayhem_train.console import console

    table = Table("", *scores, title=f"{next(iter(scores.values())).frames} labelled frames")
    rows: dict[str, list[float | None]] = {}
    for found in scores.values():
        if found.detection is not None:
            for name, value in (("mAP", found.detection.map), ("AP50", found.detection.ap50)):
                rows.setdefault(name, []).append(value)
        if found.segmentation is not None:
            for name, value in found.segmentation.iou.items():
                rows.setdefault(f"IoU {name}", []).append(value)
    for name, values in rows.items():
        table.add_row(name, *("n/a" if value is None else f"{value:.3f}" for value in values))
    console.print(table)
