"""Transforms of torchvision (v2) on samples: image, boxes and mask together, and nothing else lost on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.datasets.index import UNLABELLED
from mayhem_train.datasets.samples import Sample
from mayhem_train.datasets.transforms.box_clipping import LEAST_SIDE

_XYXY = tv_tensors.BoundingBoxFormat.XYXY


def apply_transforms(sample: Sample, transforms: Sequence[nn.Module]) -> Sample:
    """The sample after each of the transforms; boxes are cut at the image, degenerate ones left out.

    What a transform reveals beyond the border is unlabelled in the mask, whatever colour it fills the image with.

    Raises:
        UsageError: a transform is none for images with boxes and masks, or changes the image's size or type.
    """
    size = tuple(sample.mask.shape)
    fields = {
        "image": tv_tensors.Image(sample.image),
        "boxes": tv_tensors.BoundingBoxes(sample.boxes, format=_XYXY, canvas_size=size),
        # Moved up by one, 255, unlabelled, is 0 (uint8 wraps), with which transforms fill masks.
        "mask": tv_tensors.Mask(sample.mask + 1),
        "labels": torch.stack([sample.labels, sample.crowd.long()], 1),  # one tensor: what drops a label drops both
    }
    for transform in transforms:
        _fill_masks_as_unlabelled(transform)
        name = type(transform).__name__
        try:
            fields = transform(fields)
        except MayhemError:
            raise
        except Exception as error:  # whatever a transform of the user's choice may raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UsageError(
                f"data.transforms: {name} fails on frame {sample.name} ({reason}): change its arguments."
            ) from error
        if not _is_complete(fields):
            raise UsageError(f"data.transforms: {name} is no transform of images with boxes and masks: leave it out.")
        image, mask = fields["image"], fields["mask"]
        if image.dtype != torch.uint8 or tuple(image.shape) != (3, *size) or tuple(mask.shape) != size:
            raise UsageError(
                f"data.transforms: {name} makes {_described(image)} of a {size[1]}x{size[0]} RGB image of bytes: "
                "choose transforms that keep size and type; data.size is where the size is set."
            )
    return _to_sample(sample, fields)


def _fill_masks_as_unlabelled(transform: object) -> None:
    """A colour to fill images with is no class: transforms of torchvision, those in others too, fill masks with 0."""
    fill = getattr(transform, "_fill", None)
    if isinstance(fill, dict):
        fill[tv_tensors.Mask] = 0
    modules = transform.children() if isinstance(transform, nn.Module) else ()
    listed = getattr(transform, "transforms", ())
    for part in (*modules, *(listed if isinstance(listed, list | tuple) else ())):
        _fill_masks_as_unlabelled(part)


def _to_sample(sample: Sample, fields: dict[str, torch.Tensor]) -> Sample:
    boxes = functional.convert_bounding_box_format(fields["boxes"], new_format=_XYXY)
    boxes, valid = functional.sanitize_bounding_boxes(functional.clamp_bounding_boxes(boxes), min_size=LEAST_SIDE)
    labels, crowd = fields["labels"][valid].unbind(1)
    mask = fields["mask"].as_subclass(torch.Tensor) - 1
    # Home-made transforms may fill masks with anything.
    known = torch.zeros(256, dtype=torch.bool).index_fill_(0, sample.mask.flatten().long().unique(), True)
    return replace(
        sample,
        image=fields["image"].as_subclass(torch.Tensor).contiguous(),
        boxes=boxes.as_subclass(torch.Tensor),
        labels=labels,
        crowd=crowd.bool(),
        mask=torch.where(known[mask.long()], mask, UNLABELLED),
    )


def _is_complete(fields: object) -> bool:
    return (
        isinstance(fields, dict)
        and set(fields) == {"image", "boxes", "mask", "labels"}
        and all(isinstance(field, torch.Tensor) for field in fields.values())
        and isinstance(fields["boxes"], tv_tensors.BoundingBoxes)
    )


def _described(image: torch.Tensor) -> str:
    channels, height, width = image.shape[-3:]
    return f"a {width}x{height} image of {channels} channels ({str(image.dtype).removeprefix('torch.')})"
