"""Balanced training under Lightning: clipping, accumulation, mixed precision and resuming stay what they are."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from models_small_body import small_body
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor
from training_scenes import fit, module, scenes, weights

from mayhem_train.balancing.balancer import MeasuredOn
from mayhem_train.balancing.names import GRADIENT_METHODS, WEIGHTINGS
from mayhem_train.balancing.weightings.dynamic import DynamicWeightAverage
from mayhem_train.balancing.weightings.relative_difficulty import RelativeDifficultyWeighting
from mayhem_train.balancing.weightings.smooth_tchebycheff import SmoothTchebycheffWeighting
from mayhem_train.balancing.weightings.weighting import LossWeighting
from mayhem_train.models.bodies import BODIES
from mayhem_train.training.perception_module import PerceptionModule

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about workers and logging


@pytest.mark.parametrize("gradient", GRADIENT_METHODS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_every_pair_trains_for_two_steps(
    weighting: str, gradient: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BODIES, "small", small_body)
    trained = module(weighting, gradient, body="small")
    before = [parameter.detach().clone() for parameter in trained.network.shared_parameters]
    trainer = fit(trained, scenes(), tmp_path)
    assert trainer.global_step == 2
    assert all(torch.isfinite(weight).all() for weight in weights(trained))
    for old, new in zip(before, trained.network.shared_parameters, strict=True):
        assert not torch.equal(old, new)
    logged = {name for name in trainer.logged_metrics if name.startswith("train/")}
    assert {"train/loss", "train/coefficient/detection", "train/loss/segmentation/cross_entropy"} <= logged
    balanced = {"train/cosine", "train/conflict", "train/fallbacks", "train/weight/detection"}
    balanced |= {"train/gradient_norm/segmentation"}
    assert (balanced <= logged) is trained.balancer.balances_gradients
    assert not trained.balancer.fallbacks
    found = trainer.logged_metrics
    weighted = sum(found[f"train/coefficient/{task}"] * found[f"train/loss/{task}"] for task in trained.network.tasks)
    torch.testing.assert_close(found["train/loss"], torch.as_tensor(weighted), rtol=1e-4, atol=1e-5)


def dwa_by_hand(means: Tensor, losses: Tensor) -> Tensor:
    """From the mean losses float [E, 2] of the epochs before, and this batch's [2]."""
    return torch.ones(2) if len(means) < 2 else 2 * torch.softmax(means[-1] / means[-2] / 2.0, 0)


def relative_difficulty_by_hand(means: Tensor, losses: Tensor) -> Tensor:
    if not len(means):
        return torch.ones(2)
    average = means[0]
    for mean in means:
        average = 0.5 * average + 0.5 * mean
    left = average / means[0]
    return 2 * left / left.sum()


def stch_by_hand(means: Tensor, losses: Tensor) -> Tensor:
    return 1 / losses if len(means) < 2 else 2 * torch.softmax(losses.log() - means[1].log(), 0) / losses


@pytest.mark.parametrize(
    ("build_weighting", "by_hand"),
    [
        (partial(DynamicWeightAverage, temperature=2.0), dwa_by_hand),
        (partial(RelativeDifficultyWeighting, decay=0.5), relative_difficulty_by_hand),
        (partial(SmoothTchebycheffWeighting, mu=1.0, warmup_epochs=2), stch_by_hand),
    ],
    ids=["dwa", "relative", "stch"],
)
def test_the_logged_coefficients_follow_from_the_logged_losses_of_the_epochs_before(
    build_weighting: Callable[[], LossWeighting],
    by_hand: Callable[[Tensor, Tensor], Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a training too, every weighting leaves its first phase when it should."""
    monkeypatch.setitem(BODIES, "small", small_body)
    logger = CSVLogger(tmp_path, "logs", "")
    weighting = build_weighting()
    trained = module(weighting, body="small")
    fit(trained, scenes(8), tmp_path, max_epochs=4, logger=logger, log_every_n_steps=1)
    with Path(logger.log_dir, "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))

    def logged(name: str) -> Tensor:
        """float [epochs, batches, tasks]."""
        values = [[float(row[f"train/{name}/{task}"]) for task in trained.network.tasks] for row in rows]
        return torch.tensor(values).view(4, 4, 2)

    losses, coefficients = logged("loss"), logged("coefficient")
    assert [int(row["epoch"]) for row in rows] == [epoch for epoch in range(4) for _ in range(4)]
    means = losses.mean(1)
    expected = torch.stack(
        [torch.stack([by_hand(means[:epoch], batch) for batch in losses[epoch]]) for epoch in range(4)]
    )
    torch.testing.assert_close(coefficients, expected, rtol=1e-4, atol=1e-6)
    if isinstance(weighting, SmoothTchebycheffWeighting):  # its warm-up is equal in the weighted losses
        coefficients = coefficients * losses
    from_equal = (coefficients - 1).abs().amax((1, 2))
    assert from_equal[:2].max() < 1e-5 and from_equal[2:].min() > 1e-2, "the first phase would hide a mistake"


def gradients(trained: PerceptionModule, divisor: float = 1.0) -> list[Tensor]:
    """What one training step leaves in the network's parameters."""
    trained.log = trained.log_dict = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    trained.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    loss = trained.training_step(next(iter(scenes())), 0)
    assert loss is not None
    trained.backward(loss / divisor)
    return [parameter.grad for parameter in trained.network.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("measured_on", ["body", "deep"])
def test_the_tasks_own_passes_add_up_to_the_gradient_of_the_sum(measured_on: MeasuredOn) -> None:
    """The way through copies of the features changes nothing where the gradients are only measured."""
    whole, by_task = module(), module(measured_on=measured_on, measure_gradients=True)
    assert by_task.balancer.balances_gradients and not whole.balancer.balances_gradients
    ours, theirs = (torch.cat([g.flatten() for g in gradients(trained)]) for trained in (by_task, whole))
    assert (ours - theirs).norm() <= 1e-4 * theirs.norm()


def test_famo_learns_once_a_step_and_from_nothing_but_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing has changed it sees no improvement, whatever dropout draws."""
    monkeypatch.setitem(BODIES, "small", small_body)
    trained = module("famo", name="ssdlite-mtl", body="small", learning_rate=0.0)
    trainer = fit(trained, scenes(8), tmp_path, accumulate_grad_batches=2)
    assert trained.balancer.weighting.logits.steps.tolist() == [trainer.global_step] * 2 == [2, 2]
    assert not trained.balancer.weighting.logits.value.any()


def test_accumulated_batches_are_averaged() -> None:
    """Lightning divides the loss by their number."""
    halves, wholes = gradients(module("equal", "pcgrad"), 2.0), gradients(module("equal", "pcgrad"))
    for half, whole in zip(halves, wholes, strict=True):
        torch.testing.assert_close(half, whole / 2)


def test_clipping_leaves_the_balancers_own_parameters_alone(tmp_path: Path) -> None:
    trained = module("uncertainty", "pcgrad")
    for log_variance, gradient in zip(trained.balancer.weighting.log_variances, (3.0, 4.0), strict=True):
        log_variance.grad = torch.tensor(gradient)
    for parameter in trained.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    trained.configure_gradient_clipping(None, 0.5, "norm")
    assert [float(log_variance.grad) for log_variance in trained.balancer.weighting.log_variances] == [3, 4]
    squares: Sequence[Tensor] = [p.grad.square().sum() for p in trained.network.parameters() if p.grad is not None]
    torch.testing.assert_close(torch.stack(list(squares)).sum().sqrt(), torch.tensor(0.5))


@pytest.mark.parametrize(
    ("weighting", "gradient"), [("uncertainty", "cagrad"), ("auto-lambda", "graddrop"), ("famo", "db-mtl")]
)
def test_bfloat16_mixed_precision_trains(weighting: str, gradient: str, tmp_path: Path) -> None:
    trained = module(weighting, gradient)
    fit(trained, scenes(), tmp_path, precision="bf16-mixed")
    assert all(torch.isfinite(weight).all() for weight in weights(trained))
    assert not trained.balancer.fallbacks


@pytest.mark.parametrize(
    ("weighting", "gradient"),
    [("uncertainty", "pcgrad"), ("dwa", "db-mtl"), ("auto-lambda", "cagrad"), ("famo", "graddrop"), ("rlw", "none")],
)
def test_a_resumed_run_ends_with_the_same_weights_to_the_bit(weighting: str, gradient: str, tmp_path: Path) -> None:
    options = {"max_epochs": 3, "enable_checkpointing": True}
    whole = module(weighting, gradient)
    fit(whole, scenes(), tmp_path / "whole", **options)
    first = module(weighting, gradient)

    class Stop(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 2:
                raise KeyError("stop")

    path = tmp_path / "last.ckpt"
    saving = pl.callbacks.ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    with pytest.raises(KeyError):
        fit(first, scenes(), tmp_path / "first", callbacks=[saving, Stop()], **options)
    second = module(weighting, gradient, seed=9)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=3,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(second, scenes(), ckpt_path=path, weights_only=True)
    for ours, theirs in zip(weights(second), weights(whole), strict=True):
        assert torch.equal(ours, theirs)
