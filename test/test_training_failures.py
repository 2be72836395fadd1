"""What can go wrong in a training ends in one sentence, and what was learned before is kept."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from training_runs import train, write_dataset
from training_scenes import Scenes, fit, module, scenes, weights

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.datasets.samples import Batch, collate
from mayhem_train.models.normaliser import joined_count
from mayhem_train.training.checkpoint_files import WholeCheckpoints
from mayhem_train.training.endings import told_in_one_sentence
from mayhem_train.training.epoch_summary import headlines
from mayhem_train.training.trained_network import load_trained_network
from mayhem_train.training.validation import ValidationScores

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run_folder(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "first"
    assert train(data, out, "--trainer.max_epochs", "1") == 0
    return out


class Break(pl.Callback):
    """A weight turns into no number at the beginning of the second epoch, or at its end."""

    def __init__(self, at_end: bool):
        self.at_end = at_end

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        if trainer.global_step == (4 if self.at_end else 3):
            with torch.no_grad():
                next(pl_module.network.heads["segmentation"].parameters()).fill_(torch.nan)


@pytest.mark.parametrize(
    ("at_end", "said"),
    [
        (False, r"The segmentation loss is nan at step 3 \(frames scene-000002.png, scene-000003.png\): lower"),
        (True, r"The weights are not finite any more after step 4 \(heads.segmentation"),
    ],
)
def test_what_is_not_finite_ends_the_training_and_the_last_good_checkpoint_stays(
    tmp_path: Path, at_end: bool, said: str
) -> None:
    saving = pl.callbacks.ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    with pytest.raises(MayhemError, match=said) as ended:
        options = {"max_epochs": 3, "enable_checkpointing": True}
        fit(module("equal", "pcgrad"), scenes(), tmp_path, callbacks=[Break(at_end), saving], **options)
    assert "\n" not in str(ended.value)
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 2
    assert all(torch.isfinite(value).all() for value in kept["state_dict"].values() if value.is_floating_point())


@contextmanager
def training(batch_size: int = 8, accumulated: int = 1) -> Iterator[None]:
    with told_in_one_sentence(Path("runs/first"), Path("runs/first/checkpoints/last.ckpt"), batch_size, accumulated):
        yield


def test_memory_that_does_not_suffice_suggests_a_batch_size() -> None:
    """A real allocation that no machine has the memory for."""
    with (
        pytest.raises(MayhemError, match=r"Out of memory at 8 images a batch: set --data.batch_size 4") as told,
        training(),
    ):
        torch.empty(2**60, dtype=torch.uint8)
    assert "--trainer.accumulate_grad_batches 2" in str(told.value)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), MemoryError("Unable to allocate")],
)
def test_memory_of_a_gpu_and_of_numpy_as_well(error: Exception) -> None:
    with pytest.raises(MayhemError, match=r"--data.batch_size 4"), training():
        raise error
    with (
        pytest.raises(MayhemError, match=r"accumulate_grad_batches 6 for as many images a step"),
        training(8, accumulated=3),
    ):
        raise error
    with (
        pytest.raises(MayhemError, match=r"Out of memory at one image a batch: set a smaller --data.size"),
        training(1),
    ):
        raise error


class BreakGradient(pl.Callback):
    """The second step's loss of one head is finite and its gradient is not, as that of a root at nought."""

    def __init__(self, task: str):
        self.task = task

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        if trainer.global_step == 1:
            parameter = next(pl_module.network.heads[self.task].parameters())
            self.hook = parameter.register_hook(lambda gradient: gradient * torch.nan)


@pytest.mark.parametrize("gradient", ["none", "pcgrad"])
@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_a_gradient_that_is_not_finite_never_reaches_a_weight(tmp_path: Path, gradient: str, task: str) -> None:
    """Its loss is finite, so only the gradient tells whose labels, of which frames, are to be looked at."""
    trained = module("equal", gradient)
    said = rf"The {task} loss's gradient is not finite at step 1 \(frames scene-000002.png, scene-000003.png\): lower"
    with pytest.raises(MayhemError, match=said) as ended:
        fit(trained, scenes(), tmp_path, callbacks=[BreakGradient(task)])
    assert "\n" not in str(ended.value)
    assert all(torch.isfinite(weight).all() for weight in weights(trained))


def test_large_gradients_whose_squares_overflow_are_finite(tmp_path: Path) -> None:
    class Enlarge(BreakGradient):
        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
            if trainer.global_step == 1:
                next(pl_module.network.heads[self.task].parameters()).register_hook(lambda g: g.sign() * 1e25)

    assert fit(module(), scenes(), tmp_path, callbacks=[Enlarge("detection")]).global_step == 2


def test_too_many_open_files_are_no_full_disk() -> None:
    with pytest.raises(MayhemError, match="Too many open files: raise `ulimit -n`"), training():
        raise OSError(errno.EMFILE, "Too many open files")
    with pytest.raises(MayhemError, match=r"drive.mcap ended the training \(Input/output error\)"), training():
        raise OSError(errno.EIO, "Input/output error", "recordings/drive.mcap")
    with (
        pytest.raises(MayhemError, match=r"Cannot write runs/first \(No space left on device\): free the disk"),
        training(),
    ):
        raise OSError(errno.ENOSPC, "No space left on device", "runs/first/checkpoints/last.ckpt")


def test_an_error_of_the_software_itself_is_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), training():
        raise RuntimeError("shapes differ")


def test_validating_less_often_than_there_are_batches_is_wrong_usage(data: list[str], tmp_path: Path) -> None:
    assert train(data, tmp_path / "run", "--trainer.val_check_interval", "9") == 2


def test_a_checkpoint_that_cannot_be_written_whole_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1}, path)
    whole = Path.write_bytes

    def fills_the_disk(place: Path, content: memoryview) -> int:
        whole(place, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fills_the_disk)
    with pytest.raises(MayhemError, match=r"best.ckpt \(No space left on device\): free the disk"):
        WholeCheckpoints().save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["best.ckpt"]


def test_a_run_whose_last_checkpoint_is_damaged_says_how_to_go_on(
    run_folder: Path, data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    assert train(data, tmp_path / "run", "--trainer.max_epochs", "2") == 1
    error = capsys.readouterr().err
    assert "last.ckpt (it is truncated" in error and "--force to start anew" in error and error.count("\n") == 1


def test_a_run_goes_on_only_from_its_own_networks_checkpoint(
    run_folder: Path, data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    weights_of = checkpoint["state_dict"]
    weights_of["network.of_another"] = weights_of.pop("network.body.to_c3.0.0.weight")
    torch.save(checkpoint, last)
    assert train(data, tmp_path / "run", "--trainer.max_epochs", "2") == 1
    error = capsys.readouterr().err
    assert "1 missing: body.to_c3.0.0.weight; 1 unknown: of_another" in error and error.count("\n") == 1


def test_a_checkpoint_with_a_flipped_byte_is_refused(run_folder: Path, tmp_path: Path) -> None:
    content = bytearray((run_folder / "checkpoints" / "best.ckpt").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "best.ckpt").write_bytes(content)
    with pytest.raises(MayhemError, match=r"best.ckpt \(it is truncated, damaged or something else\)"):
        load_trained_network(tmp_path / "best.ckpt")


def batch_of(*samples: int, boxes: bool = True, labelled: bool = True) -> DataLoader[Batch]:
    source = Scenes(max(samples) + 1)
    chosen = []
    for place in samples:
        sample = source[place]
        if not boxes:
            sample = sample.with_boxes(sample.boxes, torch.zeros(len(sample.boxes), dtype=torch.bool))
        if not labelled:
            sample.mask.fill_(255)
        chosen.append(sample)
    return DataLoader(chosen, len(chosen), collate_fn=collate)


@pytest.mark.parametrize(
    ("weighting", "gradient"), [("equal", "none"), ("uncertainty", "pcgrad"), ("geometric", "mgda")]
)
@pytest.mark.parametrize(
    "loader",
    [batch_of(0, 1, boxes=False), batch_of(0, 1, labelled=False), batch_of(0, 1, boxes=False, labelled=False)],
    ids=["no boxes", "no floor", "neither"],
)
def test_a_batch_without_boxes_or_floor_trains(
    loader: DataLoader[Batch], weighting: str, gradient: str, tmp_path: Path
) -> None:
    trained = module(weighting, gradient)
    trainer = fit(trained, loader, tmp_path)
    assert trainer.global_step == 1
    assert all(torch.isfinite(weight).all() for weight in weights(trained))


def test_a_batch_with_one_image_trains_and_validates(data: list[str], tmp_path: Path) -> None:
    larger = ["--data.batch_size", "1", "--data.size", "[160, 192]", "--trainer.max_epochs", "1", "--ema", "0.9"]
    assert train(data, tmp_path / "run", *larger, "--balancer.gradient", "pcgrad") == 0


def test_a_class_that_validation_lacks_is_not_available(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = json.loads(Path(data[1]).read_text())
    validation = {image["id"] for image in index["images"] if image["split"] == "val"}
    things = [category["id"] for category in index["categories"] if category["isthing"]]
    index["annotations"] = [
        a for a in index["annotations"] if a["image_id"] not in validation or a["category_id"] not in things
    ]
    (tmp_path / "index.json").write_text(json.dumps(index))
    mine = ["--data.index", str(tmp_path / "index.json"), *data[2:]]
    assert train(mine, tmp_path / "run", "--trainer.max_epochs", "1") == 0
    told = capsys.readouterr().out
    assert "mAP n/a  AP50 n/a (agv n/a)  mIoU 0." in told
    metrics = load_trained_network(tmp_path / "run" / "checkpoints" / "best.ckpt")[0].metrics
    assert metrics["map"] is None and metrics["score"] == metrics["mean_iou"]
    assert re.search(r"ap50/agv +. +n/a", told), "the closing table too"
    watching = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/ap50/agv"]
    assert train(mine, tmp_path / "other", "--trainer.max_epochs", "2", *watching) == 2
    assert "watches 'val/ap50/agv', which no validation frame has the truth for" in capsys.readouterr().err


def test_the_summary_names_every_class() -> None:
    values = {
        "map": 0.25,
        "ap50": 0.5,
        "ap75": None,
        "ap50/a": 0.5,
        "ap50/b": None,
        "mean_iou": 0.75,
        "iou/floor": 0.75,
    }
    assert headlines(ValidationScores(values, 0.5, {})) == [
        "mAP 0.250",
        "AP50 0.500 (a 0.500, b n/a)",
        "mIoU 0.750 (floor 0.750)",
    ]


def test_what_is_watched_must_be_measured(data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watching = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/mapp"]
    assert train(data, tmp_path / "run", "--trainer.max_epochs", "2", *watching) == 2
    told = capsys.readouterr()
    assert "EarlyStopping watches 'val/mapp', which is not measured: did you mean val/map?" in told.err
    assert "epoch 1" not in told.out, "before any training"


def test_a_run_that_stopped_early_is_finished(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patience = ["EarlyStopping", "monitor=val/score", "mode=max", "patience=1", "min_delta=2"]
    watching = [f"--trainer.callbacks{'+=' if n == 0 else '.'}{setting}" for n, setting in enumerate(patience)]
    options = ["--trainer.max_epochs", "50", *watching]
    assert train(data, tmp_path / "run", *options) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["stopped_early_after_epoch"] == 2
    capsys.readouterr()
    assert train(data, tmp_path / "run", *options) == 0
    assert "is finished, stopped early after epoch 2" in capsys.readouterr().out


def test_a_run_that_its_time_ended_goes_on(data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--trainer.max_epochs", "500", "--trainer.max_time"]
    assert train(data, tmp_path / "run", *options, "00:00:00:01") == 0
    assert "Stopped by --trainer.max_time, which counts all starts of a run: raise it" in capsys.readouterr().out
    done = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] + 1
    options[1] = str(done + 1)
    assert train(data, tmp_path / "run", *options, "00:01:00:00") == 0
    told = capsys.readouterr().out
    assert f"Going on with {tmp_path / 'run'} after epoch {done}." in told and f"epoch {done + 1}/{done + 1}" in told


def test_a_training_too_short_for_its_weighting_is_told_so(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stch = ["--balancer.weighting", "SmoothTchebycheffWeighting", "--balancer.weighting.warmup_epochs", "1"]
    told = "SmoothTchebycheffWeighting weighs the tasks from epoch 2 on, which this training does not reach"
    assert train(data, tmp_path / "short", *stch, "--trainer.max_epochs", "1") == 0
    assert told in capsys.readouterr().out
    assert train(data, tmp_path / "long", *stch, "--trainer.max_epochs", "2") == 0
    assert told not in capsys.readouterr().out


def test_a_checkpoint_of_another_network_says_which_weights_differ(run_folder: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(run_folder / "checkpoints" / "best.ckpt", weights_only=True)
    state = checkpoint["state_dict"]
    state["network.neck.weight"] = torch.zeros(1)
    first = "network.body.to_c3.0.0.weight"
    state[first] = torch.zeros(1, 2)
    removed = [name for name in state if name.startswith("network.heads.detection.predictors")]
    for name in removed:
        del state[name]
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(MayhemError) as told:
        load_trained_network(tmp_path / "other.ckpt")
    sentence = str(told.value)
    assert f"{len(removed)} missing: heads.detection.predictors" in sentence
    assert "1 unknown: neck.weight; 1 of another shape: body.to_c3.0.0.weight" in sentence
    assert len(sentence) < 600 and "\n" not in sentence


def test_one_process_counts_for_itself() -> None:
    assert joined_count(torch.tensor(7)).tolist() == 7
    assert joined_count(torch.tensor(0)).tolist() == 1


def test_provenance_names_data_packages_and_devices(run_folder: Path, data: list[str]) -> None:
    record = json.loads((run_folder / "run.json").read_text())
    assert len(record["dataset_sha256"]) == 64 and record["dataset"] == data[1]
    assert len(record["git_revision"].removesuffix("+changes")) in (40, len("unknown"))
    assert record["environment"]["packages"]["numpy"] == np.__version__
    assert (record["device"], record["processes"], record["precision"]) == ("cpu", 1, "32-true")


def test_a_later_start_of_a_run_stands_beside_the_first(run_folder: Path, data: list[str], tmp_path: Path) -> None:
    again = tmp_path / "run"
    shutil.copytree(run_folder, again)
    first = json.loads((run_folder / "run.json").read_text())
    assert train(data, again, "--trainer.max_epochs", "2") == 0
    record = json.loads((again / "run.json").read_text())
    (resumed,) = record.pop("resumed")
    assert record == first
    assert resumed["environment"]["python"] == first["environment"]["python"]


def test_a_refusal_keeps_its_kind() -> None:
    with pytest.raises(UsageError, match=r"^wrong$"), training():
        raise UsageError("wrong")
