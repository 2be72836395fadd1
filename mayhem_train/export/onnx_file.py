"""A trained network as one self-describing ONNX file."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from mayhem_ros.model_card import (
    METADATA_KEY,
    DetectionClass,
    InputSpecification,
    ModelCard,
    Origin,
    SegmentationClass,
)
from mayhem_train.evaluation.metrics.score_thresholds import UNKNOWN_THRESHOLD
from mayhem_train.export.agreement import Agreement
from mayhem_train.export.deployable import DeployableNetwork
from mayhem_train.export.operators import translations
from mayhem_train.export.parity import ParityReport, check_parity, generated_images
from mayhem_train.export.precision import Lowering, lower_precision
from mayhem_train.export.quiet import only_errors
from mayhem_train.outputs import whole_file
from mayhem_train.training.trained_network import TrainedNetwork, load_trained_network

OPSET = 18
_TRACED_BATCH, _TRACED_HEIGHT, _TRACED_WIDTH = 2, 360, 480


@dataclass(frozen=True)
class ExportReport(ParityReport):
    """How far torch and the export in float32 differ, and what a lower precision costs.

    Attributes:
        agreement: of the written file with the export in float32; None where that is what was written.
    """

    agreement: Agreement | None = None


def export_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    images: list[np.ndarray] | None = None,
    lowering: Lowering | None = None,
    full_precision: Path | None = None,
    force: bool = False,
) -> ExportReport:
    """Writes `out` from a checkpoint, unless ONNX Runtime and torch disagree about it.

    Args:
        checkpoint: of `mayhem train`.
        out: the ONNX file.
        images: uint8 [H, W, 3] RGB, what the two are compared on; noise pictures without them.
        lowering: to a lower precision than float32, once that is found to agree with torch.
        full_precision: with `lowering`, where to leave the file in float32 besides, replacing what is there.
        force: replace an existing file.

    Raises:
        MayhemError: the checkpoint cannot be used, the exported graph disagrees with torch, or half precision with
            single.
    """
    with whole_file(out, force=force) as partial, tempfile.TemporaryDirectory(prefix="mayhem-export-") as folder:
        trained, network = load_trained_network(checkpoint)
        deployable = DeployableNetwork(network).eval()
        written = partial if lowering is None else full_precision or Path(folder) / "fp32.onnx"
        write_onnx(deployable, model_card(trained, network.tasks), written)
        parity = check_parity(deployable, written, images or generated_images(), shown_as=out)
        agreement = None if lowering is None else lower_precision(written, partial, lowering, shown_as=out)
        return ExportReport(**vars(parity), agreement=agreement)


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
        input=InputSpecification(specification.height, specification.width, intensity_range=trained.intensity_range),
        origin=Origin(
            model=f"{specification.name} on {specification.body}",
            balancer=trained.balancer,
            seed=trained.seed,
            dataset_sha256=trained.dataset_sha256,
            git_revision=trained.git_revision,
            metrics={name: value for name, value in trained.metrics.items() if value is not None},
        ),
    )


def write_onnx(deployable: DeployableNetwork, card: ModelCard, path: Path) -> None:
    """Writes the graph, its batch and image size dynamic, with its card."""
    example = torch.zeros(_TRACED_BATCH, _TRACED_HEIGHT, _TRACED_WIDTH, 3, dtype=torch.uint8)
    dynamic = torch.export.Dim.DYNAMIC
    # The exporter remarks upon its own deprecations, and upon what it leaves as it is.
    with warnings.catch_warnings(), only_errors("torch.onnx"), only_errors("onnxscript"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            deployable,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(deployable.output_names),
            dynamic_shapes=({0: dynamic, 1: dynamic, 2: dynamic},),
            custom_translation_table=translations(),
        )
    if program is None:
        raise RuntimeError("the ONNX exporter returned no program")
    model = program.model_proto
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.checker.check_model(model)
    onnx.save_model(model, path)
