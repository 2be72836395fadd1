"""`mayhem export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXAMPLE = "mayhem export runs/first/checkpoints/best.ckpt --out model.onnx --recording recordings/drive-2"
PARITY_FRAMES = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint of `mayhem train`")
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument(
        "--recording", type=Path, help="compare torch and ONNX Runtime on frames of this recording (else on patterns)"
    )
    parser.add_argument("--topic", help="its image topic, if it has several")
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def run(arguments: argparse.Namespace) -> int:
    """Exports and prints what the parity gate found."""
    from mayhem_ros.errors import UsageError
    from mayhem_train.console import console
    from mayhem_train.export.onnx_file import export_checkpoint
    from mayhem_train.outputs import refuse_existing

    if arguments.out.suffix != ".onnx":
        raise UsageError(f"--out {arguments.out} does not end in .onnx: name the model file to write.")
    refuse_existing(arguments.out, force=arguments.force)
    images = None if arguments.recording is None else _spread_frames(arguments.recording, arguments.topic)
    with console.status("exporting and comparing with torch"):
        parity = export_checkpoint(arguments.checkpoint, arguments.out, images=images, force=arguments.force)
    megabytes = arguments.out.stat().st_size / 1e6
    agreement = "" if parity.mask_agreement is None else f", mask {parity.mask_agreement:.4%} equal"
    console.print(
        f"{arguments.out} ({megabytes:.1f} MB): torch and ONNX Runtime agree on {parity.images} images: "
        f"{parity.detections} detections matched, scores within {parity.score_difference:.1e}{agreement}.",
        highlight=False,
        soft_wrap=True,
    )
    if parity.detections == 0:
        console.print("No box was compared: pass --recording with frames that show objects.", style="yellow")
    return 0


def _spread_frames(recording: Path, topic: str | None) -> list[NDArray[np.uint8]]:
    """Frames evenly spread over a recording, uint8 [H, W, 3] RGB."""
    from mayhem_train.recordings.recording import Recording

    with Recording(recording) as opened:
        chosen = opened.image_topic(topic)
        count = min(PARITY_FRAMES, chosen.count)
        return [opened.read_image(chosen.name, i * chosen.count // count) for i in range(count)]
