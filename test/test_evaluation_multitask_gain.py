"""Δm is the mean relative change of the tasks, and what cannot be compared is refused."""

from __future__ import annotations

import pytest

from mayhem_train.evaluation.metrics.multitask_gain import delta_m, relative_changes

ALONE = {"detection": 0.40, "segmentation": 0.80}


def test_delta_m_is_the_mean_relative_change():
    together = {"detection": 0.44, "segmentation": 0.76}
    assert relative_changes(together, ALONE) == pytest.approx({"detection": 0.10, "segmentation": -0.05})
    assert delta_m(together, ALONE) == pytest.approx(0.025)


def test_where_lower_is_better_a_fall_is_a_gain():
    # Vandenhende et al. 2021: l_i is 1 for an error such as the RMSE of depth.
    alone, together = {"segmentation": 0.50, "depth": 0.60}, {"segmentation": 0.45, "depth": 0.54}
    assert delta_m(together, alone, lower_is_better={"depth"}) == pytest.approx((-0.10 + 0.10) / 2)
    assert delta_m(together, alone) == pytest.approx(-0.10)


def test_the_same_figures_are_no_change():
    assert delta_m(ALONE, ALONE) == 0.0


@pytest.mark.parametrize(
    ("together", "alone", "named"),
    [
        ({"detection": 0.4}, ALONE, "segmentation"),
        ({}, {}, "cannot be compared"),
        (ALONE, {"detection": 0.0, "segmentation": 0.8}, "of detection is 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(together, alone, named):
    with pytest.raises(ValueError, match=named):
        delta_m(together, alone)
