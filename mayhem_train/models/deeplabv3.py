"""DeepLabV3: surface masks from one dense level seen at several scales (Chen et al. 2017, "Rethinking Atrous…")."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from mayhem_train.models.bodies import Body
from mayhem_train.models.features import FeatureChannels, Features
from mayhem_train.models.segmentation import SegmentationHead, surface_classes
from mayhem_train.models.specification import NetworkSpecification

# The paper's for stride 16; torchvision's own, twice these, are the paper's for stride 8.
ATROUS_RATES = (6, 12, 18)


class DeepLabV3(SegmentationHead):
    """A segmentation head on c5.

    Args:
        channels: the body's channels.
        outputs: 1 + S, background counted.
        atrous_rates: the spacing of the three wide kernels' taps.
    """

    def __init__(self, channels: FeatureChannels, outputs: int, atrous_rates: Sequence[int] = ATROUS_RATES):
        super().__init__()
        self.classifier = DeepLabHead(channels.c5, outputs, atrous_rates)

    @property
    def class_layers(self) -> dict[str, int]:
        """The last convolution."""
        return {f"classifier.{len(self.classifier) - 1}": 1}

    def forward(self, features: Features) -> Tensor:
        """Logits float32 [N, 1 + S, h, w] at c5's stride."""
        return self.classifier(features.c5)


def deeplabv3(body: Body, specification: NetworkSpecification) -> DeepLabV3:
    """DeepLabV3's head for the specification's surfaces."""
    return DeepLabV3(body.channels, 1 + surface_classes(specification))
