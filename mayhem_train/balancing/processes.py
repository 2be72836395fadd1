"""Quantities of several training processes as one, so that all of them decide alike."""

from __future__ import annotations

import torch.distributed as distributed
from torch import Tensor


def mean_over_processes(tensor: Tensor) -> Tensor:
    """The mean of every process's tensor; the tensor itself where there is one process."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return tensor
    total = tensor.detach().clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()
