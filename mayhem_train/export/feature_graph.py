"""Which nodes of an exported graph compute features: all between the first convolution and the heads' raw outputs."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

WEIGHTED_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators whose second input is a weight: nearly all of a network's time and size."""

# What may stand between two of them. The operators that decode and choose boxes (Exp, Div, Slice, TopK,
# NonMaxSuppression, RoiAlign, ...) are not among these, so that a two-stage detector's proposals stay out as well.
_BETWEEN = frozenset(
    {
        "Add",
        "AveragePool",
        "Clip",
        "Concat",
        "Flatten",
        "Gather",
        "GlobalAveragePool",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "MaxPool",
        "Mul",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)


def feature_nodes(graph: onnx.GraphProto) -> set[int]:
    """The places in `graph.node` of the convolutions and linear layers, and of what lies on a path between two of them.

    Resizing the camera's image comes before the first, box decoding and the mask's resize after the last.
    """
    nodes = list(graph.node)  # in topological order, as ONNX demands
    weighted = {place for place, node in enumerate(nodes) if node.op_type in WEIGHTED_OPERATORS}
    candidates = weighted | {place for place, node in enumerate(nodes) if node.op_type in _BETWEEN}
    after = _reached(nodes, range(len(nodes)), candidates, weighted, forward=True)
    before = _reached(nodes, reversed(range(len(nodes))), candidates, weighted, forward=False)
    return weighted | (after & before)


def _reached(
    nodes: list[onnx.NodeProto], order: Iterable[int], candidates: set[int], weighted: set[int], *, forward: bool
) -> set[int]:
    """The candidates that a weighted node reaches through candidates alone, along the data or against it."""
    reached: set[int] = set()
    tensors: set[str] = set()
    for place in order:
        node = nodes[place]
        arriving, leaving = (node.input, node.output) if forward else (node.output, node.input)
        if place in weighted or (place in candidates and not tensors.isdisjoint(arriving)):
            reached.add(place)
            tensors.update(name for name in leaving if name)
    return reached
