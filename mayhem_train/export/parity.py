"""The parity gate: does ONNX Runtime, as the robot runs it, say what torch says?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_ros.onnx_model import OnnxModel
from mayhem_ros.prediction import Prediction
from mayhem_train.export.deployable import DeployableNetwork
from mayhem_train.models.detection import DETECTIONS, LEAST_SCORE

SCORE_TOLERANCE = 1e-5
BOX_TOLERANCE = 0.1
MASK_AGREEMENT = 0.9999
CONFIDENCE_TOLERANCE = 1  # of 255: rounding
# A score this near to the least one published may fall on either side of it.
_EDGE = 1e-4


@dataclass(frozen=True)
class ParityReport:
    """How far two runs of one network differ.

    Attributes:
        images: compared.
        detections: of torch, all of which were matched; None for a network without boxes.
        score_difference: the largest between a detection and its match.
        box_difference: likewise, source pixels.
        mask_agreement: share of equal mask pixels, None without a mask.
    """

    images: int
    detections: int | None
    score_difference: float
    box_difference: float
    mask_agreement: float | None


def check_parity(
    deployable: DeployableNetwork, onnx_file: Path, images: list[NDArray[np.uint8]], *, shown_as: Path
) -> ParityReport:
    """Compares torch with the exported file on every image.

    Args:
        deployable: what was exported, in evaluation mode on the CPU.
        onnx_file: the export, not yet in its place.
        images: uint8 [H, W, 3] RGB.
        shown_as: the export's place, for errors.

    Raises:
        MayhemError: a detection has no match, scores, boxes or masks differ by more than the tolerances, or what the
            exported file gives cannot be meant.
    """
    model = OnnxModel(onnx_file, provider="cpu")
    score_difference = box_difference = 0.0
    detections = pixels = equal_pixels = 0
    for image in images:
        expected = _run_torch(deployable, image)
        try:
            (found,) = model.predict(image[None])
        except MayhemError as error:
            raise MayhemError(f"{shown_as} was not written: {error}") from error
        if expected.boxes is not None:
            for ours, theirs in ((expected, found), (found, expected)):
                scores, boxes = largest_differences(ours, theirs, shown_as)
                score_difference, box_difference = max(score_difference, scores), max(box_difference, boxes)
            detections += len(expected.boxes)
        if expected.mask is not None:
            pixels += expected.mask.size
            equal_pixels += int((expected.mask == found.mask).sum())
            _check_confidence(expected, found, shown_as)
    agreement = equal_pixels / pixels if pixels else None
    if score_difference > SCORE_TOLERANCE or box_difference > BOX_TOLERANCE:
        raise _refusal(shown_as, f"scores differ by {score_difference:.1e} and boxes by {box_difference:.2f} pixels")
    if agreement is not None and agreement < MASK_AGREEMENT:
        raise _refusal(shown_as, f"only {agreement:.4%} of the mask's pixels are equal")
    found_boxes = detections if "boxes" in deployable.output_names else None
    return ParityReport(len(images), found_boxes, score_difference, box_difference, agreement)


def generated_images(count: int = 4, height: int = 480, width: int = 640) -> list[NDArray[np.uint8]]:
    """Pictures of coloured patches at several scales, where no recording is at hand."""
    random = np.random.default_rng(0)
    images = []
    for _ in range(count):
        image = np.zeros((height, width, 3))
        for cell in (8, 40, 160):
            patches = random.uniform(0, 85, (-(-height // cell), -(-width // cell), 3))
            image += np.kron(patches, np.ones((cell, cell, 1)))[:height, :width]
        images.append(image.astype(np.uint8))
    return images


def _run_torch(deployable: DeployableNetwork, image: NDArray[np.uint8]) -> Prediction:
    with torch.inference_mode():
        outputs = deployable(torch.from_numpy(image.copy())[None])  # a frame may be a view that cannot be written
    arrays = {name: value[0].numpy() for name, value in zip(deployable.output_names, outputs, strict=True)}
    if "count" in arrays:
        count = int(arrays.pop("count"))
        arrays |= {name: arrays[name][:count] for name in ("boxes", "scores", "labels")}
    return Prediction(**arrays)


def largest_differences(ours: Prediction, theirs: Prediction, shown_as: Path) -> tuple[float, float]:
    """The largest score and box differences between each of our detections and its nearest of the same class."""
    assert ours.boxes is not None and ours.scores is not None and ours.labels is not None
    assert theirs.boxes is not None and theirs.scores is not None and theirs.labels is not None
    score_difference = box_difference = 0.0
    # Beyond a full list the last places are arbitrary, and so is who just clears the least score.
    least = (float(ours.scores.min()) if len(ours.scores) >= DETECTIONS else LEAST_SCORE) + _EDGE
    for box, score, label in zip(ours.boxes, ours.scores, ours.labels, strict=True):
        if score < least:
            continue
        same = theirs.labels == label
        if not same.any():
            raise _refusal(shown_as, f"a detection scored {score:.3f} is missing")
        boxes, scores = np.abs(theirs.boxes[same] - box).max(axis=1), np.abs(theirs.scores[same] - score)
        match = int((boxes + scores).argmin())
        if boxes[match] > BOX_TOLERANCE:
            raise _refusal(shown_as, f"a detection scored {score:.3f} is missing")
        score_difference = max(score_difference, float(scores[match]))
        box_difference = max(box_difference, float(boxes[match]))
    return score_difference, box_difference


def _check_confidence(expected: Prediction, found: Prediction, shown_as: Path) -> None:
    assert expected.mask_confidence is not None and found.mask_confidence is not None
    difference = int(np.abs(expected.mask_confidence.astype(np.int16) - found.mask_confidence).max())
    if difference > CONFIDENCE_TOLERANCE:
        raise _refusal(shown_as, f"the mask's confidence differs by {difference} of 255")


def _refusal(shown_as: Path, finding: str) -> MayhemError:
    return MayhemError(
        f"{shown_as} was not written, since ONNX Runtime and torch disagree ({finding}): "
        "an untrained network's tied scores do that; train it, or report this with the checkpoint."
    )
