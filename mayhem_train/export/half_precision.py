"""A graph whose features are computed in half precision; pixels, boxes, scores and masks stay in float32."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from mayhem_ros.errors import MayhemError
from mayhem_train.export.feature_graph import feature_nodes

_LARGEST = float(np.finfo(np.float16).max)
_ASKS_FOR_SHAPE = ("Shape", "Size")  # and takes any type


def to_half_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph whose feature nodes (see `feature_graph`) compute in float16; inputs and outputs keep their types.

    Metadata is left out.

    Decoding, suppression and resizing stay in float32: half precision has 11 bits, by which a corner at 500 pixels
    moves by up to a quarter of one, and scores 0.0005 apart tie.

    Raises:
        MayhemError: a weight is larger than half precision can hold.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    floats = _float_tensors(model)
    chosen = feature_nodes(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.name in floats}
    made_inside = {name for place in chosen for name in graph.node[place].output if name in floats}
    needed_outside = {value.name for value in graph.output}
    for place, node in enumerate(graph.node):
        if place not in chosen and node.op_type not in _ASKS_FOR_SHAPE:
            needed_outside.update(node.input)

    nodes: list[onnx.NodeProto] = []
    halved: dict[str, onnx.TensorProto] = {}
    cast: set[str] = set()
    for place, node in enumerate(graph.node):
        if place not in chosen:
            if node.op_type in _ASKS_FOR_SHAPE and node.input[0] in made_inside:
                node.input[0] = _twin(node.input[0])
            nodes.append(node)
            continue
        for number, name in enumerate(node.input):
            if name not in floats or (node.op_type == "Resize" and number > 0):  # its scales are float32 always
                continue
            if name in weights and name not in halved:
                halved[name] = _halved(weights[name])
            elif name not in weights and name not in made_inside and name not in cast:
                cast.add(name)
                nodes.append(_cast(name, _twin(name), TensorProto.FLOAT16))
            node.input[number] = _twin(name)
        nodes.append(node)
        for number, name in enumerate(node.output):
            if name in floats:
                node.output[number] = _twin(name)
                if name in needed_outside:
                    nodes.append(_cast(_twin(name), name, TensorProto.FLOAT))
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    described = [value for value in graph.value_info if value.name in used and value.name not in made_inside]
    return helper.make_model(
        helper.make_graph(
            nodes,
            graph.name,
            graph.input,
            graph.output,
            [*kept, *halved.values()],
            value_info=described,
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        functions=model.functions,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
    )


def _twin(name: str) -> str:
    return f"{name}_half"


def _cast(name: str, result: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], [result], name=f"cast_{result}", to=to)


def _halved(weight: onnx.TensorProto) -> onnx.TensorProto:
    values = numpy_helper.to_array(weight)
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= _LARGEST:  # NaN neither
        raise MayhemError(
            f"The weight {weight.name} holds {largest:.3g}, and half precision ends at {_LARGEST:.0f}: "
            "export with --precision fp32."
        )
    return numpy_helper.from_array(values.astype(np.float16), _twin(weight.name))


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    """The names of the graph's float32 tensors."""
    graph = shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    return {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT} | {
        tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT
    }
