"""Trainings on batches that have no labels for a task, or for none."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models_small_body import small_body
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader
from training_scenes import SIZE, Scenes, fit, module, weights

from mayhem_train.datasets.samples import Batch, Sample, collate
from mayhem_train.models.bodies import BODIES

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice about workers and logging


@pytest.fixture(autouse=True)
def _small_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BODIES, "small", small_body)


class Crowded(Scenes):
    """The first two scenes are a crowd from edge to edge, of which nobody says where its members are."""

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        sample = super().__getitem__(key)
        if sample.image_id >= 2:
            return sample
        return replace(sample, boxes=torch.tensor([[0.0, 0.0, SIZE[1], SIZE[0]]]), crowd=torch.tensor([True]))


def batches(scenes: Scenes) -> DataLoader[Batch]:
    return DataLoader(scenes, 2, collate_fn=collate)


@pytest.mark.parametrize(("scenes", "missing"), [(Scenes(8, "bare"), "segmentation"), (Crowded(8), "detection")])
@pytest.mark.parametrize(("weighting", "gradient"), [("uncertainty", "mgda"), ("dwa", "none"), ("famo", "graddrop")])
def test_what_a_batch_lacks_is_neither_logged_nor_learned(
    weighting: str, gradient: str, scenes: Scenes, missing: str, tmp_path: Path
) -> None:
    logger = CSVLogger(tmp_path, "logs", "")
    trained = module(weighting, gradient, body="small")
    order = torch.utils.data.Subset(scenes, (0, 1, 6, 7, 0, 1, 6, 7))
    fit(trained, batches(order), tmp_path, logger=logger, log_every_n_steps=1)
    with Path(logger.log_dir, "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    of_missing = {name for name in rows[0] if name.startswith("train/") and f"/{missing}" in name}
    assert {f"train/loss/{missing}", f"train/coefficient/{missing}"} <= of_missing
    pairs = {"train/conflict", "train/cosine"} if trained.balancer.balances_gradients else set()
    for row, has_task in zip(rows, (False, True, False, True), strict=True):
        for name in of_missing | pairs:
            assert (row[name] not in ("", "nan")) is has_task, "neither a zero nor the last step's in its place"
    if pairs:
        assert rows[-1]["train/fallbacks"] == "0.0"
    assert all(torch.isfinite(weight).all() for weight in weights(trained))


@pytest.mark.parametrize("gradient", ["none", "pcgrad"])
def test_a_batch_without_a_task_leaves_its_head_alone(gradient: str, tmp_path: Path) -> None:
    trained = module("equal", gradient, body="small")
    before = {name: parameter.clone() for name, parameter in trained.network.named_parameters()}
    trainer = fit(trained, batches(Scenes(6, "bare")), tmp_path)
    assert trainer.global_step == 3
    moved = {name for name, now in trained.network.named_parameters() if not torch.equal(now, before[name])}
    assert {name.split(".")[1] for name in moved if name.startswith("heads.")} == {"detection"}
    assert any(name.startswith("body.") for name in moved)


def test_a_batch_without_any_label_is_left_out(tmp_path: Path) -> None:
    trained = module(name="lraspp", body="small")
    before = weights(trained)
    trainer = fit(trained, batches(Scenes(6, "bare")), tmp_path)
    assert "train/loss" not in trainer.logged_metrics
    for old, new in zip(before, weights(trained), strict=True):
        assert torch.equal(old, new), "not even by weight decay"
    trainer = fit(trained, batches(Scenes(8, "bare")), tmp_path)
    assert "train/loss" in trainer.logged_metrics


def test_the_validation_loss_is_that_of_the_batches_that_have_the_task(tmp_path: Path) -> None:
    trained = module(body="small", learning_rate=0.0)
    found = []
    for scenes in (Scenes(8, "bare"), torch.utils.data.Subset(Scenes(8, "bare"), (6, 7))):
        trainer = fit(trained, batches(scenes), tmp_path, max_epochs=0)
        (metrics,) = trainer.validate(trained, batches(scenes), verbose=False)
        found.append(metrics["val/loss/segmentation"])
    assert found[0] == pytest.approx(found[1])
