"""Random draws made once more, so that two looks at one batch differ by the weights only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DrawsSoFar:
    """Where torch's generators stood.

    Attributes:
        device: whose generator is kept besides the CPU's.
        cpu: the CPU generator's state.
        cuda: the GPU generator's, None on other devices.
    """

    device: torch.device
    cpu: Tensor
    cuda: Tensor | None

    @classmethod
    def of(cls, device: torch.device) -> DrawsSoFar:
        """As they stand now."""
        cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(device, torch.get_rng_state(), cuda)

    @contextmanager
    def repeated(self) -> Iterator[None]:
        """Within, the draws that followed are made again; afterwards the generators go on as if nothing had been."""
        with torch.random.fork_rng([self.device] if self.cuda is not None else []):
            torch.set_rng_state(self.cpu)
            if self.cuda is not None:
                torch.cuda.set_rng_state(self.cuda, self.device)
            yield
