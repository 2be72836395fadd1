"""What all segmentation heads have in common: their loss, and the mask a robot gets."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from mayhem_ros.errors import UsageError
from mayhem_train.models.normaliser import joined_count
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.models.targets import Targets

TASK = "segmentation"
UNLABELLED = 255


class SegmentationHead(nn.Module):
    """A head whose `forward(features)` gives logits float32 [N, 1 + S, h, w], of which h and w are its own."""

    outputs = ("mask", "mask_confidence")
    tells_background = True

    @property
    def class_layers(self) -> dict[str, int]:
        """See `class_rows`."""
        raise NotImplementedError

    def is_labelled(self, targets: Targets) -> bool:
        """Whether a pixel of the batch is labelled."""
        return bool((targets.masks != UNLABELLED).any())

    def losses(self, logits: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Cross-entropy over the labelled pixels of the batch; zero where there are none."""
        height, width = targets.masks.shape[-2:]
        entropy = functional.cross_entropy(
            resize_logits(logits, height, width), targets.masks.long(), ignore_index=UNLABELLED, reduction="sum"
        )
        return {"cross_entropy": entropy / joined_count((targets.masks != UNLABELLED).sum())}

    def publish(self, logits: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Mask and mask_confidence uint8 [N, height, width]."""
        return most_likely(logits, height, width)


def surface_classes(specification: NetworkSpecification) -> int:
    """S, background not counted.

    Raises:
        UsageError: there are none, and nothing to learn.
    """
    if not specification.segmentation_classes:
        raise UsageError(f"{specification.name} learns surfaces, and the dataset has no surface class: label some.")
    return len(specification.segmentation_classes)


def resize_logits(logits: Tensor, height: int, width: int) -> Tensor:
    """Logits bilinearly at [height, width], pixel centres aligned as OpenCV and ONNX "half_pixel" do."""
    return functional.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)


def most_likely(logits: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The winning class of logits [N, 1 + S, h, w] at [height, width], and its probability times 255.

    Between two classes their difference decides, so that one map is resized instead of two; where there are more, the
    winner's probability is 1 / sum_k exp(l_k - l_winner). A softmax along the channels of every pixel took ONNX Runtime
    a quarter of the whole pass.

    Returns:
        Two uint8 [N, height, width].
    """
    if logits.shape[1] == 2:
        lead = resize_logits(logits[:, 1:] - logits[:, :1], height, width).squeeze(1)
        winner, probability = lead > 0, lead.abs().sigmoid()
    else:
        resized = resize_logits(logits, height, width)
        best, winner = resized.max(dim=1, keepdim=True)
        winner, probability = winner.squeeze(1), 1 / (resized - best).exp().sum(dim=1)
    return winner.byte(), (probability * 255).round().byte()
