"""The shared bodies: torchvision's MobileNets, tapped at strides 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, MobileNet_V3_Large_Weights, mobilenet_v2, mobilenet_v3_large

from mayhem_ros.errors import UsageError
from mayhem_train.models.features import FeatureChannels, Features
from mayhem_train.models.imagenet_weights import load_imagenet_weights

Weights = Literal["imagenet", "none"]


class MobileNetBody(nn.Module):
    """A MobileNet cut into three stages.

    c3 and c4 are the expansions inside the blocks that go on to stride 16 and 32, taken before their stride
    (as torchvision's SSDLite takes C4); c5 is the last convolution's output.
    """

    def __init__(self, blocks: nn.Sequential, first_strided: int, second_strided: int, channels: FeatureChannels):
        super().__init__()
        head_of_first, tail_of_first = _split(blocks[first_strided])
        head_of_second, tail_of_second = _split(blocks[second_strided])
        self.to_c3 = nn.Sequential(*blocks[:first_strided], head_of_first)
        self.to_c4 = nn.Sequential(tail_of_first, *blocks[first_strided + 1 : second_strided], head_of_second)
        self.to_c5 = nn.Sequential(tail_of_second, *blocks[second_strided + 1 :])
        self.channels = channels

    def forward(self, images: Tensor) -> Features:
        """Normalised images float32 [N, 3, H, W] to feature maps."""
        c3 = self.to_c3(images)
        c4 = self.to_c4(c3)
        return Features(c3, c4, self.to_c5(c4))


def mobilenet_v3_large_body(weights: Weights) -> MobileNetBody:
    """MobileNetV3-Large (Howard et al. 2019)."""
    network = mobilenet_v3_large()
    if weights == "imagenet":
        network.load_state_dict(load_imagenet_weights(MobileNet_V3_Large_Weights.IMAGENET1K_V1))
    return MobileNetBody(network.features, 7, 13, FeatureChannels(c3=240, c4=672, c5=960))


def mobilenet_v2_body(weights: Weights) -> MobileNetBody:
    """MobileNetV2 (Sandler et al. 2018)."""
    network = mobilenet_v2()
    if weights == "imagenet":
        network.load_state_dict(load_imagenet_weights(MobileNet_V2_Weights.IMAGENET1K_V1))
    return MobileNetBody(network.features, 7, 14, FeatureChannels(c3=192, c4=576, c5=1280))


BODIES: dict[str, Callable[[Weights], MobileNetBody]] = {
    "mobilenet_v3_large": mobilenet_v3_large_body,
    "mobilenet_v2": mobilenet_v2_body,
}


def build_body(name: str, weights: Weights) -> MobileNetBody:
    """The body of this name.

    Raises:
        UsageError: there is no body of this name.
    """
    if name not in BODIES:
        raise UsageError(f"There is no body {name!r}: choose one of {', '.join(BODIES)}.")
    return BODIES[name](weights)


def _split(block: nn.Module) -> tuple[nn.Module, nn.Module]:
    """An inverted residual with a stride, as its expansion and the rest; it has no skip connection to cut."""
    layers = next(block.children())
    if not isinstance(layers, nn.Sequential):
        raise TypeError(f"expected an inverted residual of torchvision, found {type(block).__name__}")
    return layers[0], layers[1:]
