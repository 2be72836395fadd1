"""LR-ASPP: surface masks from two feature levels (Howard et al. 2019, "Searching for MobileNetV3")."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.segmentation.lraspp import LRASPPHead

from mayhem_train.models.features import FeatureChannels, Features
from mayhem_train.models.targets import Targets

UNLABELLED = 255
INNER_CHANNELS = 128


class LRASPP(nn.Module):
    """A segmentation head on c3 (low level) and c5 (high level).

    The body is not dilated: c5 stays at stride 32, since the detection head needs it there.

    Args:
        channels: the body's channels.
        classes: S, background not counted.
    """

    def __init__(self, channels: FeatureChannels, classes: int):
        super().__init__()
        self.classifier = LRASPPHead(channels.c3, channels.c5, classes + 1, INNER_CHANNELS)

    def forward(self, features: Features) -> Tensor:
        """Logits float32 [N, 1 + S, H / 8, W / 8]."""
        return self.classifier({"low": features.c3, "high": features.c5})

    def losses(self, logits: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Cross-entropy over the labelled pixels of the batch; zero where there are none."""
        height, width = targets.masks.shape[-2:]
        entropy = functional.cross_entropy(
            resize_logits(logits, height, width), targets.masks.long(), ignore_index=UNLABELLED, reduction="sum"
        )
        return {"cross_entropy": entropy / (targets.masks != UNLABELLED).sum().clamp(min=1)}


def resize_logits(logits: Tensor, height: int, width: int) -> Tensor:
    """Logits bilinearly at [height, width], pixel centres aligned as OpenCV and ONNX "half_pixel" do."""
    return functional.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)


def most_likely(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The winning class uint8 [N, H, W] of logits [N, 1 + S, H, W] and its probability times 255, uint8 [N, H, W]."""
    probability, winner = logits.softmax(dim=1).max(dim=1)
    return winner.byte(), (probability * 255).round().byte()
