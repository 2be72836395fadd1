"""The toy problem of the CAGrad, Nash-MTL and FAMO papers: who reaches the Pareto front from where, and where on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mayhem_train.balancing.names import GRADIENT_METHODS
from mayhem_train.balancing.weightings.famo import FastAdaptiveWeighting

STARTS = ((-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0))
LEAST = torch.tensor([-2.1, -21.0], dtype=torch.float64)  # below both losses, for FAMO's logarithms
FRONT = -8.3552  # the second coordinate on the front, of which the first runs from -7 to 7
LINEAR_OPTIMUM = -5.727  # the first coordinate where the sum of the losses is least


def toy_losses(at: Tensor) -> Tensor:
    """float64 [N, 2] at points [N, 2]: Navon et al. 2022, appendix B, with the first loss a tenth of CAGrad's."""
    x, y = at.T
    rise = (y / 2).tanh()
    above, below = torch.where(y >= 0, rise, 0.0), torch.where(y <= 0, -rise, 0.0)
    first = ((-x - 7) / 2 + y.tanh()).abs().clamp(min=5e-6).log() + 6
    second = ((-x + 3) / 2 - y.tanh() + 2).abs().clamp(min=5e-6).log() + 6
    valleys = [((side - x) ** 2 + 0.1 * (y + 8) ** 2) / 10 - 20 for side in (7, -7)]
    return torch.stack([0.1 * (first * above + valleys[0] * below), second * above + valleys[1] * below], 1)


def gradients_at(at: Tensor) -> Tensor:
    """float64 [N, 2, 2]: of each loss."""
    at = at.detach().requires_grad_()
    losses = toy_losses(at).sum(0)
    return torch.stack([torch.autograd.grad(losses[k], at, retain_graph=k == 0)[0] for k in range(2)], 1)


def steps_of(name: str) -> tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], None]]:
    """From one start's losses and gradients to its step's gradient, and what learns from the losses after the step."""
    if name == "famo":
        weighting = FastAdaptiveWeighting()
        weighting.bind(("first", "second"))
        weighting.double()
        return lambda losses, gradients: weighting(losses) @ gradients, weighting.observe_losses_after_step
    method = GRADIENT_METHODS[name]()
    return lambda _, gradients: method.combine(gradients).vector, lambda _: None


def ends(name: str) -> Tensor:
    """Where Adam ends after 1200 steps of 0.02 from each start: two thirds of the papers' way, in larger steps."""
    at = torch.tensor(STARTS, dtype=torch.float64)
    optimiser = torch.optim.Adam([at], lr=0.02)
    methods = [steps_of(name) for _ in STARTS]
    losses = toy_losses(at) - LEAST
    for _ in range(1200):
        every = zip(methods, losses, gradients_at(at), strict=True)
        at.grad = torch.stack([balance(of_one, gradients) for (balance, _), of_one, gradients in every])
        optimiser.step()
        losses = toy_losses(at) - LEAST
        for (_, observe), of_one in zip(methods, losses, strict=True):
            observe(of_one)
    return at


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "reaches", "first_coordinates"),
    [
        ("none", {0, 1, 3, 4}, (-5.7, -5.7, 4.7, -5.7, -5.2)),  # one end of the front, or a valley above it
        ("cagrad", {0, 1, 3, 4}, (-4.6, -5.2, 5.1, -5.2, -4.7)),
        ("mgda", {1, 2, 3, 4}, (-0.5, 6.3, 6.4, -3.9, 7.0)),  # from the first start it is still on its way
        ("pcgrad", {0, 1, 2, 3, 4}, (-4.7, -3.4, 4.9, -4.4, 5.1)),
        ("nash-mtl", {0, 1, 2, 3, 4}, (-4.3, 0.0, 3.8, -3.7, 5.2)),
        ("imtl-g", {0, 1, 2, 3, 4}, (-3.3, 0.0, 3.5, -3.5, 5.6)),
        ("famo", {0, 1, 2, 3, 4}, (-4.8, -0.1, 4.0, -4.5, 5.7)),
    ],
)
def test_who_reaches_the_front_and_where(name: str, reaches: set[int], first_coordinates: tuple[float, ...]) -> None:
    """As in the papers: Nash-MTL and FAMO from everywhere and nowhere at its ends, equal weights at one end or not."""
    at = ends(name)
    nearest = torch.stack([at[:, 0].clamp(-7, 7), torch.full_like(at[:, 0], FRONT)], 1)
    gaps = (toy_losses(at) - toy_losses(nearest)).amax(1)
    assert set(torch.nonzero(gaps < 0.25).flatten().tolist()) == reaches, f"losses above the front: {gaps}"
    torch.testing.assert_close(at[:, 0], torch.tensor(first_coordinates, dtype=torch.float64), atol=0.6, rtol=0)
    if name not in ("none", "cagrad"):
        assert ((at[:, 0] - LINEAR_OPTIMUM).abs() > 0.8).all(), "nobody is drawn to where the plain sum is least"
