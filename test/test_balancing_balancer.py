"""The balancer: any weighting with any gradient method, on the shared parameters' true gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.balancer import BalancedLoss, Balancer, GradientRecord
from mayhem_train.balancing.gradients.method import GramMethod
from mayhem_train.balancing.gradients.torchjd import adapt
from mayhem_train.balancing.names import GRADIENT_METHODS, WEIGHTINGS
from mayhem_train.balancing.shared_features import SharedFeatures, add_gradient
from mayhem_train.balancing.weightings.auto_lambda import AutoLambda


class Levels(NamedTuple):
    """Two levels of which the second is computed from the first, as a backbone's are."""

    low: Tensor
    high: Tensor


class SmallNetwork(nn.Module):
    """A body of two convolutions; heads that look at one level, the other, or both."""

    def __init__(self, tasks: int):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 8, 3, stride=2)
        self.unused = nn.Linear(2, 2)
        self.heads = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in (8, 6, 8)[:tasks])
        self.to(memory_format=torch.channels_last)

    @property
    def shared(self) -> list[nn.Parameter]:
        return [*self.first.parameters(), *self.second.parameters(), *self.unused.parameters()]

    def features(self, images: Tensor) -> Levels:
        low = self.first(images).relu()
        return Levels(low, self.second(low).relu())

    def loss(self, task: int, levels: Levels, truth: Tensor) -> Tensor:
        level = levels.low if task == 1 else levels.high
        extra = levels.low.mean() if task == 2 else 0.0
        return (self.heads[task](level).mean((1, 2, 3)) + extra - truth[task]).square().mean()


TASKS = ("detection", "segmentation", "depth")


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 3, 9, 9, generator=generator), torch.randn(3, 4, generator=generator)


def small_network(tasks: int, seed: int = 0) -> SmallNetwork:
    torch.manual_seed(seed)
    return SmallNetwork(tasks)


def balancer(tasks: int, weighting: str = "equal", gradient: str = "none") -> Balancer:
    constants = {"detection": 0.5, "segmentation": 3.0} if weighting == "constant" else None
    found = Balancer(weighting, gradient, constants)
    found.bind(TASKS[:tasks])
    return found


def step(
    network: SmallNetwork, balancer: Balancer, images: Tensor, truth: Tensor, scale: float = 1.0
) -> tuple[BalancedLoss, GradientRecord]:
    """Forward and balanced backward."""
    features = SharedFeatures(network.features(images), balancer.tasks)
    losses = {task: network.loss(k, features.of(task), truth) for k, task in enumerate(balancer.tasks)}
    balanced = balancer(losses)
    return balanced, balancer.backward(balanced, features, network.shared, torch.tensor(scale))


def true_gradients(network: SmallNetwork, tasks: int, images: Tensor, truth: Tensor) -> Tensor:
    """Each task's gradient of the shared parameters by a whole pass of its own, float [K, P] in plain order."""
    rows = []
    for task in range(tasks):
        network.zero_grad()
        network.loss(task, network.features(images), truth).backward()
        rows.append(shared_gradient(network))
    network.zero_grad()
    return torch.stack(rows)


def shared_gradient(network: SmallNetwork) -> Tensor:
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in network.shared])


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("gradient", ["none", "pcgrad", "imtl-g", "cagrad"])
@pytest.mark.parametrize("tasks", [2, 3])
def test_a_composed_pair_is_the_method_on_the_scaled_gradients(weighting: str, gradient: str, tasks: int) -> None:
    network, images_and_truth = small_network(tasks), batch()
    truth = true_gradients(network, tasks, *images_and_truth)
    composed = balancer(tasks, weighting, gradient)
    balanced, record = step(network, composed, *images_and_truth)
    coefficients = torch.stack(list(balanced.coefficients.values()))
    scaled = coefficients[:, None] * truth
    expected = balancer(tasks, "equal", gradient).method.combine(scaled)
    torch.testing.assert_close(shared_gradient(network), expected.vector, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(record.norms, scaled.norm(dim=1), rtol=1e-4, atol=1e-6)
    for coefficient, head, task in zip(coefficients, network.heads, range(tasks), strict=False):
        alone = small_network(tasks)
        alone.loss(task, alone.features(images_and_truth[0]), images_and_truth[1]).backward()
        torch.testing.assert_close(head.weight.grad, coefficient * alone.heads[task].weight.grad)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_without_a_gradient_method_it_is_the_weighted_sums_gradient(weighting: str) -> None:
    network, (images, truth) = small_network(3), batch()
    plain = small_network(3)
    features = plain.features(images)
    weighed = balancer(3, weighting)({task: plain.loss(k, features, truth) for k, task in enumerate(TASKS)})
    weighed.total.backward()
    step(network, balancer(3, weighting), images, truth)
    torch.testing.assert_close(shared_gradient(network), shared_gradient(plain), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gradient", [name for name, m in GRADIENT_METHODS.items() if isinstance(m(), GramMethod)])
@pytest.mark.parametrize("tasks", [2, 3])
def test_measured_on_deep_levels_all_parameters_get_the_weights_of_the_deep_ones(gradient: str, tasks: int) -> None:
    network, (images, truth) = small_network(tasks), batch()
    early, deep = [*network.first.parameters()], [*network.second.parameters()]
    chosen = Balancer("equal", gradient, measured_on="deep", measure_gradients=True)
    chosen.bind(TASKS[:tasks])

    def losses(levels: Callable[[str], Levels]) -> dict[str, Tensor]:
        return {
            task: network.loss(k, levels(task), truth) + (levels(task).high - k).square().mean()
            for k, task in enumerate(chosen.tasks)
        }

    whole = network.features(images)
    rows = [torch.autograd.grad(loss, [*early, *deep], retain_graph=True) for loss in losses(lambda _: whole).values()]
    gradients = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    of_deep = gradients[:, sum(parameter.numel() for parameter in early) :]
    expected = balancer(tasks, "equal", gradient).method.combine(of_deep)
    assert not expected.degenerate

    features = SharedFeatures(network.features(images), chosen.tasks)
    record = chosen.backward(chosen(losses(features.of)), features, deep, torch.tensor(2.0))
    torch.testing.assert_close(record.weights, expected.weights, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(record.norms, of_deep.norm(dim=1), rtol=1e-4, atol=1e-6)
    found = torch.cat([parameter.grad.flatten() for parameter in (*early, *deep)])
    torch.testing.assert_close(found, 2 * (expected.weights @ gradients), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("gradient", ["graddrop", "graddrop-shared", "db-mtl"])
def test_what_decides_on_every_parameter_cannot_be_measured_on_deep_levels(gradient: str) -> None:
    with pytest.raises(UsageError, match=f"{gradient} decides on every parameter by itself"):
        Balancer("equal", gradient, measured_on="deep")


@pytest.mark.parametrize("gradient", GRADIENT_METHODS)
@pytest.mark.parametrize("weighting", ["equal", "uncertainty", "auto-lambda"])
def test_a_scaled_loss_gives_scaled_gradients_and_steps_add_up(weighting: str, gradient: str) -> None:
    """As mixed precision and accumulation need it: twice with a half is once, were the batches the same."""
    once, twice = small_network(2), small_network(2)
    _, whole = step(once, balancer(2, weighting, gradient), *batch(), scale=8.0)
    for _ in range(2):
        _, half = step(twice, balancer(2, weighting, gradient), *batch(), scale=4.0)
        torch.testing.assert_close(half.norms, whole.norms, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shared_gradient(twice), shared_gradient(once), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(twice.heads[0].weight.grad, once.heads[0].weight.grad)


def test_a_task_that_looks_at_the_first_level_only_cannot_be_compared_on_the_deep_ones() -> None:
    network, chosen = small_network(2), Balancer("equal", "pcgrad", measured_on="deep")
    chosen.bind(TASKS[:2])
    with pytest.raises(UsageError, match="segmentation looks at no more than the first feature level"):
        step(network, chosen, *batch())


@pytest.mark.parametrize("gradient", ["pcgrad", "graddrop", "graddrop-shared"])
def test_a_frozen_first_stage_is_left_alone(gradient: str) -> None:
    network = small_network(3)
    network.first.requires_grad_(False)
    images, truth = batch()
    chosen = balancer(3, "equal", gradient)
    features = SharedFeatures(network.features(images), chosen.tasks)
    losses = {task: network.loss(k, features.of(task), truth) for k, task in enumerate(chosen.tasks)}
    chosen.backward(chosen(losses), features, [*network.second.parameters()], torch.tensor(1.0))
    assert network.first.weight.grad is None
    assert network.second.weight.grad.any()


def test_dual_balancing_is_of_logarithms_in_the_heads_too_and_knows_no_coefficients() -> None:
    network, weighed, (images, truth) = small_network(2), small_network(2), batch()
    balanced, _ = step(network, balancer(2, "equal", "db-mtl"), images, truth)
    step(weighed, balancer(2, "constant", "db-mtl"), images, truth)
    torch.testing.assert_close(shared_gradient(weighed), shared_gradient(network))
    for number, (head, task) in enumerate(zip(network.heads, balanced.losses, strict=False)):
        alone = small_network(2)
        alone.loss(number, alone.features(images), truth).log().backward()
        torch.testing.assert_close(head.weight.grad, alone.heads[number].weight.grad)
        assert balanced.losses[task] != 1


def test_graddrop_on_features_lets_a_part_of_them_through() -> None:
    network, plain = small_network(3), small_network(3)
    _, record = step(network, balancer(3, "equal", "graddrop"), *batch())
    step(plain, balancer(3), *batch())
    assert ((record.weights > 0) & (record.weights < 1)).all()
    assert not torch.allclose(shared_gradient(network), shared_gradient(plain))
    torch.testing.assert_close(network.heads[0].weight.grad, plain.heads[0].weight.grad)


def test_uncertainty_gets_its_own_gradient_whatever_the_method() -> None:
    for gradient in ("none", "pcgrad", "graddrop"):
        chosen = balancer(2, "uncertainty", gradient)
        balanced, _ = step(small_network(2), chosen, *batch(), scale=2.0)
        losses = torch.stack(list(balanced.losses.values())).detach()
        found = torch.stack([log_variance.grad for log_variance in chosen.weighting.log_variances])
        torch.testing.assert_close(found, 2 * (0.5 - losses))


@pytest.mark.parametrize("scale", [1.0, 1024.0])
@pytest.mark.parametrize("gradient", ["none", "pcgrad", "graddrop", "graddrop-shared", "db-mtl"])
@pytest.mark.parametrize("tasks", [2, 3])
def test_auto_lambda_observes_the_gradients_of_the_losses_without_their_coefficients(
    gradient: str, scale: float, tasks: int
) -> None:
    """Whatever they were multiplied with for the backward pass; constants belong to the losses that it sees."""
    network, (images, truth) = small_network(tasks), batch()
    expected = true_gradients(network, tasks, images, truth)
    expected[1] *= 3
    weighting = AutoLambda()
    chosen = Balancer(weighting, gradient, {"segmentation": 3.0})
    chosen.bind(TASKS[:tasks])
    weighting.lambdas.value.copy_(torch.tensor([0.1, 0.4, 0.02])[:tasks])
    step(network, chosen, images, truth, scale)
    rows = weighting.get_extra_state()
    assert rows is not None
    observed = []
    for row in rows:
        network.zero_grad()
        add_gradient(row, network.shared)
        observed.append(shared_gradient(network))
    torch.testing.assert_close(torch.stack(observed), expected, rtol=1e-4, atol=1e-6)


def test_constants_scale_what_every_weighting_sees() -> None:
    losses = {"detection": torch.tensor(2.0), "segmentation": torch.tensor(8.0)}
    chosen = Balancer("geometric", constants={"segmentation": 0.5})
    chosen.bind(tuple(losses))
    found = chosen(losses).coefficients
    torch.testing.assert_close(found["detection"], torch.tensor(8.0**0.5 / (2 * 2)))
    torch.testing.assert_close(found["segmentation"], torch.tensor(0.5 * 8.0**0.5 / (2 * 4)))
    constant = Balancer("constant", constants={"detection": 0.25})
    constant.bind(tuple(losses))
    assert constant(losses).total.item() == 0.25 * 2 + 8
    with pytest.raises(UsageError, match="no task 'lanes' to weigh: this network's are detection, segmentation"):
        Balancer("equal", constants={"lanes": 1.0}).bind(tuple(losses))
    with pytest.raises(UsageError, match="no constants: name them"):
        Balancer("constant")
    for constant in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=f"constant of detection is {constant}, which cannot be minimised"):
            Balancer("constant", constants={"detection": constant})


def test_steps_without_an_answer_are_counted_and_move_nothing() -> None:
    """One task is the other's opposite."""
    network, (images, truth) = small_network(2), batch()
    chosen = balancer(2, "equal", "nash-mtl")
    features = SharedFeatures(network.features(images), chosen.tasks)
    losses = {"detection": features.of("detection").high.sum(), "segmentation": -features.of("segmentation").high.sum()}
    record = chosen.backward(chosen(losses), features, network.shared, torch.tensor(1.0))
    assert record.degenerate
    assert chosen.fallbacks == 1
    assert not shared_gradient(network).any()
    step(small_network(2), chosen, images, truth)
    assert chosen.fallbacks == 1


def test_the_record_tells_norms_cosines_and_conflict() -> None:
    network, images_and_truth = small_network(3), batch()
    truth = true_gradients(network, 3, *images_and_truth)
    _, record = step(network, balancer(3, "equal", "pcgrad"), *images_and_truth)
    cosines = nn.functional.cosine_similarity(truth[:, None], truth[None], dim=2)
    torch.testing.assert_close(record.cosines, cosines, rtol=1e-4, atol=1e-5)
    pairs = torch.stack([cosines[0, 1], cosines[0, 2], cosines[1, 2]])
    assert record.conflict == (pairs < 0).float().mean()


def test_gradients_are_taken_only_where_there_is_something_to_compare() -> None:
    for useless in (Balancer("equal", "pcgrad"), Balancer("auto-lambda"), Balancer(measure_gradients=True)):
        with pytest.raises(UsageError, match="this network learns detection alone"):
            useless.bind(["detection"])
    assert not balancer(1, "dwa").balances_gradients
    with pytest.raises(UsageError, match="for gradients that nothing measures here"):
        Balancer("equal", measured_on="deep").bind(TASKS[:2])
    measured = Balancer("equal", measured_on="deep", measure_gradients=True)
    measured.bind(TASKS[:2])
    assert measured.balances_gradients
    assert balancer(2, "equal", "pcgrad").balances_gradients
    assert balancer(2, "auto-lambda").balances_gradients
    assert not balancer(2, "dwa").balances_gradients


def test_a_name_says_both_and_a_class_comes_in_by_itself() -> None:
    assert Balancer("dynamic", "cagrad").name == "dwa x cagrad"
    assert Balancer("autol").name == "auto-lambda"
    assert Balancer("autol", measured_on="deep").name == "auto-lambda, measured on deep levels"
    assert Balancer("equal", measured_on="deep").name == "equal"
    assert Balancer("equal", "pcgrad", measured_on="deep").name == "equal x pcgrad, measured on deep levels"
    assert Balancer("equal", GRADIENT_METHODS["pcgrad"]()).name == "equal x PCGrad"
    assert isinstance(adapt(GRADIENT_METHODS["mgda"]()), type(Balancer("equal", "mgda").method))
    with pytest.raises(UsageError, match="'fair': did you mean"):
        Balancer("fair")


@pytest.mark.parametrize("gradient", GRADIENT_METHODS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_pair_learns_and_resumes_to_the_bit(weighting: str, gradient: str) -> None:
    network, chosen = small_network(2), balancer(2, weighting, gradient)
    optimiser = torch.optim.SGD([*network.parameters(), *chosen.parameters()], lr=1e-3)

    def learn(network: SmallNetwork, chosen: Balancer, optimiser: torch.optim.Optimizer, seed: int) -> None:
        optimiser.zero_grad()
        images, truth = batch(seed)
        step(network, chosen, images, truth)
        optimiser.step()
        if chosen.weighting.needs_losses_after_step:
            with torch.no_grad():
                features = network.features(images)
                chosen.observe_losses_after_step({t: network.loss(k, features, truth) for k, t in enumerate(TASKS[:2])})
        if seed % 2:
            chosen.end_epoch()

    before = network.first.weight.clone()
    for seed in range(4):
        learn(network, chosen, optimiser, seed)
    assert not torch.equal(network.first.weight, before)
    assert all(torch.isfinite(p).all() for p in network.parameters())
    resumed_network, resumed = small_network(2, seed=5), balancer(2, weighting, gradient)
    resumed_network.load_state_dict(network.state_dict())
    resumed.load_state_dict(chosen.state_dict())
    resumed_optimiser = torch.optim.SGD([*resumed_network.parameters(), *resumed.parameters()], lr=1e-3)
    for seed in range(4, 7):
        learn(network, chosen, optimiser, seed)
        learn(resumed_network, resumed, resumed_optimiser, seed)
    for ours, theirs in zip(network.parameters(), resumed_network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
