"""Gradient methods: each against torchjd or against its defining equation, and the laws that its paper promises."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torchjd.aggregation as torchjd
from gradient_laws import (
    GeneralForTwo,
    GramMethodLaws,
    KnowsNoLossScale,
    LeavesTheOthersAlone,
    NoTaskIsWorseOff,
    assert_near,
    assert_parallel,
    direction,
    samples,
    some_gradients,
)
from torch import Tensor
from torchjd.linalg import QuadprogProjector

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.gradients.aligned_mtl import AlignedMTL, aligned_weights
from mayhem_train.balancing.gradients.cagrad import CAGrad, worst_weights
from mayhem_train.balancing.gradients.db_mtl import DualBalancing
from mayhem_train.balancing.gradients.dual_cone import DualProj, UPGrad, project_to_dual_cone
from mayhem_train.balancing.gradients.fair import FairGrad, NashMTL, fair_weights
from mayhem_train.balancing.gradients.graddrop import FeatureGradDrop, GradDrop
from mayhem_train.balancing.gradients.imtl_g import IMTLG, impartial
from mayhem_train.balancing.gradients.mgda import MGDA, shortest_weights
from mayhem_train.balancing.gradients.pcgrad import PCGrad
from mayhem_train.balancing.gradients.plain_sum import PlainSum
from mayhem_train.balancing.gradients.torchjd import adapt
from mayhem_train.balancing.names import GRADIENT_METHODS
from mayhem_train.naming import look_up

EXACT = QuadprogProjector(norm_eps=0.0, reg_eps=1e-12)  # its defaults trade exactness for conditioning


class TestPlainSum(LeavesTheOthersAlone, GramMethodLaws):
    build = PlainSum
    oracle = torchjd.SumWeighting()
    of_opposites = -1.0


class TestMGDA(NoTaskIsWorseOff, LeavesTheOthersAlone, GeneralForTwo, GramMethodLaws):
    build = MGDA
    oracle = torchjd.MGDAWeighting(epsilon=1e-12, max_iters=1000)
    tolerance = 0.15  # Frank-Wolfe comes near slowly

    def general(self, gram: Tensor) -> Tensor:
        return torch.from_numpy(shortest_weights(gram.numpy()))

    def test_it_is_the_shortest_vector_of_the_hull(self) -> None:
        for gradients in samples(2, 3, 4, 5):
            others = torch.rand(500, len(gradients), dtype=torch.float64)
            hull = torch.cat([others / others.sum(1, keepdim=True), torch.eye(len(gradients))]) @ gradients
            assert direction(MGDA(), gradients).norm() <= hull.norm(dim=1).min() * (1 + 1e-9)


class TestUPGrad(NoTaskIsWorseOff, LeavesTheOthersAlone, GeneralForTwo, GramMethodLaws):
    build = UPGrad
    oracle = torchjd.UPGradWeighting(projector=EXACT)

    def general(self, gram: Tensor) -> Tensor:
        projections = [project_to_dual_cone(row, gram.numpy()) for row in np.eye(len(gram))]
        return torch.from_numpy(np.mean(projections, axis=0))

    def test_a_zero_gradient_counts_in_the_mean(self) -> None:
        """As in the paper's equation, and in torchjd's answer to it."""
        gradients = some_gradients(3, 0, conflict=2.0)
        gradients[2] = 0
        torch.testing.assert_close(direction(UPGrad(), gradients), 2 / 3 * direction(UPGrad(), gradients[:2]))


class TestDualProj(NoTaskIsWorseOff, LeavesTheOthersAlone, GeneralForTwo, GramMethodLaws):
    build = DualProj
    oracle = torchjd.DualProjWeighting(projector=EXACT)

    def general(self, gram: Tensor) -> Tensor:
        return torch.from_numpy(project_to_dual_cone(np.full(len(gram), 1 / len(gram)), gram.numpy()))


class TestIMTLG(KnowsNoLossScale, LeavesTheOthersAlone, GeneralForTwo, GramMethodLaws):
    build = IMTLG
    oracle = torchjd.IMTLGWeighting()

    def general(self, gram: Tensor) -> Tensor:
        norms = gram.diagonal().sqrt()
        weights = impartial(gram / norms.outer(norms), 1e-15) / norms
        return weights / weights.sum()

    def test_it_sees_every_unit_gradient_alike(self) -> None:
        for gradients in samples(2, 3, 4, 5):
            products = (gradients / gradients.norm(dim=1, keepdim=True)) @ direction(IMTLG(), gradients)
            torch.testing.assert_close(products, products.mean().expand_as(products), rtol=1e-5, atol=1e-9)

    def test_rounding_errors_between_nearly_equal_gradients_are_no_gradients(self) -> None:
        gradients = some_gradients(3, 0)
        gradients[1] = 1.5 * gradients[0]
        expected = direction(IMTLG(), gradients)
        for seed in range(20):
            noise = torch.randn(gradients.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            found = IMTLG().combine((gradients * (1 + 1e-7 * noise)).float())
            assert_near(found.vector.double(), expected, 1e-2)
            assert found.weights.abs().max() < 10

    def test_an_opposite_pair_among_others_leaves_nothing(self) -> None:
        gradients = some_gradients(3, 0)
        gradients[1] = -1.5 * gradients[0]
        assert direction(IMTLG(), gradients.float()).norm() < 1e-6


class TestCAGrad(GeneralForTwo, GramMethodLaws):
    build = CAGrad
    oracle = torchjd.CAGradWeighting(0.5, norm_eps=0.0)
    tolerance = 1e-3  # a conic solver's accuracy
    of_itself = 1.5
    of_opposites = -0.25

    def general(self, gram: Tensor) -> Tensor:
        scaled = (gram / gram.diagonal().max()).numpy()
        worst = worst_weights(scaled, 0.5)
        length = np.sqrt(scaled.mean() / (worst @ scaled @ worst))
        return torch.from_numpy(1 / len(gram) + 0.5 * length * worst)

    def test_without_radius_it_is_the_mean(self) -> None:
        gradients = some_gradients(4, 0, conflict=2.0)
        torch.testing.assert_close(direction(CAGrad(0.0), gradients), gradients.mean(0))

    def test_it_finds_the_worst_of_a_fine_grid(self) -> None:
        shares = torch.linspace(0, 1, 100_001, dtype=torch.float64)
        weights = torch.stack([shares, 1 - shares], 1)
        for gradients in samples(2):
            mean, between = gradients.mean(0), weights @ gradients
            worst = between[(between @ mean + 0.5 * mean.norm() * between.norm(dim=1)).argmin()]
            assert_near(direction(CAGrad(0.5), gradients), mean + 0.5 * mean.norm() / worst.norm() * worst, 1e-4)


class TestAlignedMTL(LeavesTheOthersAlone, GeneralForTwo, GramMethodLaws):
    build = AlignedMTL
    oracle = torchjd.AlignedMTLWeighting()
    of_opposites = -0.5  # one component, and the mean in it

    def general(self, gram: Tensor) -> Tensor:
        return torch.from_numpy(aligned_weights(gram.numpy(), 1e-15))

    def test_all_principal_components_are_as_long_as_the_least(self) -> None:
        for gradients in samples(2, 3, 4):
            left, sizes, right = torch.linalg.svd(gradients, full_matrices=False)
            torch.testing.assert_close(direction(AlignedMTL(), gradients), sizes.min() * (left @ right).mean(0))


class TestFairGrad(NoTaskIsWorseOff, LeavesTheOthersAlone, GramMethodLaws):
    build = FairGrad
    oracle = torchjd.FairGradWeighting(2.0)
    tolerance = 1e-3  # a least-squares solver's
    exponent = -1 / 3
    decides = False

    @pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 5.0])
    def test_fairness_holds_as_its_equation_says(self, alpha: float) -> None:
        for gradients in samples(2, 3, 4, 5):
            gram = gradients @ gradients.T
            weights = FairGrad(alpha).weights(gram)
            assert (weights > 0).all()
            torch.testing.assert_close(gram @ weights, weights ** (-1 / alpha), rtol=1e-6, atol=0)


class TestNashMTL(NoTaskIsWorseOff, KnowsNoLossScale, LeavesTheOthersAlone, GeneralForTwo, GramMethodLaws):
    build = NashMTL
    oracle = torchjd.FairGradWeighting(1.0)  # which it is for alpha 1
    tolerance = 1e-3
    exponent = 0.0
    decides = False

    def general(self, gram: Tensor) -> Tensor:
        return torch.from_numpy(fair_weights(gram.numpy(), 1.0))

    @pytest.mark.filterwarnings("ignore:You are solving a parameterized problem:UserWarning")
    @pytest.mark.parametrize("conflict", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("tasks", [2, 3, 5])
    def test_it_is_torchjds_bargain_where_that_one_converges(self, tasks: int, conflict: float) -> None:
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


class TestPCGrad(GramMethodLaws):
    """For two tasks; of more, one of the possible orders is drawn."""

    build = PCGrad
    certain = (2,)

    def test_it_says_what_torchjd_says(self) -> None:
        for gradients in samples(2):
            expected = torchjd.PCGradWeighting()(gradients @ gradients.T) @ gradients
            torch.testing.assert_close(direction(PCGrad(), gradients), expected)

    def test_it_is_the_surgery_on_the_gradients_themselves(self) -> None:
        for gradients in samples(2):
            assert_near(direction(PCGrad(), gradients), surgery(gradients, ((1,), (0,))), 1e-9)
            products = gradients @ direction(PCGrad(), gradients)
            assert (products >= -1e-9 * gradients.norm() ** 2).all(), "of two it conflicts with neither"

    def test_of_more_it_is_one_of_the_possible_orders(self) -> None:
        gradients = some_gradients(3, 3, conflict=3.0)
        gradients[2] -= 2 * gradients[0]
        orders = itertools.product(itertools.permutations(range(3)), repeat=3)
        possible = torch.stack([surgery(gradients, of_all) for of_all in orders])
        method = PCGrad()
        found = torch.stack([direction(method, gradients) for _ in range(30)])
        distances = (found[:, None] - possible).norm(dim=2)
        assert (distances.min(1).values < 1e-9).all()
        assert len(set(distances.argmin(1).tolist())) > 1

    def test_without_a_task_it_is_the_surgery_of_the_others(self) -> None:
        gradients = some_gradients(3, 3, conflict=3.0)
        gradients[2] = 0
        torch.testing.assert_close(direction(PCGrad(), gradients), surgery(gradients[:2], ((1,), (0,))))


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


@pytest.mark.parametrize("tasks", [2, 4])
def test_graddrop_is_torchjds_in_what_it_lets_through_on_average(tasks: int) -> None:
    """The mean over draws is P * positives + (1 - P) * negatives; where all signs agree nothing is dropped."""
    gradients = some_gradients(tasks, 1)
    positivity = (1 + gradients.sum(0) / gradients.abs().sum(0)) / 2
    expected = positivity * gradients.clamp(min=0).sum(0) + (1 - positivity) * gradients.clamp(max=0).sum(0)
    method, oracle = GradDrop(), torchjd.GradDrop()
    drawn = torch.stack([direction(method, gradients) for _ in range(1000)])
    theirs = torch.stack([oracle(gradients) for _ in range(1000)])
    error = drawn.std(0) / 1000**0.5
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


def test_db_mtl_leaves_out_a_task_without_a_gradient_and_its_average() -> None:
    method, lacking = DualBalancing(beta=0.5, exponent=0.0), some_gradients(3, 1)
    lacking[1] = 0
    for gradients in (some_gradients(3, 0), lacking):
        found = method.combine(gradients)
    first, second, third = (0.5 * gradient for gradient in some_gradients(3, 0))
    first, third = (0.5 * (old + new) for old, new in ((first, lacking[0]), (third, lacking[2])))
    longest = max(vector.norm() for vector in (first, second, third))
    torch.testing.assert_close(found.vector, longest * (first / first.norm() + third / third.norm()))
    assert found.weights[1] == 0 and not found.degenerate
    after = some_gradients(3, 2)
    whole = torch.stack([0.5 * (first + after[0]), 0.5 * (second + after[1]), 0.5 * (third + after[2])])
    norms = whole.norm(dim=1)
    torch.testing.assert_close(method.combine(after).vector, (norms.max() / norms) @ whole)


def test_db_mtl_cancels_opposite_gradients_and_passes_on_what_is_not_finite() -> None:
    assert not DualBalancing().combine(torch.tensor([[1.0, -2.0], [-2.0, 4.0]])).vector.any()
    method = DualBalancing()
    found = method.combine(torch.tensor([[1.0, torch.inf], [1.0, 2.0]]))
    assert found.degenerate and found.vector[1] == torch.inf
    assert torch.isfinite(method.combine(torch.eye(2)).vector).all()


def test_graddrop_lets_the_others_through_without_a_task() -> None:
    gradients = some_gradients(3, 1)
    gradients[1] = 0
    torch.testing.assert_close(direction(GradDrop(), gradients), direction(GradDrop(), gradients[[0, 2]]))


@pytest.mark.filterwarnings("ignore:You are solving a parameterized problem:UserWarning")
def test_a_torchjd_class_that_wants_every_task_gets_the_others_as_if_it_were_there() -> None:
    gradients = some_gradients(3, 0, conflict=1.0)
    gradients[1] = 0
    of_all = torchjd.NashMTL(3, max_norm=0.0)
    found = direction(adapt(of_all), gradients)
    assert_parallel(found, direction(NashMTL(), gradients), 1e-3)
    for aggregator in (torchjd.ConFIG(), torchjd.UPGrad()):
        assert_parallel(direction(adapt(aggregator), gradients), aggregator(gradients[[0, 2]]), 1e-3)
    weighting = adapt(torchjd.UPGradWeighting())
    assert_parallel(direction(weighting, gradients), direction(UPGrad(), gradients), 1e-3)


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
