"""Four frames in one image: smaller objects, more of them, in more surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from mayhem_train.datasets.samples import Sample
from mayhem_train.datasets.transforms.ranges import check_range, uniform
from mayhem_train.datasets.transforms.transforms import TrainTransform

FRAMES = 4
# Where the four frames meet, as a share of the image's sides: every frame keeps at least a quarter of each.
_MEETING = (0.25, 0.75)


class Mosaic:
    """Puts four samples around a random point, each varied and stretched to its place by the training transform.

    After Bochkovskiy et al. 2020, "YOLOv4: Optimal Speed and Accuracy of Object Detection". The mosaic bears the name
    of its first sample.

    Args:
        transform: varies each of the four, and then the colours of the whole.
        share: of samples that become mosaics.
    """

    def __init__(self, transform: TrainTransform, share: float) -> None:
        self.transform = transform
        self.share = check_range("mosaic", share, 0, 1)

    def positions(self, first: int, length: int) -> list[int]:
        """The samples to show when `first` of a dataset of `length` is asked for: itself, or with three others."""
        if torch.rand(()) >= self.share:
            return [first]
        return [first, *torch.randint(length, (FRAMES - 1,)).tolist()]

    def __call__(self, samples: Sequence[Sample]) -> Sample:
        """The mosaic of four samples: the first top left, then top right, bottom left and bottom right."""
        height, width = self.transform.size
        row, column = round(height * uniform(*_MEETING)), round(width * uniform(*_MEETING))
        places = [(0, 0, row, column), (0, column, row, width), (row, 0, height, column), (row, column, height, width)]
        tiles = [
            self.transform.show(sample, (bottom - top, right - left))
            for sample, (top, left, bottom, right) in zip(samples, places, strict=True)
        ]
        image = torch.empty(3, height, width)
        mask = torch.empty(height, width, dtype=torch.uint8)
        boxes = []
        for tile, (top, left, bottom, right) in zip(tiles, places, strict=True):
            image[:, top:bottom, left:right] = tile.image
            mask[top:bottom, left:right] = tile.mask
            boxes.append(tile.boxes + torch.tensor([left, top, left, top]))
        whole = replace(
            tiles[0],
            image=image,
            mask=mask,
            boxes=torch.cat(boxes),
            labels=torch.cat([tile.labels for tile in tiles]),
            crowd=torch.cat([tile.crowd for tile in tiles]),
        )
        return self.transform.vary(whole)
