"""Batches that lack a task: the others have the weights they would have had, and nothing is learned of it."""

from __future__ import annotations

import math

import pytest
import torch
from test_balancing_balancer import TASKS, balancer, batch, shared_gradient, small_network, true_gradients
from torch import Tensor

from mayhem_train.balancing.balancer import BalancedLoss, Balancer, GradientRecord
from mayhem_train.balancing.names import GRADIENT_METHODS, WEIGHTINGS
from mayhem_train.balancing.shared_features import SharedFeatures
from mayhem_train.balancing.weightings.auto_lambda import AutoLambda
from mayhem_train.balancing.weightings.dynamic import DynamicWeightAverage
from mayhem_train.balancing.weightings.epoch_means import EpochMeans
from mayhem_train.balancing.weightings.famo import FastAdaptiveWeighting
from mayhem_train.balancing.weightings.relative_difficulty import RelativeDifficultyWeighting
from mayhem_train.balancing.weightings.smooth_tchebycheff import SmoothTchebycheffWeighting
from mayhem_train.balancing.weightings.uncertainty import UncertaintyWeighting
from mayhem_train.balancing.weightings.weighting import LossWeighting

LOSSES = torch.tensor([2.0, 0.25, 4.0])


def weigh(chosen: Balancer, losses: Tensor, *without: str) -> dict[str, float]:
    """The coefficients of one batch."""
    found = chosen({task: loss for task, loss in zip(TASKS, losses, strict=True) if task not in without})
    return {task: float(coefficient.detach()) for task, coefficient in found.coefficients.items()}


def step_without(chosen: Balancer, *without: str, seed: int = 0) -> tuple[Tensor, BalancedLoss, GradientRecord]:
    """The shared gradient of one balanced step whose batch lacks some tasks."""
    network, (images, truth) = small_network(3), batch(seed)
    features = SharedFeatures(network.features(images), TASKS)
    losses = {task: network.loss(k, features.of(task), truth) for k, task in enumerate(TASKS) if task not in without}
    balanced = chosen(losses)
    record = chosen.backward(balanced, features, network.shared, torch.tensor(1.0))
    return shared_gradient(network), balanced, record


@pytest.mark.parametrize("name", [name for name in WEIGHTINGS if name != "rlw"])
def test_the_others_have_the_coefficients_they_would_have_had_beside_its_last_loss(name: str) -> None:
    whole, lacking = balancer(3, name), balancer(3, name)
    for chosen in (whole, lacking):
        weigh(chosen, LOSSES)
    expected = weigh(whole, torch.tensor([1.0, 0.25, 8.0]))
    found = weigh(lacking, torch.tensor([1.0, torch.nan, 8.0]), "segmentation")
    del expected["segmentation"]
    assert found == expected


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_task_that_no_batch_had_yet_hurts_nobody(name: str) -> None:
    chosen = balancer(3, name)
    for _ in range(6):
        found = weigh(chosen, LOSSES, "segmentation")
        assert set(found) == {"detection", "depth"}
        assert all(0 < coefficient < math.inf for coefficient in found.values())
        if chosen.weighting.needs_losses_after_step:
            chosen.observe_losses_after_step({"detection": LOSSES[0] / 2, "depth": LOSSES[2] / 2})
        chosen.end_epoch()
    assert all(math.isfinite(coefficient) for coefficient in weigh(chosen, LOSSES).values())


def test_the_total_is_of_the_tasks_that_are_there() -> None:
    chosen = balancer(3, "constant")
    losses = {"detection": torch.tensor(2.0), "depth": torch.tensor(4.0)}
    assert chosen(losses).total == 0.5 * 2 + 4
    assert set(chosen(losses).losses) == {"detection", "depth"}


def test_an_epochs_means_count_the_batches_that_had_the_task() -> None:
    means = EpochMeans(3)
    means.add(torch.tensor([1.0, 5.0, 2.0]))
    means.add(torch.tensor([3.0, 9.0, 0.0]), torch.tensor([True, False, True]))
    assert means.take()[:2].tolist() == [2, 5]
    means.add(torch.tensor([3.0, 9.0, 0.0]), torch.tensor([True, False, True]))
    mean = means.take()
    assert mean[0] == 3 and mean[1].isnan() and mean[2] == 0, "a loss of zero is a loss, one that is not there is none"


@pytest.mark.parametrize("kind", [DynamicWeightAverage, RelativeDifficultyWeighting, SmoothTchebycheffWeighting])
def test_batches_without_a_task_leave_what_epochs_tell_as_it_is(kind: type[LossWeighting]) -> None:
    whole, lacking = Balancer(kind()), Balancer(kind())
    for chosen in (whole, lacking):
        chosen.bind(TASKS)
    for epoch in range(6):
        losses = LOSSES / (1 + epoch * torch.tensor([1.0, 0.5, 0.2]))
        found = [weigh(chosen, losses) for chosen in (whole, lacking)]
        assert found[0] == pytest.approx(found[1])
        weigh(lacking, losses, "segmentation")
        for chosen in (whole, lacking):
            chosen.end_epoch()
    assert (
        len(
            {round(coefficient * loss, 3) for coefficient, loss in zip(found[0].values(), losses.tolist(), strict=True)}
        )
        > 1
    )


def test_dwa_keeps_the_rate_of_a_task_that_an_epoch_lacks() -> None:
    chosen = Balancer(DynamicWeightAverage(temperature=1.0))
    chosen.bind(TASKS)
    for factor in (1.0, 0.5):
        weigh(chosen, factor * LOSSES)
        chosen.end_epoch()
    weigh(chosen, 0.4 * LOSSES, "depth")
    chosen.end_epoch()
    expected = 3 * torch.softmax(torch.tensor([0.8, 0.8, 0.5]), 0)
    assert list(weigh(chosen, LOSSES).values()) == pytest.approx(expected.tolist())
    chosen.end_epoch()
    assert chosen.weighting.rates.tolist() == pytest.approx([2.5, 2.5, 2.0]), "and is measured by its own last epoch"


def test_stch_takes_a_missing_nadir_from_the_first_epoch_that_has_the_task() -> None:
    chosen = Balancer(SmoothTchebycheffWeighting(warmup_epochs=1))
    chosen.bind(TASKS)
    weigh(chosen, LOSSES, "depth")
    chosen.end_epoch()
    weigh(chosen, LOSSES, "depth")
    chosen.end_epoch()
    weigh(chosen, LOSSES)
    chosen.end_epoch()
    weigh(chosen, 2 * LOSSES)
    chosen.end_epoch()
    assert torch.equal(chosen.weighting.nadir, LOSSES)


@pytest.mark.parametrize("optimiser", [torch.optim.Adam, torch.optim.SGD])
def test_log_variances_of_missing_tasks_do_not_drift(optimiser: type[torch.optim.Optimizer]) -> None:
    """Neither by their own term nor by what the optimiser remembers."""
    weighting = UncertaintyWeighting()
    chosen = Balancer(weighting)
    chosen.bind(TASKS)
    momentum = {"momentum": 0.9} if optimiser is torch.optim.SGD else {}
    learner = optimiser(chosen.parameters(), lr=0.1, **momentum)

    def learn(*without: str) -> list[float]:
        learner.zero_grad()
        losses = {task: loss for task, loss in zip(TASKS, LOSSES, strict=True) if task not in without}
        chosen(losses).total.backward()
        learner.step()
        return [float(log_variance.detach()) for log_variance in weighting.log_variances]

    before = learn()
    assert all(before)
    after = [learn("segmentation") for _ in range(5)][-1]
    assert after[1] == before[1]
    assert after[0] != before[0] and after[2] != before[2]


def test_famos_logits_of_missing_tasks_do_not_drift() -> None:
    """By no improvement, no momentum and no decay."""
    weighting = FastAdaptiveWeighting(weight_decay=0.1)
    chosen = Balancer(weighting)
    chosen.bind(TASKS)

    def learn(*without: str) -> Tensor:
        weigh(chosen, LOSSES, *without)
        after = LOSSES * torch.tensor([0.5, 0.7, 0.9])
        chosen.observe_losses_after_step(
            {task: loss for task, loss in zip(TASKS, after, strict=True) if task not in without}
        )
        return weighting.logits.value.clone()

    before = learn()
    after = [learn("segmentation") for _ in range(5)][-1]
    assert after[1] == before[1] != 0
    assert after[0] < before[0] < 0 < before[2] < after[2]
    assert weighting.logits.steps.tolist() == [6, 1, 6]


def test_auto_lambda_moves_only_what_had_a_part_in_the_update_and_is_judged() -> None:
    weighting = AutoLambda(learning_rate=0.01, primary={"detection": 1.0})
    weighting.bind(TASKS)
    everything = torch.ones(3, 4)

    def observe(*without: int) -> Tensor:
        gradients = everything.clone()
        gradients[list(without)] = 0
        before = weighting.lambdas.value.clone()
        weighting.observe_gradients(gradients)
        return weighting.lambdas.value != before

    observe()
    assert observe(1).tolist() == [True, True, True]  # the update before had all tasks
    assert observe().tolist() == [True, False, True]  # that one had no segmentation
    assert not observe(0).any()  # no task that counts judges
    assert observe().tolist() == [False, True, True]


@pytest.mark.parametrize("weighting", ["equal", "uncertainty", "dwa", "famo"])
@pytest.mark.parametrize("gradient", ["pcgrad", "mgda", "upgrad", "dualproj", "imtl-g", "nash-mtl", "aligned-mtl"])
def test_gradient_methods_balance_the_tasks_that_are_there(weighting: str, gradient: str) -> None:
    chosen = balancer(3, weighting, gradient)
    found, balanced, record = step_without(chosen, "segmentation")
    assert not record.degenerate and not chosen.fallbacks
    gradients = true_gradients(small_network(3), 3, *batch())
    factors = torch.stack([balanced.coefficients["detection"], balanced.coefficients["depth"]])
    expected = GRADIENT_METHODS[gradient]().combine(factors[:, None] * gradients[[0, 2]]).vector
    torch.testing.assert_close(found / found.norm(), expected / expected.norm(), rtol=1e-3, atol=1e-5)
    assert record.present == (0, 2)
    assert record.pairs == [(0, 2)]
    assert record.weights[1] == record.norms[1] == 0


def test_a_lone_task_pushes_no_harder_than_it_did_beside_the_other() -> None:
    """MGDA's short steps stay short: the weight is that beside the other's last length."""
    chosen = balancer(3, "equal", "mgda")
    _, _, beside = step_without(chosen)
    found, _, record = step_without(chosen, "segmentation", "depth")
    norms = beside.norms**-2
    torch.testing.assert_close(record.weights[0], norms[0] / norms.sum())
    assert found.norm() < beside.norms[0]
    assert record.pairs == [] and record.conflict.isnan()


@pytest.mark.parametrize("gradient", GRADIENT_METHODS)
@pytest.mark.parametrize("weighting", ["equal", "uncertainty", "auto-lambda"])
def test_a_task_that_is_missing_now_and_then_leaves_a_run_that_resumes_to_the_bit(
    weighting: str, gradient: str
) -> None:
    undisturbed, resumed = balancer(3, weighting, gradient), balancer(3, weighting, gradient)
    step_without(undisturbed)
    step_without(undisturbed, "depth", seed=1)
    resumed.load_state_dict(undisturbed.state_dict())
    for seed, without in ((2, ("detection",)), (3, ()), (4, ("detection", "depth"))):
        found, expected = (step_without(chosen, *without, seed=seed)[0] for chosen in (resumed, undisturbed))
        assert torch.equal(found, expected) and torch.isfinite(found).all()


def test_heads_of_missing_tasks_get_no_gradient() -> None:
    network, (images, truth) = small_network(2), batch()
    chosen = balancer(2, "equal", "pcgrad")
    features = SharedFeatures(network.features(images), chosen.tasks)
    losses = {"detection": network.loss(0, features.of("detection"), truth)}
    chosen.backward(chosen(losses), features, network.shared, torch.tensor(1.0))
    assert network.heads[1].weight.grad is None
    assert network.heads[0].weight.grad.any() and shared_gradient(network).any()
