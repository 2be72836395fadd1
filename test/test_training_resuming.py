"""A run that goes on, wherever and with whatever processes, ends as an undisturbed one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor
from training_runs import train, write_dataset

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.samples import Batch
from mayhem_train.training.perception_module import PerceptionModule
from mayhem_train.training.trained_network import read_checkpoint

pytestmark = pytest.mark.timeout(600)
EPOCHS, STEPS = 3, 2
SETTINGS = ["--trainer.max_epochs", str(EPOCHS)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_dataset(tmp_path_factory.mktemp("data"))


def stopped(data: list[str], out: Path, monkeypatch: pytest.MonkeyPatch, epoch: int, *settings: str) -> None:
    """Trains until the machine goes down when this epoch begins, the first one being 0."""

    def fail(module: PerceptionModule) -> None:
        if module.current_epoch == epoch:
            raise MayhemError("the power failed")

    with monkeypatch.context() as patched:
        patched.setattr(PerceptionModule, "on_train_epoch_start", fail, raising=False)
        assert train(data, out, *settings) == 1


def terminated(data: list[str], out: Path, monkeypatch: pytest.MonkeyPatch, step: int, *settings: str) -> None:
    """Trains until SIGTERM comes while this step is made, the first one being 0."""
    start = PerceptionModule.on_train_batch_start

    def note(module: PerceptionModule, batch: Batch, batch_idx: int) -> None:
        start(module, batch, batch_idx)
        if module.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
        patched.setattr(PerceptionModule, "on_train_batch_start", note)
        train(data, out, *settings)
    assert ended.value.code == 128 + signal.SIGTERM


def final(out: Path, epochs: int = EPOCHS) -> dict[str, Tensor]:
    """The last checkpoint's weights, and those that are averaged."""
    checkpoint = read_checkpoint(out / "checkpoints" / "last.ckpt")
    assert checkpoint["global_step"] == epochs * STEPS
    averaged = checkpoint.get("current_model_state", {})
    return {**checkpoint["state_dict"], **{f"current {name}": value for name, value in averaged.items()}}


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    differing = [name for name, value in ours.items() if not torch.equal(value, theirs[name])]
    assert not differing, f"{len(differing)} of {len(ours)} differ, such as {differing[0]}"


@pytest.fixture(scope="module")
def undisturbed(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert train(data, out, *SETTINGS) == 0
    return final(out)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_stopped_after_an_epoch_goes_on_with_the_next_ones_frames(
    data, undisturbed, tmp_path, monkeypatch, epoch
):
    """Whose loaders' processes must not begin before they know which epoch it is."""
    settings = [*SETTINGS, "--data.workers", "2"]
    stopped(data, tmp_path, monkeypatch, epoch, *settings)
    assert train(data, tmp_path, *settings) == 0
    assert_equal(final(tmp_path), undisturbed)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_stopped_within_an_epoch_does_the_rest_of_it(data, undisturbed, tmp_path, monkeypatch, workers):
    settings = [*SETTINGS, "--data.workers", str(workers)]
    terminated(data, tmp_path, monkeypatch, 2, *settings)
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 3
    assert train(data, tmp_path, *settings) == 0
    assert_equal(final(tmp_path), undisturbed)


def test_whatever_is_drawn_while_training_is_drawn_again(data, tmp_path, monkeypatch):
    """Dropout, random weights, and the frames on which averaged weights get their statistics."""
    settings = ["--trainer.max_epochs", "2", "--model.name", "deeplabv3", "--ema", "0.9"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(data, whole, *settings) == 0
    terminated(data, parts, monkeypatch, 2, *settings)
    assert train(data, parts, *settings) == 0
    assert_equal(final(parts, 2), final(whole, 2))
    best = [read_checkpoint(out / "checkpoints" / "best.ckpt")["mayhem"]["metrics"] for out in (whole, parts)]
    assert best[0] == best[1]
