"""A graph whose features are computed in 8-bit integers on a CPU, by ranges seen on calibration frames."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from mayhem_train.export.calibration import Frames
from mayhem_train.export.feature_graph import WEIGHTED_OPERATORS, feature_nodes
from mayhem_train.export.quiet import only_errors

# ONNX Runtime computes these on integers; whatever else lies between them would only be converted back and forth.
_QUANTISED = ("Add", "Clip", "Concat", "Conv", "Gemm", "MatMul", "Mul", "Relu", "Resize", "Sigmoid")
# The first convolutions have few channels of very different ranges, and all that follows inherits their error. Left in
# float32 they halved the mask's (0.99 % of its pixels to 0.47 %) and cost no time that could be measured.
_LEFT_ALONE = 3


def quantise(path: Path, frames: Frames) -> onnx.ModelProto:
    """A graph whose feature nodes (see `feature_graph`) are quantised statically; inputs and outputs keep their types.

    Activations are uint8 with one scale a tensor, weights int8 with one a channel, as QuantizeLinear and
    DequantizeLinear around float operators (QDQ), which ONNX Runtime fuses. Metadata is left out.

    Args:
        path: the file in float32.
        frames: what it is calibrated on.
    """
    model = onnx.load(path)
    nodes = [model.graph.node[place] for place in sorted(feature_nodes(model.graph))]
    weighted = [place for place, node in enumerate(nodes) if node.op_type in WEIGHTED_OPERATORS]
    nodes = nodes[weighted[_LEFT_ALONE] :]
    # It recommends on the root logger what the exporter has done already.
    with only_errors(), tempfile.TemporaryDirectory(prefix="mayhem-quantise-") as folder:
        quantised = Path(folder) / "quantised.onnx"
        quantize_static(
            model,
            quantised,
            _Reader(frames),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED),
            nodes_to_quantize=[node.name for node in nodes if node.op_type in _QUANTISED],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        result = onnx.load(quantised)
    del result.metadata_props[:]
    return result


class _Reader(CalibrationDataReader):
    """Gives ONNX Runtime one frame after another."""

    def __init__(self, frames: Frames) -> None:
        self._frames: Iterator[Any] = iter(frames)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._frames, None)
        return None if image is None else {"images": np.ascontiguousarray(image[None])}
