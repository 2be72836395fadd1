"""The graph a robot runs: camera pixels in, boxes and mask in the camera's pixels out."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from mayhem_train.export.resizing import resize_bilinear
from mayhem_train.models.multi_task import Head, MultiTaskNetwork


class DeployableNetwork(nn.Module):
    """A trained network between a camera's image and results at that image's size.

    Args:
        network: in evaluation mode.
        resize: camera pixels float32 [N, 3, H, W] to the network's height and width.
    """

    def __init__(self, network: MultiTaskNetwork, resize: Callable[[Tensor, int, int], Tensor] = resize_bilinear):
        super().__init__()
        self.network = network
        self.resize = resize
        self.size = (network.specification.height, network.specification.width)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of what `forward` returns, in order."""
        return tuple(name for head in self._heads.values() for name in head.outputs)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Runs camera images uint8 [N, H, W, 3] RGB, of any H and W.

        Returns:
            For detection boxes float32 [N, D, 4] xyxy in source pixels, scores float32 [N, D], labels int64 [N, D]
            and count int64 [N]; for segmentation mask uint8 [N, H, W] and mask_confidence uint8 [N, H, W].
        """
        height, width = images.shape[1], images.shape[2]
        # Exported of channels that lie together, every pooling would carry its strides about as further operators.
        pixels = images.permute(0, 3, 1, 2).float().contiguous()
        predictions = self.network(self.resize(pixels, *self.size))
        outputs: tuple[Tensor, ...] = ()
        for task, head in self._heads.items():
            outputs += head.publish(predictions[task], height, width)
        return outputs

    @property
    def _heads(self) -> dict[str, Head]:
        return dict(self.network.heads.items())  # type: ignore[arg-type]
