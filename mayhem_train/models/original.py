"""The original preset: the networks of the original work, with exactly their trainable parameters.

They are torchvision's of MobileNetV3-Large, each with the peculiarities it has there: a body that is dilated in the
segmentation networks only, default boxes from a fifth of the image on, a pyramid of two levels of stride 32, batch
normalisation and the first layers frozen in `frcnn` and not in `frcnn-mtl`, and one sigmoid output for the surface.
Input size, normalisation of the input and post-processing are those of the fair preset.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models import MobileNet_V3_Large_Weights, mobilenet_v3_large
from torchvision.ops import FrozenBatchNorm2d

from mayhem_ros.errors import UsageError
from mayhem_train.models import detection, segmentation
from mayhem_train.models.bodies import Body, Weights, split_block
from mayhem_train.models.deeplabv3 import DeepLabV3
from mayhem_train.models.faster_rcnn import FasterRCNN
from mayhem_train.models.features import FeatureChannels, Features, Strides
from mayhem_train.models.imagenet_weights import load_imagenet_weights
from mayhem_train.models.lraspp import LRASPP
from mayhem_train.models.recipe import HeadRecipe, NetworkRecipe
from mayhem_train.models.segmentation import SegmentationHead
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.models.ssdlite import SSDLite

BODY = "mobilenet_v3_large"
ATROUS_RATES = (12, 24, 36)
SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
EXTRA_CHANNELS = (512, 256, 256, 128)
ANCHOR_SIZES = ((32, 64, 128, 256, 512),) * 3
# Of MobileNetV3-Large's blocks the first of stride 8, the one that goes on to stride 32, and how many are frozen
# where three of torchvision's six stages are trained.
_C3, _C4, _FROZEN = 4, 13, 7
# torchvision's batch normalisation for MobileNetV3; its frozen one takes another epsilon unless told.
_frozen_norm = partial(FrozenBatchNorm2d, eps=0.001)


class OneLogit(SegmentationHead):
    """A head with one logit for the only surface; the background's is 0, so that softmax is its sigmoid."""

    tells_background = False

    def __init__(self, head: SegmentationHead):
        super().__init__()
        self.head = head

    @property
    def class_layers(self) -> dict[str, int]:
        """Those of the head within."""
        return {f"head.{name}": values for name, values in self.head.class_layers.items()}

    def forward(self, features: Features) -> Tensor:
        """Logits float32 [N, 2, h, w]."""
        surface = self.head(features)
        return torch.cat([torch.zeros_like(surface), surface], dim=1)


def _body(
    name: str,
    weights: Weights,
    dilated: bool,
    *,
    c4: Literal["expansion", "output"] = "expansion",
    frozen: bool = False,
) -> Body:
    """MobileNetV3-Large where torchvision's own networks tap it.

    Args:
        name: of the body; there is no other.
        weights: what it starts from.
        dilated: as torchvision does it, the strided kernel spread as well.
        c4: block 13 at its expansion (stride 16), as SSDLite does, or at its output (stride 32), as the pyramid does.
        frozen: batch normalisation and the first seven blocks.
    """
    if name != BODY:
        raise UsageError(f"The original networks stand on {BODY}, not on {name!r}: choose that or --model.preset fair.")
    network = mobilenet_v3_large(dilated=dilated, norm_layer=_frozen_norm if frozen else None)
    if weights == "imagenet":
        network.load_state_dict(load_imagenet_weights(MobileNet_V3_Large_Weights.IMAGENET1K_V1))
    blocks = network.features
    if frozen:
        blocks[:_FROZEN].requires_grad_(False)
    to_c3, between = blocks[: _C3 + 1], blocks[_C3 + 1 : _C4]
    if c4 == "output":
        to_c4 = nn.Sequential(*between, blocks[_C4])
        return Body(to_c3, to_c4, blocks[_C4 + 1 :], FeatureChannels(c3=40, c4=160, c5=960))
    expansion, rest = split_block(blocks[_C4])
    to_c4 = nn.Sequential(*between, expansion)
    return Body(to_c3, to_c4, nn.Sequential(rest, *blocks[_C4 + 1 :]), FeatureChannels(c3=40, c4=672, c5=960))


def _ssdlite(body: Body, specification: NetworkSpecification) -> SSDLite:
    return SSDLite(
        body.channels,
        specification.height,
        specification.width,
        detection.object_classes(specification),
        levels=("c4", "c5"),
        extra_channels=EXTRA_CHANNELS,
        scales=SCALES,
    )


def _faster_rcnn(body: Body, specification: NetworkSpecification) -> FasterRCNN:
    return FasterRCNN(
        body.channels,
        specification.height,
        specification.width,
        detection.object_classes(specification),
        levels=("c4", "c5"),
        strides=Strides(8, 32, 32),
        anchor_sizes=ANCHOR_SIZES,
    )


def _deeplabv3(body: Body, specification: NetworkSpecification) -> OneLogit:
    _refuse_several_surfaces(specification)
    return OneLogit(DeepLabV3(body.channels, 1, ATROUS_RATES))


def _lraspp(body: Body, specification: NetworkSpecification) -> OneLogit:
    _refuse_several_surfaces(specification)
    return OneLogit(LRASPP(body.channels, 1))


def _refuse_several_surfaces(specification: NetworkSpecification) -> None:
    surfaces = segmentation.surface_classes(specification)
    if surfaces > 1:
        raise UsageError(
            f"The original {specification.name} tells one surface from the rest, and the dataset has {surfaces} "
            f"({', '.join(specification.segmentation_classes)}): choose --model.preset fair."
        )


SSDLITE = HeadRecipe(detection.TASK, _ssdlite)
FASTER_RCNN = HeadRecipe(detection.TASK, _faster_rcnn)
DEEPLABV3 = HeadRecipe(segmentation.TASK, _deeplabv3)
DENSE_DEEPLABV3 = HeadRecipe(segmentation.TASK, _deeplabv3, dilates=True)
LR_ASPP = HeadRecipe(segmentation.TASK, _lraspp)
DENSE_LR_ASPP = HeadRecipe(segmentation.TASK, _lraspp, dilates=True)

ORIGINAL_NETWORKS: dict[str, NetworkRecipe] = {
    "frcnn": NetworkRecipe((FASTER_RCNN,), partial(_body, c4="output", frozen=True)),
    "ssdlite": NetworkRecipe((SSDLITE,), _body),
    "deeplabv3": NetworkRecipe((DENSE_DEEPLABV3,), _body),
    "lraspp": NetworkRecipe((DENSE_LR_ASPP,), _body),
    "frcnn-mtl": NetworkRecipe((FASTER_RCNN, DEEPLABV3), partial(_body, c4="output")),
    "ssdlite-mtl": NetworkRecipe((SSDLITE, DEEPLABV3), _body),
    "lraspp-mtl": NetworkRecipe((SSDLITE, LR_ASPP), _body),
}
