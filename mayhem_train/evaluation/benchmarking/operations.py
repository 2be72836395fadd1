"""How large a model file is and how much it computes: counted in its graph, not estimated from its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from mayhem_ros.errors import MayhemError

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_WEIGHT_INPUTS = slice(1, 3)  # weight and bias


@dataclass(frozen=True)
class ModelSize:
    """Of one model file.

    Attributes:
        parameters: weights and biases of its convolutions and linear layers, into which export folds normalisation.
        flops: of one pass over one image: twice the multiply-adds of these layers, biases and all else not counted.
        megabytes: of the file.
    """

    parameters: int
    flops: int
    megabytes: float


def model_size(path: Path, height: int, width: int) -> ModelSize:
    """Counts by running the graph once and asking every layer for its shapes.

    Args:
        path: an ONNX file with one input, images uint8 [N, H, W, 3] or of one fixed shape, uint8 or float32.
        height: of the image that it is run on, pixels, where its shape is not fixed.
        width: likewise.

    Raises:
        MayhemError: the file is no ONNX model or does not run.
    """
    try:
        model = onnx.load(path)
        layers = [node for node in model.graph.node if node.op_type in _WEIGHTED]
        shapes = _shapes(
            model, sorted({name for node in layers for name in (*node.input[:2], node.output[0])}), height, width
        )
    except Exception as error:  # neither library's errors have a class of their own in common
        raise MayhemError(f"The operations of {path} cannot be counted ({str(error).splitlines()[0]}).") from error
    return ModelSize(
        parameters=_parameters(model, layers),
        flops=2 * sum(_multiply_adds(node, shapes) for node in layers),
        megabytes=path.stat().st_size / 1e6,
    )


def _shapes(model: onnx.ModelProto, tensors: list[str], height: int, width: int) -> dict[str, tuple[int, ...]]:
    """The tensors' shapes in a pass over one black image."""
    if not tensors:
        return {}
    asking = onnx.ModelProto()
    asking.CopyFrom(model)
    del asking.graph.output[:]
    for number, name in enumerate(tensors):
        asking.graph.node.append(helper.make_node("Shape", [name], [f"shape_of_{number}"]))
        asking.graph.output.append(helper.make_tensor_value_info(f"shape_of_{number}", TensorProto.INT64, [None]))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # the file's own layers
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(asking.SerializeToString(), options, ["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    fixed = all(isinstance(side, int) for side in image.shape)  # of a file of other origin
    shape = image.shape if fixed else (1, height, width, 3)
    found = session.run(None, {image.name: np.zeros(shape, np.float32 if "float" in image.type else np.uint8)})
    return {name: tuple(int(size) for size in shape) for name, shape in zip(tensors, found, strict=True)}


def _multiply_adds(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Of one layer: each element of its output (of its input, if it is transposed) meets its share of the weights."""
    data, weight, result = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
    if node.op_type == "ConvTranspose":
        return int(np.prod(data, dtype=np.int64) * np.prod(weight[1:], dtype=np.int64))
    if node.op_type == "Conv":
        return int(np.prod(result, dtype=np.int64) * np.prod(weight[1:], dtype=np.int64))
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return int(np.prod(result, dtype=np.int64)) * data[0 if transposed else -1]


def _parameters(model: onnx.ModelProto, layers: list[onnx.NodeProto]) -> int:
    """Elements of the weights and biases, through the operators that a lower precision puts before them."""
    sizes = {tensor.name: int(np.prod(tensor.dims, dtype=np.int64)) for tensor in model.graph.initializer}
    sources = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type in ("DequantizeLinear", "Cast", "Identity", "Transpose") and node.input
    }
    counted: set[str] = set()
    for node in layers:
        for name in node.input[_WEIGHT_INPUTS]:
            while name in sources:
                name = sources[name]
            if name in sizes:
                counted.add(name)
    return sum(sizes[name] for name in counted)
