"""LR-ASPP: surface masks from two feature levels (Howard et al. 2019, "Searching for MobileNetV3")."""

from __future__ import annotations

from torch import Tensor
from torchvision.models.segmentation.lraspp import LRASPPHead

from mayhem_train.models.bodies import Body
from mayhem_train.models.features import FeatureChannels, Features
from mayhem_train.models.segmentation import SegmentationHead, resize_logits, surface_classes
from mayhem_train.models.specification import NetworkSpecification

INNER_CHANNELS = 128


class LRASPP(SegmentationHead):
    """A segmentation head on c3 (low level) and c5 (high level).

    Args:
        channels: the body's channels.
        outputs: 1 + S, background counted.
    """

    def __init__(self, channels: FeatureChannels, outputs: int):
        super().__init__()
        self.classifier = LRASPPHead(channels.c3, channels.c5, outputs, INNER_CHANNELS)

    @property
    def class_layers(self) -> dict[str, int]:
        """The two convolutions whose sum is the logits."""
        return {"classifier.low_classifier": 1, "classifier.high_classifier": 1}

    def forward(self, features: Features) -> Tensor:
        """Logits float32 [N, 1 + S, H / 8, W / 8]."""
        high = self.classifier.cbr(features.c5) * self.classifier.scale(features.c5)
        # Before it is resized, 1 + S channels are left instead of 128: both steps are linear and change places freely.
        high = resize_logits(self.classifier.high_classifier(high), *features.c3.shape[-2:])
        return self.classifier.low_classifier(features.c3) + high


def lraspp(body: Body, specification: NetworkSpecification) -> LRASPP:
    """LR-ASPP for the specification's surfaces."""
    return LRASPP(body.channels, 1 + surface_classes(specification))
