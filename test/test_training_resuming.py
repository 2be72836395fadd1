"""A run that goes on, wherever and with whatever processes, ends as an undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from models_small_body import small_body
from torch import Tensor
from training_runs import arguments, train, write_dataset

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.cli import main
from mayhem_train.datasets.samples import Batch
from mayhem_train.models.bodies import BODIES
from mayhem_train.training.moved_progress import move_progress, note_step
from mayhem_train.training.perception_module import PerceptionModule
from mayhem_train.training.run_folder import check_step
from mayhem_train.training.trained_network import read_checkpoint

pytestmark = pytest.mark.timeout(600)
EPOCHS, STEPS = 3, 2
SMALL = ["--model.body", "small"]
SETTINGS = ["--trainer.max_epochs", str(EPOCHS), *SMALL]


@pytest.fixture(scope="module", autouse=True)
def _small_bodies() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(BODIES, "small", small_body)
        yield


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
    """The last checkpoint's weights, and those that are averaged; not what its balancer has not seen yet."""
    checkpoint = read_checkpoint(out / "checkpoints" / "last.ckpt")
    assert checkpoint["global_step"] == epochs * STEPS
    averaged = {f"current {name}": value for name, value in checkpoint.get("current_model_state", {}).items()}
    return {name: value for name, value in {**checkpoint["state_dict"], **averaged}.items() if value is not None}


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


def test_a_run_goes_on_elsewhere(data, undisturbed, tmp_path, monkeypatch, capsys):
    """Another machine has its data elsewhere, reads them by other processes and shows something else."""
    out, moved = tmp_path / "run", tmp_path / "moved"
    stopped(data, out, monkeypatch, 2, *SETTINGS)
    shutil.copytree(Path(data[1]).parent, moved)
    there = ["--data.index", str(moved / "index.json"), "--data.recordings", str(moved / "recordings")]
    shown = ["--trainer.log_every_n_steps", "1", "--trainer.enable_progress_bar", "false", "--panels.frames", "2"]
    computed = ["--data.workers", "1", "--trainer.devices", "1", "--trainer.accelerator", "auto"]
    assert train(there, out, *SETTINGS, *shown, *computed, "--trainer.strategy", "ddp") == 0
    assert "Going on with" in capsys.readouterr().out
    assert_equal(final(out), undisturbed)

    index = moved / "index.json"
    index.write_text(index.read_text() + "\n")
    assert train(there, out, *SETTINGS) == 2
    assert f"was trained on another version of {index}" in capsys.readouterr().err
    others = ["--trainer.accumulate_grad_batches", "2", "--trainer.gradient_clip_val", "1"]
    for setting, value in zip(others[::2], others[1::2], strict=True):
        assert train(data, out, *SETTINGS, setting, value) == 2
        assert f"holds a run with other settings ({setting.removeprefix('--')})" in capsys.readouterr().err
    assert train(data, out, *SETTINGS, "--trainer.precision", "bf16-mixed") == 2
    assert "holds a run with other settings (trainer.precision)" in capsys.readouterr().err


def test_a_run_keeps_its_precision_on_a_machine_that_would_choose_another(data, tmp_path, monkeypatch, capsys):
    automatic = arguments(data, tmp_path, "--trainer.max_epochs", "1", *SMALL)
    place = automatic.index("--trainer.precision")
    del automatic[place : place + 2]
    monkeypatch.setattr("mayhem_train.training.arguments.fastest_precision", lambda: "32-true")
    assert main(automatic) == 0
    monkeypatch.setattr("mayhem_train.training.arguments.fastest_precision", lambda: "bf16-mixed")
    capsys.readouterr()
    assert main([*automatic, "--trainer.max_epochs", "2"]) == 0
    assert "32-true on cpu" in capsys.readouterr().out


def run_folder(folder: Path, processes: int, batches: int) -> Path:
    (folder / "config.yaml").write_text(yaml.safe_dump({"trainer": {"accumulate_grad_batches": batches}}))
    (folder / "run.json").write_text(json.dumps({"processes": 1, "resumed": [{"processes": processes}]}))
    return folder


def test_steps_of_other_sizes_are_told_where_other_processes_make_them(tmp_path):
    before = run_folder(tmp_path, processes=4, batches=1)
    assert check_step(before, batches=1, processes=4, images=8) == ""
    assert check_step(before, batches=2, processes=2, images=8) == "", "which is as many"
    told = "A step takes 8 images here and took 32 before: --trainer.accumulate_grad_batches 4 would keep them."
    assert check_step(before, batches=1, processes=1, images=8) == told
    assert check_step(before, 1, 3, 8) == "A step takes 24 images here and took 32 before."
    with pytest.raises(UsageError, match=r"other settings \(trainer.accumulate_grad_batches\)"):
        check_step(before, batches=2, processes=4, images=8)


def test_progress_is_counted_in_the_steps_of_the_machine_it_goes_on_on():
    progress = {"current": {"ready": 7, "completed": 7}, "is_last_batch": False}
    checkpoint = {
        "lr_schedulers": [{"last_epoch": 27}],
        "loops": {"fit_loop": {"epoch_loop.batch_progress": progress}},
    }
    move_progress(checkpoint, 1, 1)
    assert checkpoint["lr_schedulers"] == [{"last_epoch": 27}], "a checkpoint of an earlier version says nothing"
    note_step(checkpoint, 2, 1)
    move_progress(checkpoint, 2, 1)
    assert checkpoint["lr_schedulers"] == [{"last_epoch": 27}]
    move_progress(checkpoint, 1, 4)
    assert checkpoint["lr_schedulers"] == [{"last_epoch": 14}], "13.5 steps of twice as many images"
    assert progress["current"] == {"ready": 12, "completed": 12}, "14 batches were seen, and 3 steps are 12"
    progress |= {"current": {"ready": 10, "completed": 10}, "is_last_batch": True}
    move_progress(checkpoint, 1, 4)
    assert progress["current"] == {"ready": 10, "completed": 10}, "an epoch that is complete stays so"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_stopped_within_an_epoch_does_the_rest_of_it(data, undisturbed, tmp_path, monkeypatch, workers):
    settings = [*SETTINGS, "--data.workers", str(workers)]
    terminated(data, tmp_path, monkeypatch, 2, *settings)
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 3
    assert train(data, tmp_path, *settings) == 0
    assert_equal(final(tmp_path), undisturbed)


def test_whatever_is_drawn_while_training_is_drawn_again(data, tmp_path, monkeypatch):
    """Dropout, random weights, and the frames on which averaged weights get their statistics."""
    settings = ["--trainer.max_epochs", "2", "--model.name", "deeplabv3", "--ema", "0.9", *SMALL]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(data, whole, *settings) == 0
    terminated(data, parts, monkeypatch, 2, *settings)
    assert train(data, parts, *settings) == 0
    assert_equal(final(parts, 2), final(whole, 2))
    best = [read_checkpoint(out / "checkpoints" / "best.ckpt")["mayhem"]["metrics"] for out in (whole, parts)]
    assert best[0] == best[1]


def test_a_run_goes_on_after_its_folder_was_moved(data, undisturbed, tmp_path, monkeypatch):
    """What was best is not replaced by what is worse."""
    stopped(data, tmp_path / "here", monkeypatch, 2, *SETTINGS)
    (tmp_path / "here").rename(tmp_path / "there")
    last = tmp_path / "there" / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(last)
    (best,) = (state for state in checkpoint["callbacks"].values() if state.get("monitor") == "val/score")
    best["best_model_score"] = best["kth_value"] = torch.tensor(2.0)
    best["best_k_models"] = dict.fromkeys(best["best_k_models"], torch.tensor(2.0))
    torch.save(checkpoint, last)
    before = last.with_name("best.ckpt").read_bytes()
    assert train(data, tmp_path / "there", *SETTINGS) == 0
    assert last.with_name("best.ckpt").read_bytes() == before
    assert_equal(final(tmp_path / "there"), undisturbed)


def test_a_run_of_an_earlier_version_goes_on_unless_its_balancer_keeps_other_things_in_mind(data, tmp_path, capsys):
    dwa = ["--balancer.weighting", "dwa", *SMALL]
    assert train(data, tmp_path, "--trainer.max_epochs", "1", *dwa) == 0
    last = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(last)
    for name in ("balancer._last_losses._extra_state", "balancer.method._lengths._extra_state"):
        del checkpoint["state_dict"][name]
    torch.save(checkpoint, last)
    assert train(data, tmp_path, "--trainer.max_epochs", "2", *dwa) == 0

    checkpoint["state_dict"]["balancer.weighting.means.count"] = torch.zeros(())
    torch.save(checkpoint, last)
    record = (tmp_path / "run.json").read_text()
    capsys.readouterr()
    assert train(data, tmp_path, "--trainer.max_epochs", "2", *dwa) == 1
    assert capsys.readouterr().err == (
        f"mayhem train: {last} is of another version, whose dwa balancing keeps other things in mind (1 of another "
        "shape: weighting.means.count): go on with that version, or choose another --out with --model.start_from "
        f"{last}.\n"
    )
    assert (tmp_path / "run.json").read_text() == record
