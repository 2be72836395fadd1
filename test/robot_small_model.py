"""A real ONNX model small enough to compute by hand: what it sees is written in the image's own colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mayhem_ros.model_card import (
    METADATA_KEY,
    DetectionClass,
    InputSpecification,
    ModelCard,
    Origin,
    SegmentationClass,
)

BOXES = np.array([[1, 2, 11, 22], [0.5, 0.25, 3.5, 7.75], [4, 4, 8, 8], [5, 6, 7, 9]], np.float32)
SCORES = np.array([0.875, 0.75, 0.5, 0.125], np.float32)
LABELS = np.array([2, 1, 3, 1], np.int64)
DETECTION_CLASSES = (
    DetectionClass(1, "person", 0.5),
    DetectionClass(2, "agv", 0.25),
    DetectionClass(3, "box", 0.625),
)
SEGMENTATION_CLASSES = (SegmentationClass(0, "background"), SegmentationClass(1, "floor"))


def expected_mask(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Floor where red is above 127."""
    return (images[..., 0] > 127).astype(np.uint8)


def expected_confidence(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The green channel."""
    return images[..., 1].copy()


def card(task: str = "multitask") -> ModelCard:
    return ModelCard(
        task=task,
        detection_classes=() if task == "segmentation" else DETECTION_CLASSES,
        segmentation_classes=() if task == "detection" else SEGMENTATION_CLASSES,
        input=InputSpecification(height=24, width=32),
        origin=Origin("small", "equal", 0, "0" * 64, "test", {"mAP50": 0.5}),
    )


def small_model(task: str = "multitask", *, card_json: str | None = "") -> onnx.ModelProto:
    """`count` is the blue value of the image's first pixel (at most 4); boxes, scores and labels are constants.

    Args:
        task: which outputs there are.
        card_json: the metadata's text, "" for the right one, None for no card at all.
    """
    nodes = [
        helper.make_node("Cast", ["images"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Shape", ["images"], ["n"], start=0, end=1),
    ]
    constants: dict[str, NDArray[np.generic]] = {}
    outputs = []
    if task != "segmentation":
        for name, values in (("boxes", BOXES), ("scores", SCORES), ("labels", LABELS)):
            constants[f"{name}_value"] = values[None]
            constants[f"{name}_rest"] = np.array(values.shape, np.int64)
            nodes.append(helper.make_node("Concat", ["n", f"{name}_rest"], [f"{name}_shape"], axis=0))
            nodes.append(helper.make_node("Expand", [f"{name}_value", f"{name}_shape"], [name]))
        constants |= {"zero": np.array(0), "blue": np.array(2), "most": np.array(len(BOXES), np.float32)}
        nodes += [
            helper.make_node("Gather", ["real", "blue"], ["blue_plane"], axis=3),
            helper.make_node("Gather", ["blue_plane", "zero"], ["blue_row"], axis=1),
            helper.make_node("Gather", ["blue_row", "zero"], ["blue_pixel"], axis=1),
            helper.make_node("Min", ["blue_pixel", "most"], ["real_count"]),
            helper.make_node("Cast", ["real_count"], ["count"], to=TensorProto.INT64),
        ]
        outputs += [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", "K", 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", "K"]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["N", "K"]),
            helper.make_tensor_value_info("count", TensorProto.INT64, ["N"]),
        ]
    if task != "detection":
        constants |= {"red": np.array(0), "green": np.array(1), "half": np.array(127, np.float32)}
        nodes += [
            helper.make_node("Gather", ["real", "red"], ["red_plane"], axis=3),
            helper.make_node("Greater", ["red_plane", "half"], ["is_floor"]),
            helper.make_node("Cast", ["is_floor"], ["mask"], to=TensorProto.UINT8),
            helper.make_node("Gather", ["images", "green"], ["mask_confidence"], axis=3),
        ]
        outputs += [
            helper.make_tensor_value_info("mask", TensorProto.UINT8, ["N", "H", "W"]),
            helper.make_tensor_value_info("mask_confidence", TensorProto.UINT8, ["N", "H", "W"]),
        ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", "H", "W", 3])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if card_json is not None:
        helper.set_model_props(model, {METADATA_KEY: card_json or card(task).to_json()})
    return model


def save_model(path: Path, task: str = "multitask", *, change: Callable[[onnx.ModelProto], None] | None = None) -> Path:
    """Writes the small model, changed by `change` if given."""
    model = small_model(task)
    if change is not None:
        change(model)
    onnx.save(model, path)
    return path


FAULTS = ("none", "NaN box", "infinite box", "NaN score", "score 87", "label 9", "label -1", "surface 7")
"""What `faulty_model` says of an image whose first pixel's red value is the place in this list; beyond, it fails."""


def faulty_model(path: Path) -> Path:
    """The small model, but for `FAULTS` and for `count`, which is the blue value whatever there are boxes."""
    boxes, scores, labels = (np.stack([values] * len(FAULTS)) for values in (BOXES, SCORES, LABELS))
    surfaces = np.zeros((len(FAULTS), 1, 1), np.uint8)
    boxes[FAULTS.index("NaN box"), 0, 1] = np.nan
    boxes[FAULTS.index("infinite box"), 0, 2] = np.inf
    scores[FAULTS.index("NaN score"), 0] = np.nan
    scores[FAULTS.index("score 87"), 0] = 87
    labels[FAULTS.index("label 9"), 0] = 9
    labels[FAULTS.index("label -1"), 0] = -1
    surfaces[FAULTS.index("surface 7")] = 7

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        for node in graph.node:  # the tables' rows take the place of the constants, the mask gets an addend
            for place, name in enumerate(node.output):
                if name in (*tables, "mask"):
                    node.output[place] = f"faultless_{name}"
            if node.output[0] == "real_count":
                node.input[0], node.input[1] = "blue_pixel", "any"
        values = {f"{name}_table": table for name, table in tables.items()} | {"any": np.array(255, np.float32)}
        graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
        graph.node.extend(
            [
                helper.make_node("Gather", ["red_plane", "zero"], ["red_row"], axis=1),
                helper.make_node("Gather", ["red_row", "zero"], ["red_pixel"], axis=1),
                helper.make_node("Cast", ["red_pixel"], ["fault"], to=TensorProto.INT64),
                *(helper.make_node("Gather", [f"{name}_table", "fault"], [name], axis=0) for name in tables),
                helper.make_node("Add", ["faultless_mask", "surfaces"], ["mask"]),
            ]
        )

    tables = {"boxes": boxes, "scores": scores, "labels": labels, "surfaces": surfaces}
    return save_model(path, change=change)


def with_nan_scores(model: onnx.ModelProto) -> None:
    """For `save_model`: whatever is seen scores NaN."""
    (scores,) = (tensor for tensor in model.graph.initializer if tensor.name == "scores_value")
    scores.CopyFrom(numpy_helper.from_array(np.full_like(SCORES[None], np.nan), scores.name))
