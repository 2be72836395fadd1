"""A trained network as one self-describing ONNX file."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxscript import opset18

from mayhem_ros.model_card import (
    METADATA_KEY,
    DetectionClass,
    InputSpecification,
    ModelCard,
    Origin,
    SegmentationClass,
)
from mayhem_train.evaluation.score_thresholds import UNKNOWN_THRESHOLD
from mayhem_train.export.deployable import DeployableNetwork
from mayhem_train.export.parity import ParityReport, check_parity, generated_images
from mayhem_train.outputs import whole_file
from mayhem_train.training.trained_network import TrainedNetwork, load_trained_network

OPSET = 18
_TRACED_BATCH, _TRACED_HEIGHT, _TRACED_WIDTH = 2, 360, 480


def export_checkpoint(
    checkpoint: Path, out: Path, *, images: list[np.ndarray] | None = None, force: bool = False
) -> ParityReport:
    """Writes `out` from a checkpoint, unless ONNX Runtime and torch disagree about it.

    Args:
        checkpoint: of `mayhem train`.
        out: the ONNX file.
        images: uint8 [H, W, 3] RGB, what the two are compared on; noise pictures without them.
        force: replace an existing file.

    Raises:
        MayhemError: the checkpoint cannot be used or the exported graph disagrees with torch.
    """
    with whole_file(out, force=force) as partial:
        trained, network = load_trained_network(checkpoint)
        deployable = DeployableNetwork(network).eval()
        write_onnx(deployable, model_card(trained, network.tasks), partial)
        return check_parity(deployable, partial, images or generated_images(), shown_as=out)


def model_card(trained: TrainedNetwork, tasks: tuple[str, ...]) -> ModelCard:
    """The card of a trained network."""
    specification = trained.specification
    detection = specification.detection_classes if "detection" in tasks else ()
    segmentation = ("background", *specification.segmentation_classes) if "segmentation" in tasks else ()
    return ModelCard(
        task="multitask" if len(tasks) > 1 else tasks[0],
        detection_classes=tuple(
            DetectionClass(k, name, trained.score_thresholds.get(name, UNKNOWN_THRESHOLD))
            for k, name in enumerate(detection, start=1)
        ),
        segmentation_classes=tuple(SegmentationClass(k, name) for k, name in enumerate(segmentation)),
        input=InputSpecification(specification.height, specification.width),
        origin=Origin(
            model=f"{specification.name} on {specification.body}",
            balancer=trained.balancer,
            seed=trained.seed,
            dataset_sha256=trained.dataset_sha256,
            git_revision=trained.git_revision,
            metrics=dict(trained.metrics),
        ),
    )


def write_onnx(deployable: DeployableNetwork, card: ModelCard, path: Path) -> None:
    """Writes the graph, its batch and image size dynamic, with its card."""
    example = torch.zeros(_TRACED_BATCH, _TRACED_HEIGHT, _TRACED_WIDTH, 3, dtype=torch.uint8)
    dynamic = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks about its own deprecations
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            deployable,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(deployable.output_names),
            dynamic_shapes=({0: dynamic, 1: dynamic, 2: dynamic},),
            custom_translation_table={torch.ops.mayhem.suppress_overlaps.default: _suppress_overlaps},
        )
    if program is None:
        raise RuntimeError("the ONNX exporter returned no program")
    model = program.model_proto
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(model)
    onnx.save_model(model, path)


# Its stubs type numpy arrays, and here operators are traced.
op: Any = opset18


def _suppress_overlaps(boxes: Any, scores: Any, iou_threshold: float, score_threshold: float) -> Any:
    """`mayhem_train.models.overlaps.suppress_overlaps` in ONNX operators."""
    selected = op.NonMaxSuppression(
        boxes,
        scores,
        op.Shape(scores, start=2, end=3),
        op.Constant(value_floats=[iou_threshold]),
        op.Constant(value_floats=[score_threshold]),
    )
    # `selected` rows are (image, class, box), which is where the kept scores stand.
    ones = op.Expand(op.Constant(value_floats=[1.0]), op.Shape(selected, start=0, end=1))
    kept = op.ScatterND(op.ConstantOfShape(op.Shape(scores)), selected, ones)
    return op.Mul(scores, kept)
