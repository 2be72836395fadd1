"""The shared bodies: torchvision's MobileNets and ResNet-50, tapped at strides 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torchvision.models import (
    MobileNet_V2_Weights,
    MobileNet_V3_Large_Weights,
    ResNet50_Weights,
    mobilenet_v2,
    mobilenet_v3_large,
    resnet50,
)

from mayhem_train.models.features import FeatureChannels, Features
from mayhem_train.models.imagenet_weights import load_imagenet_weights
from mayhem_train.naming import look_up

Weights = Literal["imagenet", "none"]


class Body(nn.Module):
    """A network for images cut into three stages.

    Args:
        to_c3: normalised images to level c3.
        to_c4: c3 to c4.
        to_c5: c4 to c5.
        channels: of each level.
        dilated: c5 stays at stride 16; `undilated` then gives the levels without dilation.
    """

    def __init__(
        self,
        to_c3: nn.Sequential,
        to_c4: nn.Sequential,
        to_c5: nn.Sequential,
        channels: FeatureChannels,
        *,
        dilated: bool = False,
    ):
        super().__init__()
        self.to_c3 = to_c3
        self.to_c4 = to_c4
        self.to_c5 = to_c5
        self.channels = channels
        self.dilated = dilated
        if dilated:
            _put_holes(to_c5)

    def forward(self, images: Tensor) -> Features:
        """Normalised images float32 [N, 3, H, W] to feature maps."""
        c3 = self.to_c3(images)
        c4 = self.to_c4(c3)
        return Features(c3, c4, self.to_c5(c4))


def mobilenet_v3_large_body(weights: Weights, dilated: bool = False) -> Body:
    """MobileNetV3-Large (Howard et al. 2019)."""
    network = mobilenet_v3_large()
    if weights == "imagenet":
        network.load_state_dict(load_imagenet_weights(MobileNet_V3_Large_Weights.IMAGENET1K_V1))
    return mobilenet_body(network.features, 7, 13, FeatureChannels(c3=240, c4=672, c5=960), dilated)


def mobilenet_v2_body(weights: Weights, dilated: bool = False) -> Body:
    """MobileNetV2 (Sandler et al. 2018)."""
    network = mobilenet_v2()
    if weights == "imagenet":
        network.load_state_dict(load_imagenet_weights(MobileNet_V2_Weights.IMAGENET1K_V1))
    return mobilenet_body(network.features, 7, 14, FeatureChannels(c3=192, c4=576, c5=1280), dilated)


def resnet50_body(weights: Weights, dilated: bool = False) -> Body:
    """ResNet-50 (He et al. 2016)."""
    network = resnet50()
    if weights == "imagenet":
        network.load_state_dict(load_imagenet_weights(ResNet50_Weights.IMAGENET1K_V1))
    stem = (network.conv1, network.bn1, network.relu, network.maxpool)
    to_c3 = nn.Sequential(*stem, network.layer1, network.layer2)
    channels = FeatureChannels(c3=512, c4=1024, c5=2048)
    return Body(to_c3, nn.Sequential(network.layer3), nn.Sequential(network.layer4), channels, dilated=dilated)


def mobilenet_body(
    blocks: nn.Sequential, first_strided: int, second_strided: int, channels: FeatureChannels, dilated: bool = False
) -> Body:
    """A MobileNet's blocks as a body.

    c3 and c4 are the expansions inside the blocks that go on to stride 16 and 32, taken before their stride
    (as torchvision's SSDLite takes C4); c5 is the last convolution's output.
    """
    head_of_first, tail_of_first = split_block(blocks[first_strided])
    head_of_second, tail_of_second = split_block(blocks[second_strided])
    return Body(
        nn.Sequential(*blocks[:first_strided], head_of_first),
        nn.Sequential(tail_of_first, *blocks[first_strided + 1 : second_strided], head_of_second),
        nn.Sequential(tail_of_second, *blocks[second_strided + 1 :]),
        channels,
        dilated=dilated,
    )


BodyBuilder = Callable[[Weights, bool], Body]
BODIES: dict[str, BodyBuilder] = {
    "mobilenet_v3_large": mobilenet_v3_large_body,
    "mobilenet_v2": mobilenet_v2_body,
    "resnet50": resnet50_body,
}


def build_body(name: str, weights: Weights, dilated: bool = False) -> Body:
    """The body of this name; dilated its c5 has stride 16.

    Raises:
        UsageError: there is no body of this name.
    """
    return look_up("body", BODIES, name)(weights, dilated)


def split_block(block: nn.Module) -> tuple[nn.Module, nn.Module]:
    """An inverted residual with a stride, as its expansion and the rest; it has no skip connection to cut."""
    layers = next(block.children())
    if not isinstance(layers, nn.Sequential):
        raise TypeError(f"expected an inverted residual of torchvision, found {type(block).__name__}")
    return layers[0], layers[1:]


def _put_holes(stage: nn.Module) -> None:
    """Takes a stage's stride away and spreads the kernels after it, the algorithme à trous.

    Every second value of what comes out is what came out before (Chen et al. 2017, DeepLabV3, section 3.1); only
    what looks at whole maps, as squeeze-and-excitation and batch statistics do, sees the values between as well.
    """
    for module in stage.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if module.stride == (2, 2):
            module.stride = (1, 1)
        elif module.kernel_size != (1, 1):
            height, width = module.kernel_size
            module.dilation, module.padding = (2, 2), (height - 1, width - 1)
