"""One labelled image as tensors, and a batch of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from mayhem_train.datasets.frame_reader import UnreadableFrame

# Fields of a batch that hold a few numbers for every image.
_SMALL = ("boxes", "labels", "crowd_boxes", "crowd_labels")


@dataclass(frozen=True)
class Sample:
    """One image with its labels, all in the pixels of `image`.

    Attributes:
        image: uint8 [3, H, W], RGB.
        boxes: float32 [N, 4], xyxy, pixels of `image`.
        labels: int64 [N], 1 to K as `DatasetIndex.things` counts.
        crowd: bool [N], True where a box stands for a crowd rather than for one object.
        mask: uint8 [H, W], 0 background, k as `DatasetIndex.surfaces` counts from 1, 255 unlabelled.
        name: the frame's name.
        image_id: the image's id in the index.
        source_size: (height, width) of the frame in its recording.
        source_mask: uint8 [height, width], `mask` before any resizing; evaluation keeps it, to be scored in the pixels
            the robot publishes.
        warnings: what its user should be told of the recordings it came from, once.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    mask: Tensor
    name: str
    image_id: int
    source_size: tuple[int, int]
    source_mask: Tensor | None = None
    warnings: tuple[str, ...] = ()

    def with_boxes(self, boxes: Tensor, keep: Tensor) -> Sample:
        """The sample with other boxes, of which only those are left, with their labels, where `keep` (bool [N])."""
        return replace(self, boxes=boxes[keep], labels=self.labels[keep], crowd=self.crowd[keep])


@dataclass(frozen=True)
class Batch:
    """Samples of one size; `Sample` documents the fields.

    Crowds stand apart, so that what knows nothing of them learns from objects only.

    Attributes:
        images: uint8 [B, 3, H, W].
        boxes: B times float32 [N_b, 4], objects.
        labels: B times int64 [N_b].
        masks: uint8 [B, H, W].
        names: B frame names.
        image_ids: B ids in the index.
        source_sizes: B times (height, width).
        source_masks: B times uint8 [height, width] in evaluation, none in training; they stay on the CPU.
        crowd_boxes: B times float32 [C_b, 4]: neither an object nor background; what is found there is not judged.
        crowd_labels: B times int64 [C_b].
        warnings: of all samples.
        unreadable: the frames that should have been in the batch and are not; where that is all of them, B is 0.
    """

    images: Tensor
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    masks: Tensor
    names: tuple[str, ...]
    image_ids: tuple[int, ...]
    source_sizes: tuple[tuple[int, int], ...]
    source_masks: tuple[Tensor, ...]
    crowd_boxes: tuple[Tensor, ...]
    crowd_labels: tuple[Tensor, ...]
    warnings: tuple[str, ...] = ()
    unreadable: tuple[UnreadableFrame, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple[Any, ...]:
        """From a worker only the large tensors come through shared memory, where each costs a fraction of a ms."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in _SMALL:
            values[name] = tuple(tensor.cpu().numpy() for tensor in values[name])
        return _unpacked, (values,)

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Batch:
        """The batch on another device; from pinned memory the copy overlaps with what runs there."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; DataLoader calls this where it is told to pin."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            images=change(self.images),
            boxes=tuple(map(change, self.boxes)),
            labels=tuple(map(change, self.labels)),
            masks=change(self.masks),
            crowd_boxes=tuple(map(change, self.crowd_boxes)),
            crowd_labels=tuple(map(change, self.crowd_labels)),
        )


def _unpacked(values: dict[str, Any]) -> Batch:
    """The inverse of `Batch.__reduce__`; small tensors come back on the images' device."""
    device = values["images"].device
    for name in _SMALL:
        values[name] = tuple(torch.from_numpy(array).to(device) for array in values[name])
    return Batch(**values)


def collate(items: Sequence[Sample | UnreadableFrame]) -> Batch:
    """Stacks images and masks, and keeps boxes and labels a tensor an image, since their number differs."""
    samples = [item for item in items if isinstance(item, Sample)]
    unreadable = tuple(item for item in items if isinstance(item, UnreadableFrame))
    return Batch(
        images=_stacked([sample.image for sample in samples], (3, 0, 0)),
        boxes=tuple(sample.boxes[~sample.crowd] for sample in samples),
        labels=tuple(sample.labels[~sample.crowd] for sample in samples),
        masks=_stacked([sample.mask for sample in samples], (0, 0)),
        names=tuple(sample.name for sample in samples),
        image_ids=tuple(sample.image_id for sample in samples),
        source_sizes=tuple(sample.source_size for sample in samples),
        source_masks=tuple(sample.source_mask for sample in samples if sample.source_mask is not None),
        crowd_boxes=tuple(sample.boxes[sample.crowd] for sample in samples),
        crowd_labels=tuple(sample.labels[sample.crowd] for sample in samples),
        warnings=tuple(sentence for sample in samples for sentence in sample.warnings),
        unreadable=unreadable,
    )


def _stacked(tensors: Sequence[Tensor], empty: tuple[int, ...]) -> Tensor:
    """uint8 [B, …]; of no tensors [0, *empty]."""
    return torch.stack(list(tensors)) if tensors else torch.empty(0, *empty, dtype=torch.uint8)
