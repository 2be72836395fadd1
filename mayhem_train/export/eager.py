"""A checkpoint run by torch as it is: what the exported file is to be faster than."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.evaluation.benchmarking.operations import ModelSize
from mayhem_train.export.deployable import DeployableNetwork
from mayhem_train.training.trained_network import load_trained_network

DEVICES = ("cpu", "cuda")


class EagerModel:
    """A checkpoint's network between camera images and its outputs, in float32.

    Args:
        path: a checkpoint.
        device: one of `DEVICES`.

    Raises:
        MayhemError: the checkpoint cannot be used, or there is no such device here.
        UsageError: torch has no such device.
    """

    def __init__(self, path: Path, device: str) -> None:
        if device not in DEVICES:
            raise UsageError(
                f"A checkpoint runs in torch on {' or '.join(DEVICES)}, not on {device}: name an .onnx file."
            )
        if device == "cuda" and not torch.cuda.is_available():
            raise MayhemError("torch finds no CUDA device here: leave cuda out of --providers.")
        self.path = path
        self._device = torch.device(device)
        _, network = load_trained_network(path)
        self._network = DeployableNetwork(network, resize=_interpolate).eval().to(self._device)

    def predict(self, images: NDArray[np.uint8]) -> list[NDArray[np.generic]]:
        """The outputs of the exported file, in its order, for images uint8 [N, H, W, 3] RGB, on the CPU again."""
        with torch.inference_mode():
            outputs: tuple[Tensor, ...] = self._network(torch.from_numpy(images).to(self._device))
            return [output.cpu().numpy() for output in outputs]

    def size(self, height: int, width: int) -> ModelSize:
        """All its parameters and the operations of a pass, as torch counts them."""
        counter = FlopCounterMode(display=False)
        with counter:
            self.predict(np.zeros((1, height, width, 3), np.uint8))
        return ModelSize(
            parameters=sum(parameter.numel() for parameter in self._network.parameters()),
            flops=counter.get_total_flops(),
            megabytes=self.path.stat().st_size / 1e6,
        )


def _interpolate(images: Tensor, height: int, width: int) -> Tensor:
    # What equals the exported file's last bits takes longer, and here the time counts.
    return interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
