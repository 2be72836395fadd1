"""Every network of both presets learns under Lightning, with its tasks balanced in two ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from models_small_body import small_body
from training_scenes import fit, module, scenes

from mayhem_train.balancing.weightings.famo import FastAdaptiveWeighting
from mayhem_train.models.bodies import BODIES
from mayhem_train.models.network import PRESETS
from mayhem_train.models.original import BODY
from mayhem_train.models.specification import Preset

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about workers and logging

# One weighting learns by gradients of its own and one from the losses after each step; one method weighs the body's
# gradients and one masks the features'.
PAIRS = (("uncertainty", "nash-mtl"), ("famo", "graddrop"))
CASES = [
    (preset, name, weighting, gradient if len(recipe.heads) > 1 else "none")
    for preset, recipes in PRESETS.items()
    for name, recipe in recipes.items()
    for weighting, gradient in PAIRS
]


@pytest.mark.parametrize(("preset", "name", "weighting", "gradient"), CASES)
def test_all_parts_of_a_network_learn_in_two_steps(
    preset: Preset, name: str, weighting: str, gradient: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part by part, since a dead unit or a level of SSDLite without hard negatives may miss a step."""
    monkeypatch.setitem(BODIES, "small", small_body)
    trained = module(
        weighting,
        gradient,
        name=name,
        preset=preset,
        body="small" if preset == "fair" else BODY,
        weight_decay=0.0,  # it would move what no gradient reaches
    )
    before = {place: parameter.detach().clone() for place, parameter in trained.named_parameters()}
    trainer = fit(trained, scenes(), tmp_path)
    assert trainer.global_step == 2
    assert all(torch.isfinite(parameter).all() for parameter in trained.parameters())
    trainable, moved = set(), set()
    for place, parameter in trained.named_parameters():
        part = ".".join(place.split(".")[:4])  # such as network.body.to_c4.0 and network.heads.detection.rpn
        if parameter.requires_grad:
            trainable.add(part)
        if not torch.equal(parameter, before[place]):
            moved.add(part)
    assert moved == trainable

    found = trainer.logged_metrics
    assert all(torch.isfinite(value) for value in found.values())
    weighted = [found[f"train/coefficient/{task}"] * found[f"train/loss/{task}"] for task in trained.network.tasks]
    torch.testing.assert_close(found["train/loss"], torch.stack(weighted).sum(), rtol=1e-4, atol=1e-5)
    balanced = {f"train/weight/{task}" for task in trained.network.tasks} | {"train/cosine", "train/fallbacks"}
    assert (balanced <= set(found)) is (gradient != "none")
    assert not trained.balancer.fallbacks
    if isinstance(trained.balancer.weighting, FastAdaptiveWeighting):
        assert trained.balancer.weighting.logits.steps.tolist() == [2] * len(trained.network.tasks)
