"""A network is not trained on labels that it has nothing to learn from, nor judged by those that are not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_runs import train, write_dataset

from mayhem_train.training.trained_network import load_trained_network


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_dataset(tmp_path_factory.mktemp("data"))


def without(data: list[str], folder: Path, dropped: Callable[[str, bool], bool]) -> list[str]:
    """The dataset without the annotations of which (split, is a thing) says so, hand-edited as it were."""
    index = json.loads(Path(data[1]).read_text())
    splits = {image["id"]: image["split"] for image in index["images"]}
    things = {category["id"]: bool(category["isthing"]) for category in index["categories"]}

    def stays(annotation: dict[str, Any]) -> bool:
        return not dropped(splits[annotation["image_id"]], things[annotation["category_id"]])

    index["annotations"] = [annotation for annotation in index["annotations"] if stays(annotation)]
    (folder / "index.json").write_text(json.dumps(index))
    return ["--data.index", str(folder / "index.json"), *data[2:]]


@pytest.mark.parametrize(
    ("things", "said"),
    [
        (True, "No frame to train on has a box, so there is no detection to learn: label some, or choose a"),
        (False, "No frame to train on has a surface, so there is no segmentation to learn: label some, or choose a"),
    ],
)
def test_a_task_without_any_label_is_refused(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], things: bool, said: str
) -> None:
    unlabelled = without(data, tmp_path, lambda split, thing: split == "train" and thing is things)
    assert train(unlabelled, tmp_path / "run", "--trainer.max_epochs", "1") == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_surface_that_validation_lacks_is_told_and_not_scored(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or a network that calls everything background would be the best."""
    unlabelled = without(data, tmp_path, lambda split, thing: split == "val" and not thing)
    assert train(unlabelled, tmp_path / "run", "--trainer.max_epochs", "1") == 0
    told = capsys.readouterr()
    assert "Warning: no frame to validate on shows floor, which is not scored." in told.err
    assert "mIoU n/a (background " in told.out and "floor n/a)" in told.out
    metrics = load_trained_network(tmp_path / "run" / "checkpoints" / "best.ckpt")[0].metrics
    assert metrics["mean_iou"] is None and metrics["score"] == metrics["map"]


def test_all_labels_there_is_nothing_to_tell(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data, tmp_path / "run", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1") == 0
    told = capsys.readouterr()
    assert "Warning" not in told.err
    assert "epoch 1/1  step 1  " in told.out, "one batch is one batch, and not all of them"
