"""The precision an exported file computes in, and what a lower one costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import onnx

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.model_card import METADATA_KEY, read_card
from mayhem_ros.onnx_model import OnnxModel
from mayhem_train.export.agreement import Agreement, compare
from mayhem_train.export.calibration import Frames
from mayhem_train.export.half_precision import to_half_precision

LowerPrecision = Literal["fp16", "int8"]

# What half precision may change at most. Measured on street drives: 1 box in 400 that crosses its class's score
# threshold, scores 2e-4 and corners 0.03 pixels apart on average, 0.01 % of the mask.
_HALF_UNMATCHED = 0.03
_HALF_UNMATCHED_BOXES = 2  # however few there are: a score at the threshold falls on either side
_HALF_SCORES = 5e-3
_HALF_CORNERS = 0.5
_HALF_MASK = 0.998


@dataclass(frozen=True)
class Lowering:
    """How a float32 export becomes a smaller or faster file.

    Attributes:
        precision: of the file.
        calibration: frames whose ranges int8 is quantised by; nothing else needs them.
        comparison: other frames, on which the file is compared with the float32 one.
    """

    precision: LowerPrecision
    comparison: Frames
    calibration: Frames | None = None

    def __post_init__(self) -> None:
        if self.precision not in get_args(LowerPrecision):
            raise UsageError(f"There is no precision {self.precision!r} below float32: choose fp16 or int8.")
        if self.precision == "int8" and not self.calibration:
            raise UsageError(
                "int8 is calibrated on frames: name recordings with --calibration, or with --index a dataset that has "
                "frames in its split train."
            )


def lower_precision(source: Path, out: Path, lowering: Lowering, *, shown_as: Path) -> Agreement:
    """Writes `out`, which does what the float32 file `source` does in lower precision, with a card that says so.

    Args:
        source: a file in float32 with its card.
        out: the file to write.
        lowering: to what, and the frames for it.
        shown_as: the place of `out` once it is whole, for errors.

    Returns:
        How far the two agree on `lowering.comparison`, on the CPU.

    Raises:
        MayhemError: half precision cannot hold a weight, or it changes more than it should; int8 only reports.
    """
    model = onnx.load(source)
    lowered = _lowered(model, source, lowering)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    card = replace(read_card(metadata, str(shown_as)), precision=lowering.precision)
    onnx.helper.set_model_props(lowered, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(lowered)
    onnx.save_model(lowered, out)
    agreement = compare(OnnxModel(source, provider="cpu"), OnnxModel(out, provider="cpu"), lowering.comparison)
    if lowering.precision == "fp16":
        _check_half(agreement, shown_as)
    return agreement


def _lowered(model: onnx.ModelProto, source: Path, lowering: Lowering) -> onnx.ModelProto:
    if lowering.calibration is None or lowering.precision == "fp16":
        return to_half_precision(model)
    from mayhem_train.export.quantisation import quantise  # slow to import

    return quantise(source, lowering.calibration)


def _check_half(agreement: Agreement, shown_as: Path) -> None:
    published = agreement.boxes + agreement.other_boxes
    unmatched = published - 2 * agreement.matched
    score, corner, mask = agreement.score_difference, agreement.box_difference, agreement.mask
    if (
        unmatched > max(_HALF_UNMATCHED_BOXES, _HALF_UNMATCHED * published)
        or (score is not None and not score <= _HALF_SCORES)  # NaN neither
        or (corner is not None and not corner <= _HALF_CORNERS)
        or (mask is not None and mask < _HALF_MASK)
    ):
        raise MayhemError(
            f"{shown_as} was not written, since half precision changes too much of what the network says "
            f"({agreement}): export with --precision fp32."
        )
