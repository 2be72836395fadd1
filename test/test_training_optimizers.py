"""Optimisers and learning rate schedules: the field's, by name and with their arguments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

from mayhem_ros.errors import UsageError
from mayhem_train.training.optimizers import SGD, AdamW
from mayhem_train.training.schedules import Constant, Cosine, Step, learning_rate_share


def shares(schedule: Cosine | Step | Constant, warmup: int, steps: int) -> list[float]:
    return [learning_rate_share(schedule, step, warmup, steps) for step in range(steps + 1)]


@pytest.mark.parametrize("schedule", [Cosine(), Step(), Constant()])
def test_every_schedule_begins_with_the_warm_up(schedule: Cosine | Step | Constant) -> None:
    np.testing.assert_allclose(shares(schedule, 10, 110)[:11], np.minimum(np.arange(1, 12) / 10, 1))


def torch_says(schedule: type, steps: int, **options: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = schedule(optimizer, **options)
    rates = []
    for _ in range(steps + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        oracle.step()
    return rates


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_the_cosine_is_torchs(final: float) -> None:
    expected = torch_says(CosineAnnealingLR, 100, T_max=100, eta_min=final)
    np.testing.assert_allclose(shares(Cosine(final), 10, 110)[10:], expected, atol=1e-12)


def test_the_steps_are_torchs() -> None:
    expected = torch_says(MultiStepLR, 100, milestones=[50, 75], gamma=0.2)
    np.testing.assert_allclose(shares(Step([0.5, 0.75], 0.2), 0, 100), expected, rtol=1e-12)


def test_the_constant_stays_at_the_peak() -> None:
    assert shares(Constant(), 0, 50) == [1.0] * 51


def test_a_warm_up_longer_than_the_training_takes_half_of_it() -> None:
    assert shares(Cosine(), 1000, 8)[3:5] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("recipe", "oracle"),
    [
        (SGD(0.8, nesterov=True), lambda groups: torch.optim.SGD(groups, momentum=0.8, nesterov=True)),
        (SGD(0.0), lambda groups: torch.optim.SGD(groups)),
        (AdamW(0.8, 0.9, 1e-6), lambda groups: torch.optim.AdamW(groups, betas=(0.8, 0.9), eps=1e-6)),
        (AdamW(), lambda groups: torch.optim.AdamW(groups)),
    ],
)
def test_a_recipe_makes_torchs_optimiser(recipe: SGD | AdamW, oracle: object) -> None:
    ours, theirs = (torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    optimizers = []
    for parameter, make in ((ours, recipe.build), (theirs, oracle)):
        optimizers.append(make([{"params": [parameter], "lr": 0.1, "weight_decay": 0.01}]))  # type: ignore[operator]
    for _ in range(4):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = 3 * parameter.detach() + 1
            optimizer.step()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: SGD(0.0, nesterov=True), "without momentum cannot be Nesterov's"),
        (lambda: SGD(1.0), "momentum is 1.0"),
        (lambda: AdamW(beta1=1.0), "beta1 is 1.0"),
        (lambda: AdamW(epsilon=0.0), "epsilon is 0.0"),
        (lambda: Step([0.8, 0.5]), "milestones are [0.8, 0.5]"),
        (lambda: Step([1.0]), "milestones are [1.0]"),
        (lambda: Step([]), "milestones are []"),
        (lambda: Step(factor=1.0), "factor is 1.0"),
        (lambda: Cosine(2.0), "final share is 2.0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(make: object, named: str) -> None:
    with pytest.raises(UsageError) as refused:
        make()  # type: ignore[operator]
    assert named in str(refused.value) and "\n" not in str(refused.value)
