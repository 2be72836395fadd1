"""Loss weightings: each against values computed by hand or by torchjd, and what must survive a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
import torchjd.scalarization as torchjd
from torch import Tensor

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.draws import Draws
from mayhem_train.balancing.names import ALIASES, WEIGHTINGS
from mayhem_train.balancing.weightings.auto_lambda import AutoLambda
from mayhem_train.balancing.weightings.dynamic import DynamicWeightAverage
from mayhem_train.balancing.weightings.famo import FastAdaptiveWeighting
from mayhem_train.balancing.weightings.geometric import GeometricWeighting
from mayhem_train.balancing.weightings.random import RandomWeighting
from mayhem_train.balancing.weightings.relative_difficulty import RelativeDifficultyWeighting
from mayhem_train.balancing.weightings.smooth_tchebycheff import SmoothTchebycheffWeighting
from mayhem_train.balancing.weightings.task_difficulty import TaskDifficultyWeighting
from mayhem_train.balancing.weightings.uncertainty import UncertaintyWeighting
from mayhem_train.balancing.weightings.weighting import LossWeighting
from mayhem_train.naming import look_up

TASKS = ("detection", "segmentation", "depth")
Weighting = TypeVar("Weighting", bound=LossWeighting)


def bound(weighting: Weighting, tasks: int = 2) -> Weighting:
    weighting.bind(TASKS[:tasks])
    return weighting


def epoch(weighting: LossWeighting, *batches: tuple[float, ...]) -> Tensor:
    """Shows one epoch's losses; the coefficients of its last batch."""
    for losses in batches:
        coefficients = weighting(torch.tensor(losses))
    weighting.end_epoch()
    return coefficients


def some_losses(count: int, tasks: int = 3, seed: int = 0) -> Tensor:
    """float [count, K] of scales from a tenth to ten."""
    drawn = torch.rand(count, tasks, generator=torch.Generator().manual_seed(seed)) + 0.1
    return drawn * torch.logspace(-1, 1, tasks)


def by_torchjd(scalarizer: Callable[[Tensor], Tensor], losses: Tensor) -> Tensor:
    """What it multiplies each task's gradient with: the derivative of its sum by each loss."""
    losses = losses.clone().requires_grad_()
    (coefficients,) = torch.autograd.grad(scalarizer(losses), losses)
    return coefficients


def test_dwa_is_torchjds_from_epoch_to_epoch() -> None:
    ours, theirs = bound(DynamicWeightAverage(temperature=0.5), 3), torchjd.DWA(temperature=0.5)
    for number in range(5):
        for losses in some_losses(4, seed=number):
            found = ours(losses)
            torch.testing.assert_close(found, by_torchjd(theirs, losses))
        ours.end_epoch()
        theirs.step()
    assert found.std() > 0.01, "the equal weights of the first epochs would hide a mistake"


def test_famo_is_torchjds_from_step_to_step() -> None:
    ours, theirs = bound(FastAdaptiveWeighting(), 3), torchjd.FAMO(3)
    for before, after in zip(some_losses(30), some_losses(30, seed=1), strict=True):
        torch.testing.assert_close(ours(before), by_torchjd(theirs, before), rtol=1e-4, atol=1e-6)
        ours.observe_losses_after_step(after)
        theirs.update(after)
    assert ours.logits.value.abs().max() > 0.05, "what it starts from would hide a mistake"


def test_uncertainty_is_torchjds_of_twice_the_losses() -> None:
    """The paper's equation for regression halves the losses, ours for classification does not."""
    ours, theirs = bound(UncertaintyWeighting(), 3), torchjd.UW(3)
    our_optimiser, their_optimiser = (torch.optim.Adam(it.parameters(), lr=0.05) for it in (ours, theirs))
    for losses in some_losses(30):
        expected = by_torchjd(lambda values: theirs(2 * values), losses)
        torch.testing.assert_close(ours(losses).detach(), expected)
        our_optimiser.zero_grad()
        ours.own_loss(losses).backward()
        our_optimiser.step()
        their_optimiser.zero_grad()
        theirs(2 * losses).backward()
        their_optimiser.step()
    learned = torch.stack(list(ours.log_variances)).detach()
    assert learned.abs().min() > 0.1, "what they start from would hide a mistake"


def test_geometric_is_torchjds_geometric_mean() -> None:
    for losses in some_losses(5):
        torch.testing.assert_close(
            bound(GeometricWeighting(), 3)(losses), by_torchjd(torchjd.GeometricMean(), losses), rtol=1e-5, atol=0
        )


def test_random_weights_are_torchjds_of_the_same_draws() -> None:
    weighting, draws = bound(RandomWeighting(seed=3), 3), Draws(3)
    with torch.random.fork_rng(devices=[]):
        for losses in some_losses(5):
            torch.manual_seed(draws.generator().initial_seed())
            torch.testing.assert_close(weighting(losses), by_torchjd(torchjd.Random(), losses))


def test_stch_is_torchjds_of_logarithms_below_the_nadirs() -> None:
    """In its multi-task form f = log L, z* = log N, every preference is 1, and the sum is K times as large."""
    weighting = bound(SmoothTchebycheffWeighting(mu=0.5, warmup_epochs=1), 3)
    nadir = some_losses(1, seed=1)[0]
    weighting(nadir)
    weighting.end_epoch()
    oracle = torchjd.STCH(0.5, weights=torch.ones(3), reference=nadir.log())
    for losses in some_losses(5):
        expected = by_torchjd(lambda values: 3 * oracle(values.log()), losses)
        torch.testing.assert_close(weighting(losses), expected, rtol=1e-4, atol=1e-6)


def test_dwa_follows_the_epochs_mean_losses() -> None:
    weighting = bound(DynamicWeightAverage(temperature=2.0))
    assert epoch(weighting, (1.0, 9.0), (3.0, 7.0)).tolist() == [1, 1]  # means 2 and 8
    assert epoch(weighting, (1.0, 8.0), (1.0, 4.0)).tolist() == [1, 1]  # means 1 and 6
    rates = torch.tensor([1 / 2, 6 / 8])
    expected = 2 * torch.softmax(rates / 2, 0)
    torch.testing.assert_close(epoch(weighting, (5.0, 5.0)), expected)
    torch.testing.assert_close(epoch(weighting, (5.0, 5.0)), 2 * torch.softmax(torch.tensor([5 / 1, 5 / 6]) / 2, 0))


def test_bmtl_is_the_softmax_of_the_losses_and_never_overflows() -> None:
    weighting = bound(TaskDifficultyWeighting(temperature=50.0))
    raw = torch.tensor([math.exp(2 / 50), math.exp(7 / 50)])
    torch.testing.assert_close(weighting(torch.tensor([2.0, 7.0])), 2 * raw / raw.sum())
    assert weighting(torch.tensor([1e6, 1.0])).tolist() == [2, 0]


def test_relative_difficulty_is_what_is_left_of_the_first_epoch() -> None:
    weighting = bound(RelativeDifficultyWeighting(decay=0.5))
    assert epoch(weighting, (4.0, 10.0)).tolist() == [1, 1]
    assert epoch(weighting, (2.0, 10.0)).tolist() == [1, 1]  # measured against itself, the first epoch is equal
    left = torch.tensor([(0.5 * 4 + 0.5 * 2) / 4, 1.0])
    torch.testing.assert_close(epoch(weighting, (2.0, 10.0)), 2 * left / left.sum())


def test_geometric_is_the_gradient_of_the_geometric_mean() -> None:
    losses = torch.tensor([0.5, 2.0, 8.0], requires_grad=True)
    losses.prod().pow(1 / 3).backward()
    torch.testing.assert_close(bound(GeometricWeighting(), 3)(losses.detach()), losses.grad)
    assert torch.isfinite(bound(GeometricWeighting())(torch.tensor([0.0, 1.0]))).all()


def test_uncertainty_learns_half_the_inverse_of_each_loss() -> None:
    weighting = bound(UncertaintyWeighting())
    losses = torch.tensor([0.2, 5.0])
    assert weighting(losses).tolist() == [1, 1]
    optimiser = torch.optim.Adam(weighting.parameters(), lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        weighting.own_loss(losses).backward()
        optimiser.step()
    torch.testing.assert_close(weighting(losses).detach(), 1 / (2 * losses), rtol=1e-3, atol=1e-4)


def test_random_weights_sum_to_one_and_are_drawn_anew() -> None:
    weighting = bound(RandomWeighting(seed=3), 3)
    drawn = torch.stack([weighting(torch.ones(3)) for _ in range(1000)])
    torch.testing.assert_close(drawn.sum(1), torch.ones(1000))
    torch.testing.assert_close(drawn.mean(0), torch.full((3,), 1 / 3), atol=0.03, rtol=0)
    assert len(torch.unique(drawn, dim=0)) == 1000


def test_stch_warms_up_on_logarithms_and_then_takes_the_gradient_of_the_smooth_maximum() -> None:
    weighting = bound(SmoothTchebycheffWeighting(mu=0.5, warmup_epochs=2))
    assert epoch(weighting, (4.0, 0.5)).tolist() == [0.25, 2]
    epoch(weighting, (2.0, 0.25), (4.0, 0.75))
    nadir = torch.tensor([3.0, 0.5])  # the last warm-up epoch's means
    losses = torch.tensor([1.5, 0.4], requires_grad=True)
    (2 * 0.5 * torch.logsumexp((losses / nadir).log() / 0.5, 0)).backward()
    torch.testing.assert_close(weighting(losses.detach()), losses.grad)


def test_famo_follows_algorithm_1_with_torchs_own_adam() -> None:
    weighting = bound(FastAdaptiveWeighting(learning_rate=0.025, weight_decay=1e-3), 3)
    logits = torch.zeros(3, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=0.025, weight_decay=1e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        before, after = torch.rand(3, generator=generator) + 0.1, torch.rand(3, generator=generator) + 0.1
        shares = torch.softmax(logits, 0)
        expected = (shares / before / (shares / before).sum()).detach()
        torch.testing.assert_close(weighting(before), expected)
        (logits.grad,) = torch.autograd.grad(shares, logits, before.log() - after.log())
        adam.step()
        weighting.observe_losses_after_step(after)
    assert weighting(torch.ones(3)).std() > 0.01


def test_auto_lambda_descends_on_the_next_batchs_loss() -> None:
    """Two tasks whose gradients agree from batch to batch gain; one that turns against the next batch loses."""
    weighting = bound(AutoLambda(start=0.1, learning_rate=0.01), 3)
    helpful, noise = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    for step in range(30):
        weighting.observe_gradients(torch.stack([helpful, helpful, (-1) ** step * noise]))
    first, second, third = weighting(torch.ones(3))
    assert first == second > 0.1 > third >= 0


def test_auto_lambdas_inner_product_is_the_derivative_of_the_loss_after_a_step() -> None:
    """The gradient that lambda takes, against a central difference of L_val(theta - eta sum_k lambda_k g_k)."""
    torch.manual_seed(0)
    matrix = torch.randn(2, 2, 6, 6, dtype=torch.float64)  # batch, task
    theta, lambdas, rate = torch.randn(6, dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64), 0.01

    def losses(batch: int, at: Tensor) -> Tensor:
        return torch.stack([(matrix[batch, task] @ at).square().sum() for task in range(2)])

    gradients = torch.autograd.functional.jacobian(lambda at: losses(0, at), theta)

    def after_step(weights: Tensor) -> Tensor:
        return losses(1, theta - rate * weights @ gradients).sum()

    at_next = torch.autograd.functional.jacobian(lambda at: losses(1, at), theta - rate * lambdas @ gradients)
    inner = -rate * gradients @ at_next.sum(0)
    for task, unit in enumerate(torch.eye(2, dtype=torch.float64)):
        difference = (after_step(lambdas + 1e-6 * unit) - after_step(lambdas - 1e-6 * unit)) / 2e-6
        torch.testing.assert_close(inner[task], difference, rtol=1e-5, atol=0)
    weighting = bound(AutoLambda(start=0.5, learning_rate=0.01)).double()
    weighting.observe_gradients(gradients)
    weighting.observe_gradients(at_next)
    moved = weighting(torch.ones(2)) - 0.5
    torch.testing.assert_close(moved, -0.01 * inner.sign(), rtol=1e-4, atol=1e-6)  # Adam's first step


def test_auto_lambda_brings_a_task_back_that_had_lost_all_of_its_weight() -> None:
    weighting = bound(AutoLambda(start=0.1, learning_rate=0.01, primary={"detection": 1.0}))
    along, against = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    for _ in range(40):
        weighting.observe_gradients(against)
    least = float(weighting(torch.ones(2))[1])
    assert 0 < least < 0.01
    for _ in range(40):
        weighting.observe_gradients(along)
    assert float(weighting(torch.ones(2))[1]) > 10 * least


@pytest.mark.parametrize("kind", [FastAdaptiveWeighting, GeometricWeighting])
def test_a_task_without_anything_to_learn_leaves_the_batch_to_the_others(kind: type[LossWeighting]) -> None:
    losses = torch.tensor([3.0, 0.0, 0.5])
    alone, beside = bound(kind(), 2), bound(kind(), 3)
    torch.testing.assert_close(beside(losses)[[0, 2]], alone(losses[[0, 2]]))
    assert beside(losses)[1] == 0
    if beside.needs_losses_after_step:
        beside.observe_losses_after_step(losses * torch.tensor([0.5, 1.0, 0.9]))
        detection, segmentation, depth = beside.logits.value.tolist()
        assert detection < 0 < depth and segmentation == 0
    assert not beside(torch.zeros(3)).any()


def test_auto_lambda_serves_its_primary_tasks_only() -> None:
    weighting = bound(AutoLambda(learning_rate=0.01, primary={"detection": 1.0}), 3)
    gradients = torch.eye(3)
    for _ in range(10):
        weighting.observe_gradients(gradients)
    first, second, third = weighting(torch.ones(3))
    assert first > second == third
    with pytest.raises(UsageError, match="primary task 'lanes' is none of detection, segmentation"):
        bound(AutoLambda(primary={"lanes": 1.0}))


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_resumed_weighting_goes_on_as_the_undisturbed_one(name: str) -> None:
    undisturbed, resumed = (bound(WEIGHTINGS[name](), 3) for _ in range(2))
    generator = torch.Generator().manual_seed(1)

    def live(weighting: LossWeighting, losses: Tensor, gradients: Tensor) -> Tensor:
        coefficients = weighting(losses).detach()
        weighting.observe_gradients(gradients)
        weighting.observe_losses_after_step(losses * torch.tensor([0.9, 0.8, 1.1]))
        for parameter, loss in zip(weighting.parameters(), losses, strict=False):
            parameter.data -= 0.1 * loss
        return coefficients

    for step in range(60):
        losses, gradients = torch.rand(3, generator=generator), torch.randn(3, 5, generator=generator)
        if step == 31:
            resumed.load_state_dict(undisturbed.state_dict())
        before = live(undisturbed, losses, gradients)
        if step >= 31:
            assert torch.equal(live(resumed, losses, gradients), before)
        if step % 10 == 9:
            undisturbed.end_epoch()
            if step > 31:
                resumed.end_epoch()


@pytest.mark.parametrize("name", WEIGHTINGS)
@pytest.mark.parametrize("losses", [(0.0, 1.0), (1e6, 1e-6), (0.0, 0.0)])
def test_no_loss_makes_coefficients_that_are_not_finite(name: str, losses: tuple[float, float]) -> None:
    weighting = bound(WEIGHTINGS[name]())
    for _ in range(6):
        assert torch.isfinite(epoch(weighting, losses)).all()


def test_impossible_hyperparameters_are_refused() -> None:
    for build_wrong in (
        lambda: DynamicWeightAverage(0.0),
        lambda: TaskDifficultyWeighting(-1.0),
        lambda: RelativeDifficultyWeighting(1.0),
        lambda: SmoothTchebycheffWeighting(0.0),
        lambda: AutoLambda(0.0),
        lambda: AutoLambda(learning_rate=-1.0),
        lambda: FastAdaptiveWeighting(learning_rate=-1.0),
        lambda: FastAdaptiveWeighting(weight_decay=-1.0),
    ):
        with pytest.raises(UsageError, match="choose"):
            build_wrong()


def test_an_unknown_name_lists_the_names_and_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean uncertainty"):
        look_up("loss weighting", WEIGHTINGS, "uncertanty")
    assert isinstance(look_up("loss weighting", WEIGHTINGS, "dynamic", ALIASES)(), DynamicWeightAverage)
    assert isinstance(look_up("loss weighting", WEIGHTINGS, "autol", ALIASES)(), AutoLambda)
