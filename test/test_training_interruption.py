"""SIGTERM, as a cluster sends it to a real training process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from training_runs import arguments, train, write_dataset

from mayhem_train.training.trained_network import read_checkpoint

pytestmark = pytest.mark.timeout(600)
MANY = ["--trainer.max_epochs", "100000", "--trainer.log_every_n_steps", "1", "--trainer.limit_val_batches", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_dataset(tmp_path_factory.mktemp("data"))


def terminated(command: list[str], out: Path) -> tuple[int, str]:
    """The exit code and stderr of a training that got SIGTERM in its second epoch."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "mayhem_train.cli", *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 200
        while not (out / "checkpoints" / "last.ckpt").is_file():
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=100)
    finally:
        process.kill()
    return process.returncode, errors


def test_sigterm_saves_and_the_run_goes_on_from_the_very_step(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    more = ["--balancer.weighting", "famo", "--balancer.gradient", "pcgrad", "--ema", "0.9"]
    code, errors = terminated(arguments(data, out, *MANY, *more), out)
    assert code == 128 + signal.SIGTERM
    assert errors.count("\n") == 1 and "Stopped by SIGTERM: the same command goes on from" in errors, errors
    saved = read_checkpoint(out / "checkpoints" / "last.ckpt")
    steps, epochs = saved["global_step"], saved["epoch"]
    assert steps >= 2
    assert {"current_model_state", "averaging_state"} <= set(saved)
    # How far the learning rate's cosine reaches follows from max_epochs; it is the only setting that may change.
    assert train(data, out, *MANY, *more, "--trainer.max_epochs", str(epochs + 2)) == 0
    assert f"Going on with {out}" in capsys.readouterr().out
    assert read_checkpoint(out / "checkpoints" / "last.ckpt")["global_step"] == 2 * (epochs + 2), (
        "no step is done twice"
    )


def test_two_processes_agree_on_the_step_to_stop_after_and_one_goes_on(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    more = ["--balancer.gradient", "pcgrad"]
    code, errors = terminated(arguments(data, out, *MANY, *more, "--trainer.devices", "2"), out)
    assert code == 128 + signal.SIGTERM, errors
    assert errors.count("Stopped by SIGTERM") == 1, errors
    saved = read_checkpoint(out / "checkpoints" / "last.ckpt")
    assert saved["global_step"] >= 1
    assert all(torch.isfinite(weight).all() for weight in saved["state_dict"].values() if weight.is_floating_point())
    epochs, steps = saved["epoch"] + 1, saved["global_step"]
    completed = saved["loops"]["fit_loop"]["epoch_progress"]["current"]["completed"]  # it may stop as one begins
    assert train(data, out, *MANY, *more, "--trainer.max_epochs", str(epochs + 1), "--data.workers", "1") == 0
    assert "A step takes 2 images here and took 4 before: --trainer.acc" in capsys.readouterr().out
    went_on = read_checkpoint(out / "checkpoints" / "last.ckpt")
    assert went_on["epoch"] == epochs
    assert went_on["global_step"] == steps + 2 * (epochs + 1 - completed), "one process needs two steps an epoch"
    assert went_on["lr_schedulers"][0]["last_epoch"] == 2 * (epochs + 1)


class TerminateAt(pl.Callback):
    """SIGTERM to this process at the end of a step, before anything else is told of that end."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("epochs", [1, 2])
def test_sigterm_in_an_epochs_last_step_waits_for_its_validation(data: list[str], tmp_path: Path, epochs: int) -> None:
    """Lightning would leave the validation out for good, and the last epoch's run without a best checkpoint."""
    out = tmp_path / "run"
    steps = 2
    limits = ["--trainer.max_epochs", str(epochs), "--trainer.limit_train_batches", str(steps)]
    callback = f"--trainer.callbacks+={__name__}.TerminateAt"
    terminating = [callback, f"--trainer.callbacks.step={steps}"]
    with pytest.raises(SystemExit) as ended:
        train(data, out, *limits, *terminating)
    assert ended.value.code == 128 + signal.SIGTERM
    best = read_checkpoint(out / "checkpoints" / "best.ckpt")
    assert best["global_step"] == steps and "score" in best["mayhem"]["metrics"]
    assert train(data, out, *limits, *terminating) == 0
    assert read_checkpoint(out / "checkpoints" / "last.ckpt")["global_step"] == steps * epochs
