"""Averaged weights: how they are averaged, which statistics belong to them, and what is validated and saved."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader
from training_scenes import Scenes, module, scenes, weights

from mayhem_ros.errors import UsageError
from mayhem_train.datasets.samples import collate
from mayhem_train.training.averaged_weights import AveragedWeights
from mayhem_train.training.perception_module import PerceptionModule

pytestmark = pytest.mark.filterwarnings("ignore")


class Follow(pl.Callback):
    """Averages by the textbook beside the callback, and keeps what validation saw."""

    def __init__(self, decay: float):
        self.decay = decay
        self.average: list[torch.Tensor] = []
        self.count = 0
        self.validated: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        current = weights(pl_module)
        if not self.average:
            self.average = current
        else:
            kept = min(self.decay, (1 + self.count) / (10 + self.count))
            self.average = [kept * old + (1 - kept) * new for old, new in zip(self.average, current, strict=True)]
        self.count += 1

    def on_validation_batch_start(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        if not trainer.sanity_checking:
            self.validated.append(copy.deepcopy(pl_module.state_dict()))


def run(trained: PerceptionModule, folder: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    saving = {
        "best": pl.callbacks.ModelCheckpoint(folder, "best", monitor="val/score", mode="max"),
        "last": pl.callbacks.ModelCheckpoint(folder, "last", save_on_train_epoch_end=True),
    }
    resumed = options.pop("ckpt_path", None)
    trainer = pl.Trainer(
        accelerator="cpu",
        precision="32-true",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[*callbacks, *saving.values()],
        **{"max_epochs": 2, **options},
    )
    validation = DataLoader(Scenes(2), 2, collate_fn=collate)
    trainer.fit(trained, scenes(8), validation, ckpt_path=resumed, weights_only=True if resumed else None)
    return trainer


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Follow, PerceptionModule]:
    folder = tmp_path_factory.mktemp("averaged")
    follow, trained = Follow(0.9), module("uncertainty", "pcgrad")
    run(trained, folder, AveragedWeights(0.9, images=8), follow)
    return folder, follow, trained


def test_validation_sees_the_exponential_moving_average(averaged: tuple[Path, Follow, PerceptionModule]) -> None:
    _, follow, trained = averaged
    assert follow.count == 8 and len(follow.validated) == 2
    for (name, _), expected in zip(trained.named_parameters(), follow.average, strict=True):
        torch.testing.assert_close(follow.validated[-1][name], expected, rtol=1e-5, atol=1e-6, msg=name)


def test_its_batch_normalisation_has_the_statistics_of_training_batches(
    averaged: tuple[Path, Follow, PerceptionModule],
) -> None:
    """As torch's own `update_bn` finds them."""
    _, follow, trained = averaged
    oracle = copy.deepcopy(trained.network)
    state = {k.removeprefix("network."): v for k, v in follow.validated[-1].items() if k.startswith("network.")}
    oracle.load_state_dict(state)
    update_bn([batch.images.float() for batch in scenes(8)], oracle)
    found = dict(oracle.named_buffers())
    checked = 0
    for name, layer in oracle.named_modules():
        if isinstance(layer, _BatchNorm):
            for kind in ("running_mean", "running_var"):
                torch.testing.assert_close(state[f"{name}.{kind}"], found[f"{name}.{kind}"], rtol=1e-3, atol=1e-4)
                checked += 1
    assert checked > 100


@pytest.mark.parametrize("name", ["best", "last"])
def test_checkpoints_hold_the_averaged_weights_that_were_validated(
    averaged: tuple[Path, Follow, PerceptionModule], name: str
) -> None:
    folder, follow, _ = averaged
    saved = torch.load(folder / f"{name}.ckpt", weights_only=True)["state_dict"]
    matching = [
        all(torch.equal(saved[k], seen[k]) for k in seen if k.startswith("network.")) for seen in follow.validated
    ]
    assert any(matching)
    assert name == "best" or matching[-1]


def test_training_goes_on_from_the_weights_as_they_are(tmp_path: Path) -> None:
    plain, beside = module("equal", "pcgrad"), module("equal", "pcgrad")
    ends: list[list[torch.Tensor]] = []

    class Keep(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
            ends.append([tensor.clone() for tensor in pl_module.state_dict().values()])

    run(plain, tmp_path / "plain", Keep())
    run(beside, tmp_path / "beside", AveragedWeights(0.9, images=4), Keep())
    assert len(ends) == 4
    for one, other in zip(ends[1], ends[3], strict=True):
        assert torch.equal(one, other)


def test_a_resumed_average_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    whole, first, second = (module("uncertainty", "cagrad", seed=seed) for seed in (0, 0, 5))
    run(whole, tmp_path / "whole", AveragedWeights(0.9, images=4), max_epochs=2)

    class Stop(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 1:
                raise KeyError("stop")

    with pytest.raises(KeyError):
        run(first, tmp_path / "parts", AveragedWeights(0.9, images=4), Stop())
    last = tmp_path / "parts" / "last.ckpt"
    run(second, tmp_path / "resumed", AveragedWeights(0.9, images=4), ckpt_path=last)
    for name in ("current_model_state", "state_dict"):
        one, other = (
            torch.load(tmp_path / part / "last.ckpt", weights_only=True)[name] for part in ("whole", "resumed")
        )
        for key, value in one.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(other[key], value), key


def test_a_decay_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"is 1\.0"):
        AveragedWeights(1.0)
