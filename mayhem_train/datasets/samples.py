"""One labelled image as tensors, and a batch of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One image with its labels, all in the pixels of `image`.

    Attributes:
        image: uint8 [3, H, W], RGB.
        boxes: float32 [N, 4], xyxy, pixels of `image`.
        labels: int64 [N], 1 to K as `DatasetIndex.things` counts.
        mask: uint8 [H, W], 0 background, k as `DatasetIndex.surfaces` counts from 1, 255 unlabelled.
        name: the frame's name.
        image_id: the image's id in the index.
        source_size: (height, width) of the frame in its recording.
        source_mask: uint8 [height, width], `mask` before any resizing; evaluation keeps it, to be scored in the pixels
            the robot publishes.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    mask: Tensor
    name: str
    image_id: int
    source_size: tuple[int, int]
    source_mask: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """Samples of one size; `Sample` documents the fields.

    Attributes:
        images: uint8 [B, 3, H, W].
        boxes: B times float32 [N_b, 4].
        labels: B times int64 [N_b].
        masks: uint8 [B, H, W].
        names: B frame names.
        image_ids: B ids in the index.
        source_sizes: B times (height, width).
        source_masks: B times uint8 [height, width] in evaluation, none in training; they stay on the CPU.
    """

    images: Tensor
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    masks: Tensor
    names: tuple[str, ...]
    image_ids: tuple[int, ...]
    source_sizes: tuple[tuple[int, int], ...]
    source_masks: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

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
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks images and masks, and keeps boxes and labels a tensor an image, since their number differs."""
    return Batch(
        images=torch.stack([sample.image for sample in samples]),
        boxes=tuple(sample.boxes for sample in samples),
        labels=tuple(sample.labels for sample in samples),
        masks=torch.stack([sample.mask for sample in samples]),
        names=tuple(sample.name for sample in samples),
        image_ids=tuple(sample.image_id for sample in samples),
        source_sizes=tuple(sample.source_size for sample in samples),
        source_masks=tuple(sample.source_mask for sample in samples if sample.source_mask is not None),
    )
