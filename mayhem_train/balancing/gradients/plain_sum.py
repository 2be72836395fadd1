"""No gradient method: the tasks' gradients are summed."""

from __future__ import annotations

import torch
from torch import Tensor

from mayhem_train.balancing.gradients.method import GramMethod


class PlainSum(GramMethod):
    """w_k = 1: what one backward pass of the summed losses gives."""

    def weights(self, gram: Tensor) -> Tensor:
        """Ones."""
        return torch.ones_like(gram.diagonal())
