"""What the exporter lacks: this project's operators in ONNX's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset18

from mayhem_train.export import resizing  # noqa: F401 (importing registers the operators)
from mayhem_train.models import overlaps, regions  # noqa: F401 (likewise)

# Its stubs type numpy arrays, and here operators are traced.
op: Any = opset18


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """torch operator to function, for `torch.onnx.export(custom_translation_table=…)`."""
    return {
        torch.ops.mayhem.suppress_overlaps.default: _suppress_overlaps,
        torch.ops.mayhem.pool_boxes.default: _pool_boxes,
        torch.ops.mayhem.resize_bilinear.default: _resize_bilinear,
    }


def _suppress_overlaps(boxes: Any, scores: Any, iou_threshold: float, score_threshold: float, most: int) -> Any:
    """`mayhem_train.models.overlaps.suppress_overlaps`."""
    selected = op.NonMaxSuppression(
        boxes,
        scores,
        op.Constant(value_ints=[most]),
        op.Constant(value_floats=[iou_threshold]),
        op.Constant(value_floats=[score_threshold]),
    )
    # `selected` rows are (image, class, box), which is where the kept scores stand.
    ones = op.Expand(op.Constant(value_floats=[1.0]), op.Shape(selected, start=0, end=1))
    kept = op.ScatterND(op.ConstantOfShape(op.Shape(scores)), selected, ones)
    return op.Mul(scores, kept)


def _pool_boxes(levels: Sequence[Any], boxes: Any, strides: Sequence[int]) -> Any:
    """`mayhem_train.models.regions.pool_boxes`: each level's boxes are pooled together and then put in order again."""
    zero, one = op.Constant(value_ints=[0]), op.Constant(value_ints=[1])
    scalar_zero, scalar_one = op.Constant(value_int=0), op.Constant(value_int=1)
    flat = op.Reshape(boxes, op.Constant(value_ints=[-1, 4]))
    images = op.Range(scalar_zero, op.Squeeze(op.Shape(boxes, start=0, end=1)), scalar_one)
    image = op.Expand(op.Unsqueeze(images, one), op.Shape(boxes, start=0, end=2))
    image = op.Reshape(image, op.Constant(value_ints=[-1]))
    left, top, right, bottom = (
        op.Squeeze(op.Slice(flat, op.Constant(value_ints=[k]), op.Constant(value_ints=[k + 1]), one), one)
        for k in range(4)
    )
    area = op.Mul(op.Sub(right, left), op.Sub(bottom, top))
    of_level = op.Mul(image, scalar_zero)
    for least in regions.least_areas(strides):
        above = op.GreaterOrEqual(area, op.Constant(value_float=least))
        of_level = op.Add(of_level, op.Cast(above, to=7))  # int64
    places, pooled = [], []
    for number, (level, stride) in enumerate(zip(levels, strides, strict=True)):
        chosen = op.Squeeze(op.NonZero(op.Equal(of_level, op.Constant(value_int=number))), zero)
        values = op.RoiAlign(
            level,
            op.Gather(flat, chosen),
            op.Gather(image, chosen),
            coordinate_transformation_mode="half_pixel",
            output_height=regions.REGION_SIZE,
            output_width=regions.REGION_SIZE,
            sampling_ratio=regions.SAMPLES,
            spatial_scale=1 / stride,
        )
        places.append(chosen)
        pooled.append(values)
    if len(pooled) == 1:
        return pooled[0]
    order = op.Concat(*places, axis=0)
    ranks = op.Range(scalar_zero, op.Squeeze(op.Shape(order)), scalar_one)
    return op.Gather(op.Concat(*pooled, axis=0), op.ScatterElements(order, order, ranks))


def _resize_bilinear(images: Any, height: int, width: int) -> Any:
    """`mayhem_train.export.resizing.resize_bilinear`."""
    size = op.Concat(op.Shape(images, start=0, end=2), op.Constant(value_ints=[height, width]), axis=0)
    return op.Resize(images, None, None, size, mode="linear", coordinate_transformation_mode="half_pixel")
