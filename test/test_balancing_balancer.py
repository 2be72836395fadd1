"""The balancer: equal weighting is the plain sum, and its gradient too."""

from __future__ import annotations

import pytest
import torch

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.balancer import Balancer


def test_equal_weighting_sums_losses_and_gradients():
    shared = torch.tensor([1.0, 2.0], requires_grad=True)
    losses = {"detection": (shared**2).sum(), "segmentation": 3 * shared.sum(), "depth": shared[0] * shared[1]}
    balanced = Balancer("equal")(losses)
    assert balanced.total.item() == 5 + 9 + 2
    assert {task: c.item() for task, c in balanced.coefficients.items()} == dict.fromkeys(losses, 1.0)
    balanced.total.backward()
    torch.testing.assert_close(shared.grad, torch.tensor([2 + 3 + 2.0, 4 + 3 + 1.0]))


def test_an_unknown_weighting_names_the_known_ones():
    with pytest.raises(UsageError, match="'fair': choose one of equal"):
        Balancer("fair")
