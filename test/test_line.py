"""The whole line, small: what the node publishes for a drive is what the exported model says of its frames."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mayhem_ros.onnx_model import OnnxModel
from mayhem_train.cli import main
from mayhem_train.commands.demo import demo_steps
from mayhem_train.commands.verbs import VERBS
from mayhem_train.datasets.index import DatasetIndex
from mayhem_train.evaluation.playback.settings import LOCK_STEP_THRESHOLD
from mayhem_train.evaluation.scoring.scorer import Scorer
from mayhem_train.recordings.recording import Recording

FRAMES = 6
CONFIGURATION = Path(__file__).parents[1] / "config" / "train" / "lraspp-mtl.yaml"


@pytest.mark.timeout(600)
def test_from_synthetic_drives_to_a_scored_replay(tmp_path: Path) -> None:
    drives, index, run, model, report = (
        tmp_path / name for name in ("drives", "index.json", "run", "m.onnx", "report")
    )
    held_out = drives / "warehouse-s3-1"
    labels = [str(drives / "annotations" / f"warehouse-s3-{number}.xml") for number in (0, 1)]
    size = ["--data.size", "[96, 128]", "--data.workers", "0", "--data.batch_size", "3"]
    data = ["--data.index", str(index), "--data.recordings", str(drives)]
    network = ["--model.body", "mobilenet_v2", "--trainer.max_epochs", "10", "--trainer.check_val_every_n_epoch", "5"]
    commands = [
        ["synthesise", str(drives), "--frames", str(FRAMES), "--seed", "3", "--size", "160x120"],
        ["import-cvat", *labels, "--recordings", str(drives), "--out", str(index), "--val", held_out.name],
        ["train", "--config", str(CONFIGURATION), *data, *size, *network, "--out", str(run)],
        ["export", str(run / "checkpoints" / "last.ckpt"), "--out", str(model), "--recording", str(held_out)],
        ["replay", str(held_out), "--model", str(model), "--index", str(index), "--out", str(report)],
    ]
    for command in commands:
        assert main(command) == 0, command

    found = json.loads((report / "report.json").read_text())
    assert found["frames"] == {"in": FRAMES, "out": FRAMES, "lost": 0, "undecodable": 0, "scored": FRAMES}
    assert found["model"]["origin"]["model"] == "lraspp-mtl on mobilenet_v2"
    assert found["dataset"]["sha256"] == found["model"]["origin"]["dataset_sha256"]

    truth = DatasetIndex.load(index).split("val")
    direct = OnnxModel(model)
    scorer = Scorer(direct.card, truth)
    with Recording(held_out) as recording:
        for image in truth.images:
            (prediction,) = direct.predict(recording.read_image(image.topic, image.index)[None])
            lowest = {kind.id: LOCK_STEP_THRESHOLD for kind in direct.card.detection_classes}
            scorer.add(image, prediction.above(lowest))
    expected = scorer.compute()
    assert expected.segmentation is not None and expected.detection is not None
    assert found["segmentation"]["classes"] == pytest.approx(expected.segmentation.iou)
    assert found["detection"]["ap50"] == pytest.approx(expected.detection.ap50)
    assert 0 < found["segmentation"]["classes"]["floor"] < 1


def test_the_demonstration_is_made_of_the_projects_own_commands(tmp_path: Path) -> None:
    steps = demo_steps(tmp_path / "a folder")
    assert [step.command[0] for step in steps] == [
        "synthesise",
        "synthesise",
        "import-cvat",
        "train",
        "export",
        "replay",
    ]
    assert all(step.command[0] in VERBS for step in steps)
    named = [word for step in steps for word in step.command if "a folder" in word]
    assert named and all(Path(word).is_relative_to(tmp_path / "a folder") for word in named)


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_the_demonstration_touches_no_folder_that_holds_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], force: list[str]
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text("mine")
    assert main(["demo", "--out", str(tmp_path), *force]) == 2
    assert "something else than a demonstration" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert (tmp_path / "report" / "report.json").read_text() == "mine"
