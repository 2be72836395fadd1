"""What holds for every gradient method that needs inner products only: a law is a mixin, and a method fills it in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mayhem_train.balancing.gradients.method import GradientMethod, GramMethod


def some_gradients(tasks: int, seed: int, spread: float = 1.0, conflict: float = 0.0) -> Tensor:
    """float64 [K, 20] of norms from 10^-spread/2 to 10^spread/2, the first two turned against each other."""
    generator = torch.Generator().manual_seed(seed)
    gradients = torch.randn(tasks, 20, generator=generator, dtype=torch.float64)
    if tasks > 1:
        gradients[1] -= conflict * gradients[0]
    return gradients * torch.logspace(-spread / 2, spread / 2, tasks, dtype=torch.float64)[:, None]


def samples(*tasks: int, each: int = 8) -> Iterator[Tensor]:
    """Gradients of so many tasks, of all spreads from -2 to 2 and conflicts from -3 to 3."""
    drawn = np.random.default_rng(0)
    for count in tasks:
        for seed in range(each):
            yield some_gradients(count, seed, drawn.uniform(-2, 2), drawn.uniform(-3, 3))


def direction(method: GradientMethod, gradients: Tensor) -> Tensor:
    return method.combine(gradients).vector


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """As vectors: by the length of their difference."""
    assert (found - expected).norm() <= tolerance * expected.norm(), f"{found} instead of {expected}"


def assert_parallel(found: Tensor, expected: Tensor, tolerance: float = 1e-6) -> None:
    assert_near(found / found.norm(), expected / expected.norm(), tolerance)


class GramMethodLaws:
    """Laws of every such method.

    Attributes:
        build: the method.
        oracle: torchjd's weights of a Gram matrix.
        tolerance: of the oracle.
        exponent: the direction of gradients s times as long is s^exponent times as long.
        of_itself: the direction of one gradient of length 1, as a multiple of it.
        of_opposites: the direction of g and -2 g with g of length 1, as a multiple of g.
        decides: whether opposite gradients have an answer.
        certain: numbers of tasks for which nothing is drawn.
    """

    build: ClassVar[Callable[[], GramMethod]]
    oracle: ClassVar[Callable[[Tensor], Tensor]]
    tolerance: ClassVar[float] = 1e-6
    exponent: ClassVar[float] = 1.0
    of_itself: ClassVar[float] = 1.0
    of_opposites: ClassVar[float] = 0.0
    decides: ClassVar[bool] = True
    certain: ClassVar[tuple[int, ...]] = (2, 3, 5)

    def test_it_says_what_torchjd_says(self) -> None:
        for tasks in (2, 3, 5):
            for seed in range(8):
                gradients = some_gradients(tasks, seed, conflict=seed % 4)
                expected = type(self).oracle(gradients @ gradients.T) @ gradients
                assert_near(direction(type(self).build(), gradients), expected, self.tolerance)

    def test_the_order_of_the_tasks_does_not_matter(self) -> None:
        for gradients in samples(*self.certain, each=4):
            found = direction(type(self).build(), gradients.flip(0))
            assert_near(found, direction(type(self).build(), gradients), 1e-3)

    def test_the_direction_has_no_scale(self) -> None:
        for gradients in samples(2, 3, 4, each=2):
            expected = direction(type(self).build(), gradients)
            for scale in (1e-8, 1e-4, 1e4, 1e8):
                found = direction(type(self).build(), scale * gradients.float()).double()
                assert_near(found, scale**self.exponent * expected, 1e-3)

    def test_a_gradient_a_million_millionth_as_long_as_another_counts(self) -> None:
        for tasks in (2, 3, 5):
            gradients = some_gradients(tasks, 1, spread=12.0, conflict=0.8)
            found, expected = (type(self).build().combine(given) for given in (gradients.float(), gradients))
            assert_near(found.vector.double(), expected.vector, 1e-2)
            assert (found.weights > 0).any() and not found.degenerate

    def test_half_precision_is_compared_in_single(self) -> None:
        for gradients in samples(2, 3, each=3):
            half = gradients.bfloat16()
            found = type(self).build().combine(half).vector
            assert found.dtype == torch.bfloat16
            assert_near(found.float(), direction(type(self).build(), half.float()), 1e-2)

    def test_one_task_keeps_its_direction(self) -> None:
        gradient = some_gradients(1, 0)
        unit = gradient / gradient.norm()
        torch.testing.assert_close(direction(type(self).build(), unit), self.of_itself * unit[0])

    def test_equal_tasks_keep_their_direction(self) -> None:
        for tasks in (2, 3, 5):
            gradient = some_gradients(1, 0)
            lengths = torch.logspace(0, 1, tasks, dtype=torch.float64)[:, None]
            for precision in (torch.float64, torch.float32):
                found = type(self).build().combine((lengths * gradient).to(precision))
                assert_parallel(found.vector.double(), gradient[0], 1e-5)
                assert not found.degenerate and found.weights.abs().max() < 10

    def test_opposite_gradients_leave_its_own_limit(self) -> None:
        unit = some_gradients(1, 0)[0]
        unit /= unit.norm()
        for precision in (torch.float64, torch.float32):
            found = type(self).build().combine(torch.stack([unit, -2 * unit]).to(precision))
            torch.testing.assert_close(found.vector.double(), self.of_opposites * unit, rtol=1e-6, atol=1e-6)
            assert bool(found.degenerate) is not self.decides

    def test_gradients_of_zero_leave_zero(self) -> None:
        found = type(self).build().combine(torch.zeros(3, 4))
        assert not found.vector.any() and not found.weights.any() and not found.degenerate

    def test_gradients_that_are_not_finite_are_summed_and_counted(self) -> None:
        for broken in (torch.nan, torch.inf):
            gradients = torch.tensor([[1.0, broken], [1.0, 2.0]])
            found = type(self).build().combine(gradients)
            assert found.degenerate
            torch.testing.assert_close(found.vector, gradients.sum(0), equal_nan=True)

    def test_without_a_task_the_others_have_the_weights_they_had_beside_it(self) -> None:
        """Exactly those where it stood at right angles to them, and was as long as it had been last."""
        for tasks in self.certain:
            gradients = torch.cat([some_gradients(tasks, 4, conflict=1.0), torch.zeros(tasks, 1)], 1)
            gradients[-1] = torch.eye(21)[-1] * 0.3
            lacking = gradients.clone()
            lacking[-1] = 0
            method = type(self).build()
            whole, found = method.combine(gradients), method.combine(lacking)
            torch.testing.assert_close(found.weights[:-1], whole.weights[:-1])
            assert found.weights[-1] == 0 and not found.degenerate

    def test_what_stood_beside_it_last_is_in_its_state(self) -> None:
        gradients = some_gradients(3, 2, conflict=1.0)
        undisturbed, resumed = type(self).build(), type(self).build()
        undisturbed.combine(gradients)
        resumed.load_state_dict(undisturbed.state_dict())
        gradients[0] = 0
        assert torch.equal(direction(resumed, gradients), direction(undisturbed, gradients))


class GeneralForTwo:
    """The closed form for two tasks is what the solver for any number says."""

    build: ClassVar[Callable[[], GramMethod]]

    def general(self, gram: Tensor) -> Tensor:
        raise NotImplementedError

    def test_the_closed_form_for_two_is_the_general_one(self) -> None:
        for gradients in samples(2, each=30):
            expected = self.general(gradients @ gradients.T) @ gradients
            assert_near(direction(type(self).build(), gradients), expected, 1e-5)


class LeavesTheOthersAlone:
    """A task without a gradient changes nothing in the direction of the others."""

    build: ClassVar[Callable[[], GramMethod]]

    def test_without_a_task_the_direction_is_that_of_the_others_alone(self) -> None:
        for gradients in samples(2, 4, each=6):
            lacking = torch.cat([gradients[:1], torch.zeros_like(gradients[:1]), gradients[1:]])
            assert_parallel(direction(type(self).build(), lacking), direction(type(self).build(), gradients))


class NoTaskIsWorseOff:
    """No task's loss rises along the direction."""

    build: ClassVar[Callable[[], GramMethod]]

    def test_no_task_is_worse_off(self) -> None:
        for gradients in samples(2, 3, 4, 5):
            found = direction(type(self).build(), gradients)
            assert (gradients @ found >= -1e-7 * gradients.norm(dim=1) * found.norm()).all()

    def test_nearly_opposite_gradients_leave_nearly_nothing_of_each_other(self) -> None:
        """Along themselves; a bargain goes at right angles to both."""
        first, aside = (vector / vector.norm() for vector in some_gradients(2, 3))
        gradients = torch.stack([first, -2 * first + 1e-4 * aside])
        found = direction(type(self).build(), gradients)
        assert (found @ first).abs() < 2e-4 * max(1.0, float(found.norm()))


class KnowsNoLossScale:
    """The direction does not depend on how long each single gradient is."""

    build: ClassVar[Callable[[], GramMethod]]

    def test_the_direction_does_not_depend_on_the_losses_scales(self) -> None:
        for gradients in samples(2, 3, 4, 5):
            scales = torch.logspace(-1, 1, len(gradients), dtype=torch.float64)[:, None]
            found = direction(type(self).build(), scales * gradients)
            assert_parallel(found, direction(type(self).build(), gradients), 1e-4)
