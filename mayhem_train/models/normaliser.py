"""What a sum over a batch is divided by to be a mean over the joined batch of all training processes."""

from __future__ import annotations

import torch.distributed as distributed
from torch import Tensor


def joined_count(count: Tensor) -> Tensor:
    """Each process's part of how many (boxes, labelled pixels, …) all processes' batches hold together.

    A loss that is its own sum over this, averaged over the processes, is the loss of the joined batch, whose count is
    taken for at least 1. With one process that is `count` itself.

    Args:
        count: of this process's batch, a scalar of any number type.
    """
    total = count.detach().clone().float()
    processes = 1
    if distributed.is_available() and distributed.is_initialized():
        processes = distributed.get_world_size()
        if processes > 1:
            distributed.all_reduce(total)
    return total.clamp(min=1) / processes
