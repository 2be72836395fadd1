"""Gradient methods: each against torchjd or against its defining equation, and the laws that its paper promises."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchjd.aggregation as torchjd
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchjd.linalg import QuadprogProjector

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.gradients.aligned_mtl import AlignedMTL
from mayhem_train.balancing.gradients.cagrad import CAGrad
from mayhem_train.balancing.gradients.db_mtl import DualBalancing
from mayhem_train.balancing.gradients.dual_cone import DualProj, UPGrad
from mayhem_train.balancing.gradients.fair import FairGrad, NashMTL
from mayhem_train.balancing.gradients.graddrop import FeatureGradDrop, GradDrop
from mayhem_train.balancing.gradients.imtl_g import IMTLG
from mayhem_train.balancing.gradients.method import GradientMethod, GramMethod
from mayhem_train.balancing.gradients.mgda import MGDA, shortest_weights
from mayhem_train.balancing.gradients.pcgrad import PCGrad
from mayhem_train.balancing.gradients.plain_sum import PlainSum
from mayhem_train.balancing.gradients.torchjd import adapt
from mayhem_train.balancing.names import GRADIENT_METHODS
from mayhem_train.naming import look_up

EXACT = QuadprogProjector(norm_eps=0.0, reg_eps=1e-12)  # its defaults trade exactness for conditioning
ORACLES: dict[str, tuple[GramMethod, Callable[[Tensor], Tensor], float]] = {
    "none": (PlainSum(), torchjd.SumWeighting(), 0.0),
    "mgda": (MGDA(), torchjd.MGDAWeighting(epsilon=1e-12, max_iters=1000), 0.15),  # Frank-Wolfe comes near slowly
    "upgrad": (UPGrad(), torchjd.UPGradWeighting(projector=EXACT), 1e-6),
    "dualproj": (DualProj(), torchjd.DualProjWeighting(projector=EXACT), 1e-6),
    "imtl-g": (IMTLG(), torchjd.IMTLGWeighting(), 1e-6),
    "cagrad": (CAGrad(0.5), torchjd.CAGradWeighting(0.5, norm_eps=0.0), 1e-3),  # a conic solver's accuracy
    "aligned-mtl": (AlignedMTL(), torchjd.AlignedMTLWeighting(), 1e-8),
    "fairgrad": (FairGrad(2.0), torchjd.FairGradWeighting(2.0), 1e-3),  # a least-squares solver's
    "nash-mtl": (NashMTL(), torchjd.FairGradWeighting(1.0), 1e-3),  # which it is for alpha 1
}
GRAM_METHODS: dict[str, Callable[[], GramMethod]] = {
    "pcgrad": PCGrad,
    "cagrad": CAGrad,
    "mgda": MGDA,
    "nash-mtl": NashMTL,
    "imtl-g": IMTLG,
    "aligned-mtl": AlignedMTL,
    "upgrad": UPGrad,
    "dualproj": DualProj,
    "fairgrad": FairGrad,
}


def some_gradients(tasks: int, seed: int, spread: float = 1.0, conflict: float = 0.0) -> Tensor:
    """float64 [K, 20] of norms from 10^-spread/2 to 10^spread/2, the first two turned against each other."""
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.randn(tasks, 20, generator=generator, dtype=torch.float64)
    gradients[1] -= conflict * gradients[0]
    return gradients * torch.logspace(-spread / 2, spread / 2, tasks, dtype=torch.float64)[:, None]


gradients_of_two = st.builds(some_gradients, st.just(2), st.integers(0, 10_000), st.floats(-2, 2), st.floats(-3, 3))
gradients_of_several = st.builds(
    some_gradients, st.integers(2, 5), st.integers(0, 10_000), st.floats(-2, 2), st.floats(-3, 3)
)


def direction(method: GradientMethod, gradients: Tensor) -> Tensor:
    return method.combine(gradients).vector


@pytest.mark.parametrize("tasks", [2, 3, 5])
@pytest.mark.parametrize("name", ORACLES)
def test_it_says_what_torchjd_says(name: str, tasks: int) -> None:
    ours, theirs, tolerance = ORACLES[name]
    for seed in range(8):
        gradients = some_gradients(tasks, seed, spread=1.0, conflict=seed % 4)
        expected = theirs(gradients @ gradients.T) @ gradients
        found = direction(ours, gradients)
        assert (found - expected).norm() <= tolerance * expected.norm()


@pytest.mark.filterwarnings("ignore:You are solving a parameterized problem:UserWarning")
@pytest.mark.parametrize("conflict", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("tasks", [2, 3, 5])
def test_nash_mtl_is_torchjds_bargain_where_that_one_converges(tasks: int, conflict: float) -> None:
    """Its conic programs now and then stop where the paper's equation does not hold."""
    converged = 0
    for seed in range(8):
        gradients = some_gradients(tasks, seed, spread=0.0, conflict=conflict)
        gram = gradients @ gradients.T
        theirs = torchjd.NashMTL(tasks, max_norm=0.0).weighting(gradients)  # 0 leaves the norm alone
        if ((gram @ theirs) * theirs - 1).abs().max() < 1e-3:
            converged += 1
            torch.testing.assert_close(NashMTL().weights(gram), theirs, rtol=1e-4, atol=0)
    assert converged >= 5


def test_pcgrad_of_two_is_torchjds_and_of_more_one_of_the_possible_orders() -> None:
    for seed in range(8):
        gradients = some_gradients(2, seed, conflict=1.0)
        expected = torchjd.PCGradWeighting()(gradients @ gradients.T) @ gradients
        torch.testing.assert_close(direction(PCGrad(), gradients), expected)
    gradients = some_gradients(3, 3, conflict=3.0)
    gradients[2] -= 2 * gradients[0]
    possible = [surgery(gradients, orders) for orders in itertools.product(itertools.permutations(range(3)), repeat=3)]
    method = PCGrad()
    found = torch.stack([direction(method, gradients) for _ in range(30)])
    distances = (found[:, None] - torch.stack(possible)).norm(dim=2)
    assert (distances.min(1).values < 1e-9).all()
    assert len(set(distances.argmin(1).tolist())) > 1


def surgery(gradients: Tensor, orders: tuple[tuple[int, ...], ...]) -> Tensor:
    """Algorithm 1 of the paper on the gradients themselves."""
    total = torch.zeros_like(gradients[0])
    for i, order in enumerate(orders):
        own = gradients[i].clone()
        for j in order:
            if j != i and own @ gradients[j] < 0:
                own -= (own @ gradients[j]) / (gradients[j] @ gradients[j]) * gradients[j]
        total += own
    return total


@pytest.mark.parametrize("name", GRAM_METHODS)
@settings(deadline=None, max_examples=30)
@given(gradients=gradients_of_two)
def test_closed_forms_for_two_are_the_general_ones(name: str, gradients: Tensor) -> None:
    """A third gradient at right angles to both leaves what the first two decide, up to how a method counts to three."""
    method = GRAM_METHODS[name]()
    of_two = direction(method, gradients)
    if name == "pcgrad":
        expected = surgery(gradients, ((1,), (0,)))
    elif name in ("upgrad", "dualproj", "nash-mtl", "fairgrad"):
        apart = torch.block_diag(gradients @ gradients.T, torch.eye(1, dtype=torch.float64))
        expected = method.weights(apart)[:2] @ gradients
        expected = expected * (1.5 if name in ("upgrad", "dualproj") else 1.0)
    else:
        expected = of_two_by_definition(name, gradients)
    torch.testing.assert_close(of_two, expected, rtol=1e-4, atol=1e-5 * float(expected.norm()))


def of_two_by_definition(name: str, gradients: Tensor) -> Tensor:
    """The method's definition, searched over a fine grid or solved by other means than the closed form."""
    shares = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    weights = torch.stack([shares, 1 - shares], 1)
    gram = gradients @ gradients.T
    norms = (weights @ gram * weights).sum(1).clamp(min=0).sqrt()
    mean = gradients.mean(0)
    if name == "mgda":
        return torch.from_numpy(shortest_weights(gram.numpy())) @ gradients
    if name == "cagrad":
        values = weights @ (gradients @ mean) + 0.5 * mean.norm() * norms
        worst = weights[values.argmin()] @ gradients
        return mean + 0.5 * mean.norm() / worst.norm() * worst
    if name == "imtl-g":
        units = gradients / gradients.norm(dim=1, keepdim=True)
        difference = units[0] - units[1]
        share = (gradients[1] @ difference) / ((gradients[1] - gradients[0]) @ difference)
        return share * gradients[0] + (1 - share) * gradients[1]
    left, sizes, right = torch.linalg.svd(gradients, full_matrices=False)
    return sizes.min() * (left @ right).mean(0)  # aligned-mtl: all principal components as long as the least


@settings(deadline=None, max_examples=50)
@given(gradients=gradients_of_two)
def test_pcgrad_of_two_conflicts_with_neither(gradients: Tensor) -> None:
    products = gradients @ direction(PCGrad(), gradients)
    assert (products >= -1e-9 * gradients.norm() ** 2).all()


@pytest.mark.parametrize("name", ["mgda", "upgrad", "dualproj", "nash-mtl", "fairgrad"])
@settings(deadline=None, max_examples=30)
@given(gradients=gradients_of_several)
def test_no_task_is_worse_off(name: str, gradients: Tensor) -> None:
    found = direction(GRAM_METHODS[name](), gradients)
    assert (gradients @ found >= -1e-7 * gradients.norm(dim=1) * found.norm()).all()


@settings(deadline=None, max_examples=30)
@given(gradients=gradients_of_several, seed=st.integers(0, 1000))
def test_mgda_is_the_shortest_vector_of_the_hull(gradients: Tensor, seed: int) -> None:
    found = direction(MGDA(), gradients)
    generator = torch.Generator().manual_seed(seed)
    others = torch.rand(500, len(gradients), generator=generator, dtype=torch.float64)
    hull = torch.cat([others / others.sum(1, keepdim=True), torch.eye(len(gradients), dtype=torch.float64)]) @ gradients
    assert found.norm() <= hull.norm(dim=1).min() * (1 + 1e-9)


@pytest.mark.parametrize("name", ["nash-mtl", "imtl-g"])
@settings(deadline=None, max_examples=30)
@given(gradients=gradients_of_several, seed=st.integers(0, 1000))
def test_the_direction_does_not_depend_on_the_losses_scales(name: str, gradients: Tensor, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scales = torch.exp(torch.randn(len(gradients), 1, generator=generator, dtype=torch.float64))
    first, second = (direction(GRAM_METHODS[name](), g) for g in (gradients, scales * gradients))
    torch.testing.assert_close(first / first.norm(), second / second.norm(), rtol=1e-4, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(gradients=gradients_of_several)
def test_imtl_g_sees_every_unit_gradient_alike(gradients: Tensor) -> None:
    products = (gradients / gradients.norm(dim=1, keepdim=True)) @ direction(IMTLG(), gradients)
    torch.testing.assert_close(products, products.mean().expand_as(products), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 5.0])
@settings(deadline=None, max_examples=30)
@given(gradients=gradients_of_several)
def test_fairness_holds_as_its_equation_says(alpha: float, gradients: Tensor) -> None:
    gram = gradients @ gradients.T
    weights = FairGrad(alpha).weights(gram)
    assert (weights > 0).all()
    torch.testing.assert_close(gram @ weights, weights ** (-1 / alpha), rtol=1e-6, atol=0)


def test_cagrad_without_radius_is_the_mean() -> None:
    gradients = some_gradients(4, 0, conflict=2.0)
    torch.testing.assert_close(direction(CAGrad(0.0), gradients), gradients.mean(0))


@pytest.mark.parametrize("tasks", [2, 4])
def test_graddrop_is_torchjds_in_what_it_lets_through_on_average(tasks: int) -> None:
    """The mean over draws is P * positives + (1 - P) * negatives; where all signs agree nothing is dropped."""
    gradients = some_gradients(tasks, 1)
    positivity = (1 + gradients.sum(0) / gradients.abs().sum(0)) / 2
    expected = positivity * gradients.clamp(min=0).sum(0) + (1 - positivity) * gradients.clamp(max=0).sum(0)
    method, oracle = GradDrop(), torchjd.GradDrop()
    drawn = torch.stack([direction(method, gradients) for _ in range(3000)])
    theirs = torch.stack([oracle(gradients) for _ in range(3000)])
    error = drawn.std(0) / 3000**0.5
    assert ((drawn.mean(0) - expected).abs() <= 4.5 * error + 1e-9).all()
    assert ((drawn.mean(0) - theirs.mean(0)).abs() <= 6.5 * error + 1e-9).all()
    same_signs = gradients.abs()
    torch.testing.assert_close(direction(method, same_signs), same_signs.sum(0))


def test_feature_graddrop_draws_a_sign_for_each_feature_of_all_images() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 4, 2, 2, generator=generator)  # [N, C, h, w]
    gradients = torch.randn(2, 3, 4, 2, 2, generator=generator)
    kept = FeatureGradDrop().mask(gradients, features)
    summed = (gradients * features.sign()).sum(1)
    for task, place in itertools.product(range(2), np.ndindex(4, 2, 2)):
        of_task = kept[(task, slice(None), *place)]
        whole = gradients[(task, slice(None), *place)]
        assert torch.equal(of_task, whole) or not of_task.any()
        opposite = summed[(task, *place)] * summed[(1 - task, *place)] < 0
        other = kept[(1 - task, slice(None), *place)]
        assert opposite == (of_task.any() != other.any())  # of two signs one is dropped, of one sign none


def test_db_mtl_follows_its_algorithm() -> None:
    method = DualBalancing(beta=0.9, exponent=0.5)
    average = torch.zeros(2, 20, dtype=torch.float64)
    for step in range(1, 5):
        gradients = some_gradients(2, step)
        share = 0.9 / step**0.5
        average = share * average + (1 - share) * gradients
        norms = average.norm(dim=1)
        expected = (norms.max() / norms) @ average
        torch.testing.assert_close(method.combine(gradients).vector, expected)


def test_db_mtl_goes_on_from_its_state() -> None:
    undisturbed, resumed = DualBalancing(), DualBalancing()
    for step in range(3):
        undisturbed.combine(some_gradients(2, step))
    resumed.load_state_dict(undisturbed.state_dict())
    last = some_gradients(2, 9)
    assert torch.equal(resumed.combine(last).vector, undisturbed.combine(last).vector)


DEGENERATE = {
    "zero": torch.tensor([[0.0, 0.0], [1.0, 2.0]]),
    "all zero": torch.zeros(2, 2),
    "opposite": torch.tensor([[1.0, -2.0], [-2.0, 4.0]]),
    "not a number": torch.tensor([[1.0, torch.nan], [1.0, 2.0]]),
    "infinite": torch.tensor([[1.0, torch.inf], [1.0, 2.0]]),
    "one of three zero": torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]]),
}


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("name", [*GRAM_METHODS, "db-mtl"])
def test_degenerate_gradients_are_summed_and_counted(name: str, case: str) -> None:
    gradients = DEGENERATE[case]
    found = GRADIENT_METHODS[name]().combine(gradients)
    assert found.degenerate
    torch.testing.assert_close(found.vector, gradients.sum(0), equal_nan=True)


def test_a_torchjd_class_is_a_gradient_method() -> None:
    gradients = some_gradients(3, 0, conflict=1.0)
    gram = gradients @ gradients.T
    weighting = adapt(torchjd.MGDAWeighting())
    torch.testing.assert_close(direction(weighting, gradients), torchjd.MGDAWeighting()(gram) @ gradients)
    aggregator = adapt(torchjd.ConFIG())
    torch.testing.assert_close(direction(aggregator, gradients), torchjd.ConFIG()(gradients))
    with pytest.raises(UsageError, match="Linear balances no gradients"):
        adapt(torch.nn.Linear(1, 1))


def test_an_unknown_name_lists_the_names_and_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no gradient method 'pcgard': did you mean pcgrad\? All of them are none, "):
        look_up("gradient method", GRADIENT_METHODS, "pcgard")
    with pytest.raises(UsageError, match="choose one of none, pcgrad"):
        look_up("gradient method", GRADIENT_METHODS, "xyz")
