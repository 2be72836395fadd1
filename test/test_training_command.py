"""`mayhem train`: learns, writes what it promises, resumes, and refuses what cannot be trained."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from datasets_drives import write_drive
from training_runs import FRAMES, train, write_dataset

from mayhem_ros.errors import MayhemError
from mayhem_ros.onnx_model import OnnxModel
from mayhem_train.cli import main
from mayhem_train.datasets.index import DatasetIndex, dataset_hash
from mayhem_train.evaluation.scoring.scorer import Scorer
from mayhem_train.recordings.recording import Recording
from mayhem_train.training.perception_module import PerceptionModule
from mayhem_train.training.trained_network import load_trained_network, read_checkpoint


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[str]:
    """Arguments that name a dataset of two tiny drives."""
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run_folder(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "first"
    assert train(data, out, "--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1") == 0
    return out


def test_a_run_leaves_checkpoints_logs_configuration_and_provenance(run_folder, data):
    names = {str(path.relative_to(run_folder)) for path in run_folder.rglob("*") if path.is_file()}
    assert {"checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml", "run.json"} <= names
    assert any(name.startswith("tensorboard/events") for name in names)
    settings = yaml.safe_load((run_folder / "config.yaml").read_text())
    assert settings["model"]["body"] == "mobilenet_v2"
    assert settings["balancer"]["weighting"] == "equal"
    provenance = json.loads((run_folder / "run.json").read_text())
    assert torch.__version__.startswith(provenance["environment"]["torch"])
    rows = list(csv.DictReader((run_folder / "logs" / "version_0" / "metrics.csv").open()))
    steps = [row for row in rows if row["train/loss"]]
    assert len(steps) == 2 * FRAMES // 2
    for row in steps:
        terms = [
            float(row[f"train/loss/{term}"])
            for term in ("detection/classification", "detection/localisation", "segmentation/cross_entropy")
        ]
        assert float(row["train/loss"]) == pytest.approx(sum(terms), rel=1e-4), "equal weighting is the plain sum"
        assert float(row["train/loss/detection"]) == pytest.approx(sum(terms[:2]), rel=1e-4)
        assert float(row["train/step_seconds"]) > 0 and float(row["train/data_seconds"]) >= 0
        assert row["train/coefficient/detection"] == row["train/coefficient/segmentation"] == "1.0"
    body, heads = (float(next(r for r in rows if r[name])[name]) for name in ("lr-AdamW/body", "lr-AdamW/heads"))
    assert body == pytest.approx(heads / 4), "the learning rate of each part by its name"
    validations = [row for row in rows if row["val/iou/background"]]
    assert len(validations) == 2
    assert all(row["val/iou/floor"] and row["val/map"] and row["val/ap50/agv"] for row in validations)


def test_the_checkpoint_rebuilds_its_network_without_running_code(run_folder, data):
    trained, network = load_trained_network(run_folder / "checkpoints" / "best.ckpt")
    assert trained.specification.detection_classes == ("agv",)
    assert trained.specification.segmentation_classes == ("floor",)
    assert (trained.specification.height, trained.specification.width) == (64, 96)
    assert trained.dataset_sha256 == dataset_hash(Path(data[1]))
    assert set(trained.score_thresholds) == {"agv"}
    assert trained.seed == 0
    weights = read_checkpoint(run_folder / "checkpoints" / "best.ckpt")["state_dict"]
    torch.testing.assert_close(network.body.to_c3[0][0].weight, weights["network.body.to_c3.0.0.weight"])
    assert not network.training


def test_training_moves_body_and_both_heads(run_folder, data, tmp_path):
    before = tmp_path / "before"
    frozen = ["--model.learning_rate", "0.0", "--trainer.max_epochs", "2"]
    assert train(data, before, *frozen) == 0
    _, untouched = load_trained_network(before / "checkpoints" / "last.ckpt")
    _, learned = load_trained_network(run_folder / "checkpoints" / "last.ckpt")
    for part in ("body", "heads.detection", "heads.segmentation"):
        start = torch.cat([p.flatten() for p in untouched.get_submodule(part).parameters()])
        end = torch.cat([p.flatten() for p in learned.get_submodule(part).parameters()])
        assert (start - end).abs().max() > 1e-4, part


def test_a_stopped_run_goes_on_and_ends_as_an_undisturbed_one(data, tmp_path, capsys, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(data, whole, "--trainer.max_epochs", "2") == 0
    with monkeypatch.context() as patched:
        # The machine goes down when the second epoch begins.
        patched.setattr(PerceptionModule, "on_train_epoch_start", _fail_in_second_epoch, raising=False)
        assert train(data, parts, "--trainer.max_epochs", "2") == 1
    capsys.readouterr()
    assert train(data, parts, "--trainer.max_epochs", "2") == 0
    assert "Going on with" in capsys.readouterr().out
    one, other = (read_checkpoint(folder / "checkpoints" / "last.ckpt") for folder in (whole, parts))
    assert one["global_step"] == other["global_step"] == 2 * FRAMES // 2
    for name, value in one["state_dict"].items():
        torch.testing.assert_close(other["state_dict"][name], value, rtol=0, atol=0, msg=name)


def _fail_in_second_epoch(module: PerceptionModule) -> None:
    if module.current_epoch == 1:
        raise MayhemError("the power failed")


def test_finished_work_is_skipped(run_folder, data, capsys):
    before = (run_folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert train(data, run_folder, "--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1") == 0
    assert "is finished" in capsys.readouterr().out
    assert (run_folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_a_folder_with_another_run_is_refused(run_folder, data, capsys):
    assert train(data, run_folder, "--trainer.max_epochs", "2", "--model.learning_rate", "0.5") == 2
    error = capsys.readouterr().err
    assert "model.learning_rate" in error and "--force" in error and error.count("\n") == 1


def test_what_is_typed_stands_above_the_configuration_wherever_it_stands(data, tmp_path, capsys):
    """As --out does, which --force would otherwise replace another run than the one named by."""
    typed = ["--out", str(tmp_path / "mine"), "--trainer.max_epochs", "3", "--model.body", "mobilenet_v2"]
    with pytest.raises(SystemExit):
        main(["train", *typed, *data, "--config", "config/train/lraspp-mtl.yaml", "--print_config"])
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["out"] == str(tmp_path / "mine")
    assert (settings["trainer"]["max_epochs"], settings["model"]["body"]) == (3, "mobilenet_v2")
    assert settings["trainer"]["gradient_clip_val"] == 5.0, "which only the file says"


def test_a_run_of_an_earlier_version_goes_on(run_folder, data, tmp_path, capsys):
    """A setting that there was not when it began has its default; one that is not the default is another run."""
    shutil.copytree(run_folder, tmp_path / "run")
    saved = tmp_path / "run" / "config.yaml"
    settings = yaml.safe_load(saved.read_text())
    del settings["balancer"]["measure_gradients"], settings["ema"]
    saved.write_text(yaml.safe_dump(settings))
    options = ["--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1"]
    assert train(data, tmp_path / "run", *options) == 0
    assert "is finished" in capsys.readouterr().out
    assert train(data, tmp_path / "run", *options, "--ema", "0.9") == 2
    assert "holds a run with other settings (ema)" in capsys.readouterr().err


def test_other_loggers_come_on_top_of_the_csv_file(data, tmp_path):
    other = tmp_path / "other"
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(other)]
    assert train(data, tmp_path / "run", "--trainer.max_epochs", "1", *logger) == 0
    assert list(other.rglob("metrics.csv")) and (tmp_path / "run" / "logs" / "version_0" / "metrics.csv").is_file()


def test_force_never_removes_what_is_no_run(data, tmp_path, capsys):
    (tmp_path / "precious").write_text("mine")
    assert train(data, tmp_path, "--force") == 2
    assert (tmp_path / "precious").read_text() == "mine"
    assert "no training run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--model.name", "yolo"], "lraspp-mtl"),
        (["--model.body", "resnet"], "mobilenet_v2"),
        (["--balancer.weighting", "fair"], "equal"),
        (["--model.name", "lraspp", "--balancer.gradient", "pcgrad"], "learns segmentation alone: leave it out"),
        (
            ["--model.name", "lraspp", "--balancer.weighting", "auto-lambda"],
            "auto-lambda compares the tasks' gradients",
        ),
        (["--model.name", "lraspp", "--balancer.measure_gradients", "true"], "--balancer.measure_gradients compares"),
        (["--balancer.measured_on", "deep"], "--balancer.measured_on deep is for gradients that nothing measures here"),
        (["--balancer.gradient", "DualBalancing", "--balancer.gradient.beta", "2"], "DB-MTL has beta 2.0"),
        (
            ["--balancer.gradient", "torchjd.aggregation.Krum", "--balancer.gradient.n_byzantine", "1"],
            "torchjd's Krum cannot balance 2 tasks (Parameter `gramian` should have at least 4 rows",
        ),
        (["--balancer.gradient", "torchjd.aggregation.Krum"], "Krum needs n_byzantine: set --balancer.gradient.n_byz"),
        (["--trainer.default_root_dir", "elsewhere"], "and so does --out: leave it out"),
        (["--wandb", "offline", "--trainer.logger", "false"], "--trainer.logger false for none: leave out one of them"),
        (
            ["--model.learnin_rate", "1"],
            "'model.learnin_rate': did you mean model.learning_rate? There are",
        ),
        (["--modell.learning_rate", "1"], "'modell.learning_rate': did you mean model.learning_rate?"),
        (
            ["--model.optimizer", "SGD", "--model.optimizer.nestrov", "true"],
            "did you mean nesterov? There are",
        ),
        (["--model.preset", "orignal"], "--model.preset is 'orignal': did you mean original? There are fair, original"),
        (["--trainer.callbacks+=EarlyStoping"], "names no class 'EarlyStoping': did you mean EarlyStopping?"),
        (["--trainer.precision", "16-mixd"], "did you mean 16-mixed? There are 32-true, bf16-mixed, 16-mixed, 32,"),
        (["--trainer.precision", "16-mixed"], "--trainer.precision 16-mixed needs a GPU: on the CPU choose bf16-mixed"),
        (["--trainer.max_epochs", "many"], "--trainer.max_epochs is many: give a whole number"),
        (["--data.size", "[8, 8]"], "32 pixels"),
        (["--config"], "--config names no file: name one such as config/train/lraspp-mtl.yaml"),
        (["--config", "nothing.yaml"], "There is no nothing.yaml, which --config names: name one such as config/train"),
        (["--trainer.accelerator", "abacus"], "abacus"),
        (["--trainer.max_epochs", "-1"], "max_epochs"),
        (["--trainer.devices", "0"], "devices"),
        (["--trainer.devices", "a"], "`devices` selected with `CPUAccelerator` should be an int > 0"),
        (
            ["--trainer.precision", "bf16-true"],
            "'bf16-true': did you mean bf16-mixed? There are 32-true, bf16-mixed, 16-mixed",
        ),
        (["--trainer.limit_val_batches", "0"], "Without validation no checkpoint is the best one"),
        (["--trainer.fast_dev_run", "true"], "try with --trainer.max_epochs 1 --trainer.limit_train_batches 2"),
        (["--ckpt_path", "best.ckpt"], "There is no setting 'ckpt_path': there are config, seed_everything, out,"),
        (["--trainer.gradient_clip_val=-1"], "--trainer.gradient_clip_val is -1: choose 0 or more"),
        (["--trainer.accumulate_grad_batches", "0"], "--trainer.accumulate_grad_batches is 0: choose 1 or more"),
        (["--trainer.devices", "9"], "fewer frames to train on than the 9 processes"),
        (["--trainer.strategy", "fsdp"], "choose auto, ddp"),
        (["--model.optimizer", "adam"], "did you mean adamw? All of them are adamw, sgd"),
        (["--model.schedule", "cosin"], "did you mean cosine?"),
        (["--model.warmup_steps", "-1"], "--model.warmup_steps is -1"),
        (["--ema", "1.5"], "decay of the averaged weights is 1.5"),
        (["--wandb", "offline"], "pip install wandb"),
        (["--data.photometric.hue", "0.9"], "photometric hue is 0.9: choose a value from 0 to 0.5"),
        (["--data.photometric.brightness", "-1"], "photometric brightness is -1: choose a value from 0 to 1"),
        (["--data.photometric.blur_length", "0"], "photometric blur_length is 0: choose a value from 1 to 101"),
        (["--data.photometric.grey", "abc"], "--data.photometric.grey is abc: give a number"),
        (["--data.batch_size", "1"], "frames to train on), or a larger --data.size"),
        (
            ["--data.batch_size", "1", "--model.name", "deeplabv3"],
            "train deeplabv3, which normalises the mean of a whole map over the batch: set --data.batch_size to 2 or "
            "more (with as many frames to train on).",
        ),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(data, tmp_path, capsys, arguments, named):
    assert train(data, tmp_path / "run", *arguments) == 2
    error = capsys.readouterr().err
    assert named in error, error
    assert error.startswith("mayhem train: ") and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(data, tmp_path, capsys):
    assert train(data, tmp_path / "run", "--trainer.accelerator", "gpu") == 2
    assert "torch finds no GPU: choose cpu or auto" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("model: {learning_rte: 0.1}", "'model.learning_rte': did you mean model.learning_rate?"),
        ("modell: {learning_rate: 0.1}", "'modell.learning_rate': did you mean model.learning_rate?"),
        ("model: [unclosed", "own.yaml, which --config names, is no YAML (line 1, column 17): correct it"),
        ("<?xml version='1.0'?><annotations/>", "own.yaml, which --config names, holds no settings of a training"),
        ('{"info": {}, "images": []}', "own.yaml, which --config names, holds no settings of a training"),
        ("", "own.yaml, which --config names, holds no settings of a training"),
    ],
)
def test_a_wrong_configuration_file_is_one_sentence(data, tmp_path, capsys, content, named):
    (tmp_path / "own.yaml").write_text(content)
    assert train(data, tmp_path / "run", "--config", str(tmp_path / "own.yaml")) == 2
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_missing_folder_is_told_before_any_weights_are_fetched(data, tmp_path, capsys):
    fetched = ["--model.body", "resnet50", "--model.weights", "imagenet"]
    assert train(data, tmp_path / "run", "--data.recordings", "nowhere", *fetched) == 1
    assert "There is no folder nowhere: name the one that holds the recordings" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "", "{", '{"images": []}', "not json"])
def test_an_unusable_index_is_one_sentence_and_exit_code_1(data, tmp_path, capsys, content):
    index = tmp_path / "broken.json"
    if content is not None:
        index.write_text(content)
    assert train(["--data.index", str(index), *data[2:]], tmp_path / "run") == 1
    error = capsys.readouterr().err
    assert "broken.json" in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_failed_start_keeps_the_run_that_is_there(run_folder, data, tmp_path, capsys):
    before = {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}
    assert train([*data[:3], str(tmp_path)], run_folder, "--force") == 1
    assert "is not in" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()} == before


def test_force_never_removes_the_data_it_is_to_train_on(data, tmp_path, capsys):
    index = tmp_path / "run" / "index.json"
    assert train(data, tmp_path / "run", "--trainer.max_epochs", "1") == 0
    index.write_bytes(Path(data[1]).read_bytes())
    capsys.readouterr()
    assert train(["--data.index", str(index), *data[2:]], tmp_path / "run", "--force") == 2
    assert "which would be deleted" in capsys.readouterr().err
    assert index.read_bytes() == Path(data[1]).read_bytes()


def test_before_the_first_validation_a_checkpoint_claims_nothing(data, tmp_path, capsys):
    assert train(data, tmp_path / "run", "--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "2") == 1
    assert "no validation ran" in capsys.readouterr().err
    trained, _ = load_trained_network(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert (trained.metrics, trained.score_thresholds) == ({}, {})


def test_a_run_never_goes_on_with_other_labels(data, tmp_path, capsys):
    index = tmp_path / "index.json"
    index.write_bytes(Path(data[1]).read_bytes())
    mine = ["--data.index", str(index), *data[2:]]
    assert train(mine, tmp_path / "run", "--trainer.max_epochs", "1") == 0
    index.write_text(index.read_text().replace("drive-b-000001.png", "relabelled.png"))
    capsys.readouterr()
    assert train(mine, tmp_path / "run", "--trainer.max_epochs", "2") == 2
    assert "another version of" in capsys.readouterr().err


def test_a_frame_that_a_worker_cannot_read_is_one_sentence(data, tmp_path, capsys):
    recordings = tmp_path / "recordings"
    shutil.copytree(data[3], recordings)
    shutil.rmtree(recordings / "drive-a")
    write_drive(recordings, "drive-a", FRAMES, width=60)
    options = ["--data.workers", "1", "--data.on_unreadable", "stop"]
    assert train([*data[:3], str(recordings)], tmp_path / "run", *options) == 1
    error = capsys.readouterr().err
    assert "is 60x48 pixels in" in error and ", but 64x48 in the dataset index" in error and error.count("\n") == 1


def test_validation_says_what_a_replay_of_the_exported_file_will_say(data, tmp_path):
    same_size = ["--data.size", "[96, 128]", "--trainer.max_epochs", "3", "--trainer.precision", "bf16-mixed"]
    assert train(data, tmp_path / "run", *same_size) == 0
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert main(["export", str(checkpoint), "--out", str(tmp_path / "model.onnx")]) == 0
    model = OnnxModel(tmp_path / "model.onnx", provider="cpu")
    index = DatasetIndex.load(Path(data[1])).split("val")
    scorer = Scorer(model.card, index)
    with Recording(Path(data[3]) / "drive-b") as recording:
        for image in index.images:
            (prediction,) = model.predict(recording.read_image(image.topic, image.index)[None])
            scorer.add(image, prediction)
    scores = scorer.compute()
    metrics = model.card.origin.metrics
    assert metrics["iou/floor"] == pytest.approx(scores.segmentation.iou["floor"], abs=5e-3)
    assert metrics["iou/background"] == pytest.approx(scores.segmentation.iou["background"], abs=5e-3)
    assert metrics["ap50/agv"] == pytest.approx(scores.detection.per_class["agv"].ap50, abs=0.02)


def test_a_loss_that_is_not_finite_names_task_step_and_frames(data, tmp_path, capsys):
    assert train(data, tmp_path / "run", "--model.learning_rate", "1e30", "--model.warmup_steps", "0") == 1
    error = capsys.readouterr().err
    assert "loss is" in error and "drive-" in error and "--model.learning_rate" in error and error.count("\n") == 1


def damage(drive: Path, *indices: int) -> None:
    """Names another encoding in these frames, so that nothing can decode them."""
    (file,) = (path for path in drive.iterdir() if path.suffix != ".yaml")
    parts = file.read_bytes().split(b"rgb8")
    assert len(parts) == FRAMES + 1
    file.write_bytes(b"".join(a + (b"rgb9" if n in indices else b"rgb8") for n, a in enumerate(parts[:-1])) + parts[-1])


@pytest.mark.parametrize("batch_size", ["1", "2"])
def test_a_frame_that_cannot_be_read_costs_no_more_than_its_batch(data, tmp_path, capsys, batch_size):
    recordings = tmp_path / "recordings"
    shutil.copytree(data[3], recordings)
    damage(recordings / "drive-b", 3)  # alone in the last batch of validation, and of two images one in training
    damage(recordings / "drive-a", 1)
    index = json.loads(Path(data[1]).read_text())
    others = [image | {"id": 100 + number, "split": "unused"} for number, image in enumerate(index["images"] * 5)]
    index["images"] += others  # so many that two are few
    (tmp_path / "index.json").write_text(json.dumps(index))
    mine = ["--data.index", str(tmp_path / "index.json"), "--data.recordings", str(recordings)]
    size = ["--data.size", "[160, 192]"] if batch_size == "1" else []
    options = ["--trainer.max_epochs", "1", "--data.batch_size", batch_size, *size]
    assert train(mine, tmp_path / "run", *options) == 0
    captured = capsys.readouterr()
    assert "2 frames could not be read and were left out: drive-a-000001.png, drive-b-000003.png." in captured.err
    assert "returned `None`" not in captured.err
    metrics = load_trained_network(tmp_path / "run" / "checkpoints" / "best.ckpt")[0].metrics
    assert {"map", "mean_iou", "iou/floor"} <= set(metrics)
    assert all(np.isfinite(value) for value in metrics.values())


def test_one_image_a_step_trains_where_the_input_is_large_enough(data, tmp_path):
    larger = ["--data.batch_size", "1", "--data.size", "[160, 192]", "--trainer.max_epochs", "1"]
    assert train(data, tmp_path / "run", *larger) == 0


def test_help_lists_the_settings_of_every_part(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--help"])
    assert stopped.value.code == 0
    listed = capsys.readouterr().out
    for setting in (
        "--model.learning_rate",
        "--data.batch_size",
        "--balancer.weighting",
        "--trainer.max_epochs",
        "--out",
    ):
        assert setting in listed
