"""Random numbers that a resumed run draws as the undisturbed one, and every process alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Draws(nn.Module):
    """Counts its draws in the checkpoint and seeds each from its number.

    Args:
        seed: of the first draw.
    """

    count: Tensor

    def __init__(self, seed: int = 0):
        super().__init__()
        self.seed = seed
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def generator(self, device: torch.device | str = "cpu") -> torch.Generator:
        """A generator for one draw."""
        self.count += 1
        return torch.Generator(device).manual_seed(self.seed + 1_000_003 * int(self.count))
