"""The graph a robot runs: camera pixels in, boxes and mask in the camera's pixels out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mayhem_train.models.lraspp import most_likely, resize_logits
from mayhem_train.models.network import MultiTaskNetwork


class DeployableNetwork(nn.Module):
    """A trained network between a camera's image and results at that image's size.

    Args:
        network: in evaluation mode.
    """

    def __init__(self, network: MultiTaskNetwork):
        super().__init__()
        self.network = network
        self.size = (network.specification.height, network.specification.width)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of what `forward` returns, in order."""
        names: tuple[str, ...] = ()
        if "detection" in self.network.tasks:
            names += ("boxes", "scores", "labels", "count")
        if "segmentation" in self.network.tasks:
            names += ("mask", "mask_confidence")
        return names

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Runs camera images uint8 [N, H, W, 3] RGB, of any H and W.

        Returns:
            For detection boxes float32 [N, D, 4] xyxy in source pixels, scores float32 [N, D], labels int64 [N, D]
            and count int64 [N]; for segmentation mask uint8 [N, H, W] and mask_confidence uint8 [N, H, W].
        """
        height, width = images.shape[1], images.shape[2]
        pixels = images.permute(0, 3, 1, 2).float()
        resized = functional.interpolate(pixels, size=self.size, mode="bilinear", align_corners=False)
        predictions = self.network(resized)
        outputs: tuple[Tensor, ...] = ()
        if "detection" in predictions:
            found = self.network.heads["detection"].detect(predictions["detection"])  # type: ignore[operator]
            scale = _sides(images)
            outputs += (found.boxes * scale, found.scores, found.labels, found.counts)
        if "segmentation" in predictions:
            outputs += most_likely(resize_logits(predictions["segmentation"], height, width))
        return outputs


def _sides(images: Tensor) -> Tensor:
    """[W, H, W, H] of the images as float32, from their shape, so that it follows them in the exported graph."""
    height, width = images.shape[1], images.shape[2]
    ones = images.new_ones(1, dtype=torch.float32)
    return torch.cat([ones * width, ones * height, ones * width, ones * height])
