"""`mayhem test`: scores a checkpoint or an exported file on a split, and writes all it found or nothing."""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import evaluation_small_drive as drive
import numpy as np
import pytest
import torch
from robot_small_model import card, save_model, with_nan_scores

from mayhem_ros.errors import MayhemError
from mayhem_train.commands import test as command
from mayhem_train.datasets.index import BoxLabel, DatasetIndex
from mayhem_train.export.onnx_file import export_checkpoint
from mayhem_train.export.parity import generated_images
from mayhem_train.models.network import build_network
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.training.trained_network import CHECKPOINT_KEY, TrainedNetwork

FILES = {
    ".mayhem-scores",
    "metrics.json",
    "metrics.csv",
    "frames.csv",
    "report.html",
    "pr-curves.png",
    "box-confusion.png",
    "pixel-confusion.png",
}


def run(*arguments: object) -> int:
    """The command as `mayhem test` runs it: its exit code, its sentence on stderr."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    try:
        return command.run(parser.parse_args([str(argument) for argument in arguments]))
    except MayhemError as error:
        print(f"mayhem test: {error}", file=sys.stderr)
        return error.exit_code


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder with recordings/drive and index.json."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "recordings").mkdir()
    drive.write_drive(folder / "recordings" / "drive", corrupt=False)
    drive.labels("drive").save(folder / "index.json")
    return folder


@pytest.fixture(scope="module")
def model(data) -> Path:
    return save_model(data / "model.onnx")


@pytest.fixture(scope="module")
def tested(data, model) -> Path:
    """What the command writes for the small model; frame 3 sees no box, its one agv is missed."""
    out = data / "tested"
    assert run(model, *named(data), "--out", out) == 0
    return out


def named(data: Path) -> list[object]:
    return ["--data.index", data / "index.json", "--data.recordings", data / "recordings"]


def read(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_every_file_is_written_and_holds_what_its_name_says(tested):
    assert {path.name for path in tested.iterdir()} == FILES | {"worst"}
    for path in [*tested.glob("*.png"), *tested.glob("worst/*.png")]:
        picture = cv2.imread(str(path))
        assert picture is not None and picture.std() > 1, f"{path.name} shows nothing"
    assert "<script" not in (tested / "report.html").read_text()


def test_the_figures_are_those_worked_out_by_hand(tested):
    metrics = read(tested)
    detection, segmentation = metrics["detection"], metrics["segmentation"]
    # Of five agv four are found: frame 3 sees as many boxes as the others say, one.
    found = {name: values["ap"] for name, values in detection["classes"].items()}
    assert found == pytest.approx({"person": 1.0, "box": 1.0, "agv": 81 / 101})
    assert detection["classes"]["agv"]["recall"] == 4 / 5
    assert (detection["ap_medium"], detection["ap_large"]) == (None, None), "every box is small"
    assert detection["ap_small"] == detection["map"]
    assert segmentation["classes"]["floor"]["iou"] == pytest.approx(drive.FLOOR_IOU)
    assert segmentation["classes"]["floor"]["false_rate"] == pytest.approx(2 / 14)  # rows 12 and 13 of the upper 14
    assert segmentation["classes"]["floor"]["boundary_f1"] == 0.0  # 2 rows off, and 0.3 would be right
    assert segmentation["recall_like_miou"] == 1.0
    assert segmentation["mean_iou"] == pytest.approx((drive.FLOOR_IOU + drive.BACKGROUND_IOU) / 2)
    assert metrics["frames"] == {"scored": 5, "unreadable": []}
    assert metrics["delta_m"] is None


def test_the_confusions_add_up_to_what_is_labelled(tested):
    metrics = read(tested)
    boxes, pixels = metrics["detection"]["confusion"], metrics["segmentation"]["confusion"]
    # The person on frames 1 and 4 is above its threshold, the box on frame 4 is below it.
    assert boxes["classes"] == ["nothing", "person", "box", "agv"]
    assert boxes["counts"] == [[0, 0, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [1, 0, 0, 4]]
    assert pixels["classes"] == ["background", "floor"]
    assert pixels["counts"] == [[5 * 12 * 32, 5 * 2 * 32], [0, 5 * 10 * 32]]


def test_the_table_names_every_class_and_says_where_nothing_applies(tested):
    with (tested / "metrics.csv").open() as file:
        rows = {(row["kind"], row["class"]): row for row in csv.DictReader(file)}
    assert list(rows) == [
        ("box", "person"),
        ("box", "box"),
        ("box", "agv"),
        ("surface", "background"),
        ("surface", "floor"),
    ]
    assert rows["box", "agv"]["ap_large"] == "n/a"
    assert float(rows["box", "agv"]["ap"]) == pytest.approx(81 / 101, abs=1e-6)
    assert rows["box", "agv"]["iou"] == ""
    assert float(rows["surface", "floor"]["iou"]) == pytest.approx(drive.FLOOR_IOU, abs=1e-6)


def test_the_worst_frames_come_first_with_their_faults(tested):
    metrics = read(tested)
    scores = [frame["score"] for frame in metrics["worst_frames"]]
    assert scores == sorted(scores) and len(scores) == 5
    worst = metrics["worst_frames"][0]
    assert worst["name"] == "drive-000002.png"
    assert worst["faults"] == ["1 of 1 agv missed", "14.3% of what is no floor called floor"]
    assert [path.name for path in sorted(tested.glob("worst/*.png"))] == [
        f"{place:02d}-{frame['name']}" for place, frame in enumerate(metrics["worst_frames"], start=1)
    ]
    with (tested / "frames.csv").open() as file:
        faults = {row["frame"]: row["faults"] for row in csv.DictReader(file)}
    assert faults["drive-000002.png"] == "; ".join(worst["faults"])
    assert len(faults) == 5


def test_the_gallery_shows_truth_and_prediction_side_by_side(tested):
    picture = cv2.cvtColor(cv2.imread(str(tested / "worst" / "01-drive-000002.png")), cv2.COLOR_BGR2RGB)
    height, width = picture.shape[:2]
    frame_height = round(480 * drive.HEIGHT / drive.WIDTH)
    rows = {row: height - frame_height + round((row + 0.5) * frame_height / drive.HEIGHT) for row in (3, 13, 18)}
    left, right = 440, width - 440
    green = picture[..., 1].astype(int) - picture[..., 0]
    assert picture[rows[18], left].tolist() == picture[rows[18], right].tolist(), "floor in both"
    assert green[rows[13], right] - green[rows[13], left] > 50, "floor in the prediction only"
    assert np.abs(picture[rows[3], left].astype(int) - picture[rows[3], right]).max() < 3, "background in both"


def test_the_worst_can_be_left_out(data, model, tmp_path):
    assert run(model, *named(data), "--out", tmp_path / "out", "--worst", 0) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert read(tmp_path / "out")["worst_frames"] == []


@pytest.mark.parametrize(("task", "absent"), [("detection", "segmentation"), ("segmentation", "detection")])
def test_a_single_task_model_is_judged_by_its_task_only(data, tmp_path, task, absent):
    assert run(save_model(tmp_path / "one.onnx", task), *named(data), "--out", tmp_path / "out") == 0
    metrics = read(tmp_path / "out")
    assert metrics[absent] is None and metrics[task] is not None
    assert (tmp_path / "out" / "pixel-confusion.png").exists() == (task == "segmentation")
    assert (tmp_path / "out" / "box-confusion.png").exists() == (task == "detection")


def test_a_class_without_ground_truth_is_not_applicable_never_zero(data, model, tmp_path, capsys):
    index = drive.labels("drive")
    without = tuple(
        replace(image, boxes=tuple(box for box in image.boxes if box.category_id != drive.BOX))
        for image in index.images
    )
    replace(index, images=without).save(tmp_path / "index.json")
    places = ["--data.index", tmp_path / "index.json", "--data.recordings", data / "recordings"]
    assert run(model, *places, "--out", tmp_path / "out") == 0
    values = read(tmp_path / "out")["detection"]["classes"]["box"]
    assert (values["ap"], values["ap50"], values["recall"]) == (None, None, None)
    assert re.search(r"box +n/a +n/a +n/a", capsys.readouterr().out)


def test_the_split_is_the_one_asked_for_and_test_before_val(data, model, tmp_path, capsys):
    index = drive.labels("drive")
    splits = ("val", "val", "test", "val", "train")
    images = tuple(replace(image, split=split) for image, split in zip(index.images, splits, strict=True))
    replace(index, images=images).save(tmp_path / "index.json")
    places = ["--data.index", tmp_path / "index.json", "--data.recordings", data / "recordings"]
    for options, split, count in (([], "test", 1), (["--split", "val"], "val", 3), (["--split", "train"], "train", 1)):
        assert run(model, *places, "--out", tmp_path / split, *options) == 0
        metrics = read(tmp_path / split)
        assert (metrics["dataset"]["split"], metrics["frames"]["scored"]) == (split, count)
    capsys.readouterr()
    assert run(model, *places, "--out", tmp_path / "none", "--split", "holdout") == 2
    error = capsys.readouterr().err
    assert "has no split 'holdout', it has test, train, val" in error and error.count("\n") == 1
    assert not (tmp_path / "none").exists()


SPECIFICATION = NetworkSpecification("lraspp-mtl", "mobilenet_v2", 96, 128, ("person", "agv"), ("floor",))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A checkpoint whose scores are not tied, as training leaves them."""
    torch.manual_seed(0)
    network = build_network(SPECIFICATION, "none")
    with torch.no_grad():
        for parameter in network.heads.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    network.train()
    with torch.no_grad():
        for _ in range(3):  # calibrates batch normalisation
            network(torch.stack([torch.from_numpy(i) for i in generated_images(4, 96, 128)]).permute(0, 3, 1, 2))
    trained = TrainedNetwork(SPECIFICATION, {"person": 0.1, "agv": 0.2}, {}, "equal", 0, "0" * 64, "test")
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    weights = {f"network.{name}": value for name, value in network.eval().state_dict().items()}
    torch.save({"state_dict": weights, CHECKPOINT_KEY: trained.to_dict()}, path)
    return path


def numbers(value: object, place: str = "") -> dict[str, float]:
    """Every number of a JSON document by where it stands."""
    if isinstance(value, dict):
        return {at: n for key, part in value.items() for at, n in numbers(part, f"{place}.{key}").items()}
    if isinstance(value, list):
        return {at: n for k, part in enumerate(value) for at, n in numbers(part, f"{place}[{k}]").items()}
    return {place: float(value)} if isinstance(value, (int, float)) else {}


def test_a_checkpoint_and_its_export_score_the_same(data, checkpoint, tmp_path):
    exported = tmp_path / "model.onnx"
    assert export_checkpoint(checkpoint, exported).detections > 20
    # What the network sees on the first frame is made the truth, so that something is right.
    model = command._open(exported, "cpu", 1)
    index = drive.labels("drive")
    index = replace(index, images=tuple(replace(image, boxes=agv_boxes(model, image)) for image in index.images))
    index.save(tmp_path / "index.json")
    places = ["--data.index", tmp_path / "index.json", "--data.recordings", data / "recordings"]
    for path, out in ((checkpoint, "torch"), (exported, "onnx")):
        assert run(path, *places, "--provider", "cpu", "--out", tmp_path / out) == 0
    ours, theirs = (
        {key: read(tmp_path / out)[key] for key in ("detection", "segmentation")} for out in ("torch", "onnx")
    )
    assert ours["detection"]["classes"]["agv"]["ap50"] > 0.01
    assert numbers(ours) == pytest.approx(numbers(theirs), abs=1e-4)


def agv_boxes(model: command.Predictor, image) -> tuple[BoxLabel, ...]:
    pixels = np.zeros((drive.HEIGHT, drive.WIDTH, 3), np.uint8)
    pixels[12:, :, 0] = 200
    pixels[0, 0, 2] = drive.SEEN[image.index]
    (prediction,) = model.predict(pixels[None])
    best = prediction.boxes[prediction.labels == 2][:3]
    return tuple(BoxLabel(drive.AGV, tuple(box)) for box in best.tolist())


def test_delta_m_is_held_against_single_task_results_of_the_same_frames(data, tested, model, tmp_path, capsys):
    alone = []
    for task, figure, value in (("detection", "map", 0.5), ("segmentation", "mean_iou", 0.9)):
        one = tmp_path / task
        assert run(save_model(tmp_path / f"{task}.onnx", task), *named(data), "--out", one) == 0
        metrics = read(one)
        metrics[task][figure] = value
        (one / "metrics.json").write_text(json.dumps(metrics))
        alone.append(one)
    capsys.readouterr()
    assert run(model, *named(data), "--out", tmp_path / "out", "--against", *alone) == 0
    metrics = read(tmp_path / "out")
    changes = metrics["detection"]["map"] / 0.5 - 1, metrics["segmentation"]["mean_iou"] / 0.9 - 1
    assert metrics["delta_m"]["changes"] == pytest.approx(
        dict(zip(("detection", "segmentation"), changes, strict=True))
    )
    assert metrics["delta_m"]["delta_m"] == pytest.approx(sum(changes) / 2)
    assert f"Δm {sum(changes) / 2:+.2%}" in capsys.readouterr().out


def spoil(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        metrics = read(folder)
        change(metrics)
        (folder / "metrics.json").write_text(json.dumps(metrics))

    return write


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (lambda folder: (folder / "metrics.json").unlink(), 1, "No such file or directory"),
        (lambda folder: (folder / "metrics.json").write_text("{}"), 1, "holds no results"),
        (lambda folder: (folder / "metrics.json").write_text("not json"), 1, "holds no results"),
        (spoil(lambda m: m["dataset"].update(split="train")), 2, "scored on other frames"),
        (spoil(lambda m: m["dataset"].update(sha256="0" * 64)), 2, "scored on other frames"),
        (spoil(lambda m: m.update(segmentation={"mean_iou": 0.5})), 2, "is of 2 tasks"),
        (spoil(lambda m: m["detection"].update(map=None)), 2, "is n/a"),
        (spoil(lambda m: m["detection"].update(map=0)), 2, "is 0"),
        (lambda folder: None, 2, "name results of each of its tasks"),
    ],
)
def test_results_that_cannot_be_compared_with_are_one_sentence(data, model, tmp_path, capsys, change, code, told):
    one = tmp_path / "detection"
    assert run(save_model(tmp_path / "one.onnx", "detection"), *named(data), "--out", one, "--worst", 0) == 0
    change(one)
    capsys.readouterr()
    assert run(model, *named(data), "--out", tmp_path / "out", "--against", one) == code
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_kept_unless_forced(data, model, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("precious")
    assert run(model, *named(data), "--out", out) == 2
    assert "--force" in capsys.readouterr().err
    assert (out / "mine").read_text() == "precious"
    assert run(model, *named(data), "--out", out, "--force") == 2
    assert "holds mine, which is nothing that --force may replace" in capsys.readouterr().err
    (out / "mine").unlink()
    for _ in range(2):
        assert run(model, *named(data), "--out", out, "--force", "--worst", 0) == 0
    assert {path.name for path in out.iterdir()} == FILES


def test_what_is_to_be_read_is_never_replaced(data, model, tmp_path, capsys):
    assert run(model, *named(data), "--out", data, "--force") == 2
    assert "which would be deleted" in capsys.readouterr().err
    assert (data / "index.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["no.onnx"], 1, "There is no model file no.onnx"),
        (["no.ckpt"], 1, "no.ckpt (No such file or directory)"),
        (["{data}"], 2, "is a folder: name a checkpoint in it"),
        (["{model}", "--provider", "abacus"], 2, "'abacus' is none of auto, cpu"),
        (["{checkpoint}", "--provider", "tensorrt"], 2, "runs on cpu or cuda, not on tensorrt"),
        (["{model}", "--worst", "-1"], 2, "--worst is -1"),
        (["{model}", "--threads", "-1"], 2, "threads is -1"),
        (["{checkpoint}", "--threads", "-1"], 2, "threads is -1"),
        (["{model}", "--data.index", "no.json"], 1, "Cannot read the dataset index no.json"),
        (["{model}", "--data.recordings", "nowhere"], 1, "nowhere"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(
    data, model, checkpoint, tmp_path, capsys, arguments, code, told
):
    places = {"data": data, "model": model, "checkpoint": checkpoint}
    first, *rest = (argument.format(**places) for argument in arguments)
    assert run(first, *named(data), *rest, "--out", tmp_path / "out") == code
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_other_classes_is_refused(data, tmp_path, capsys):
    def rename(proto) -> None:
        other = replace(
            card(),
            detection_classes=tuple(replace(c, name=f"other {c.name}") for c in card().detection_classes),
            segmentation_classes=(card().segmentation_classes[0], replace(card().segmentation_classes[1], name="ice")),
        )
        proto.metadata_props[0].value = other.to_json()

    model = save_model(tmp_path / "other.onnx", change=rename)
    assert run(model, *named(data), "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "nothing can be scored" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_frame_on_which_the_model_gives_nonsense_is_named(data, tmp_path, capsys):
    model = save_model(tmp_path / "model.onnx", change=with_nan_scores)
    assert run(model, *named(data), "--out", tmp_path / "out") == 1
    assert "drive-000000.png could not be tested" in (said := capsys.readouterr().err)
    assert "model.onnx gave the score nan: train or export it again" in said
    assert not (tmp_path / "out").exists()


def test_a_frame_that_cannot_be_read_is_named_left_out_and_counted(model, tmp_path, capsys):
    (tmp_path / "recordings").mkdir()
    drive.write_drive(tmp_path / "recordings" / "drive")
    drive.labels("drive").save(tmp_path / "index.json")
    assert run(model, *named(tmp_path), "--out", tmp_path / "out") == 0
    assert read(tmp_path / "out")["frames"] == {"scored": 4, "unreadable": ["drive-000003.png"]}
    assert read(tmp_path / "out")["detection"]["map"] == pytest.approx(drive.MAP)
    error = capsys.readouterr().err
    assert "Left out: Frame drive-000003.png cannot be read" in error and "1 unreadable frame was left out" in error


def test_many_unreadable_frames_stop_the_test(model, tmp_path, capsys):
    (tmp_path / "recordings").mkdir()
    drive.write_drive(tmp_path / "recordings" / "drive")
    index = drive.labels("drive")
    damaged = tuple(replace(image, id=10 + k, index=drive.CORRUPT) for k, image in enumerate(index.images[:2]))
    replace(index, images=(*damaged, *index.images)).save(tmp_path / "index.json")
    assert run(model, *named(tmp_path), "--out", tmp_path / "out") == 1
    assert "2 of 7 frames could not be read" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_frames_are_found_among_extracted_images(data, model, tested, tmp_path):
    index = drive.labels("drive")
    images = []
    for image in index.images:
        pixels = np.zeros((drive.HEIGHT, drive.WIDTH, 3), np.uint8)
        pixels[12:, :, 2] = 200  # BGR
        pixels[0, 0, 0] = drive.SEEN[image.index]
        cv2.imwrite(str(tmp_path / image.name), pixels)
        images.append(replace(image, file_name=image.name))
    replace(index, images=tuple(images)).save(tmp_path / "index.json")
    places = ["--data.index", tmp_path / "index.json", "--data.images", tmp_path]
    assert run(model, *places, "--out", tmp_path / "out") == 0
    ours, theirs = read(tmp_path / "out"), read(tested)
    assert (ours["detection"], ours["segmentation"]) == (theirs["detection"], theirs["segmentation"])


def test_an_index_without_surfaces_is_judged_by_boxes_only(data, model, tmp_path):
    index = drive.labels("drive")
    things = DatasetIndex(index.things, tuple(replace(image, surfaces=()) for image in index.images))
    things.save(tmp_path / "index.json")
    places = ["--data.index", tmp_path / "index.json", "--data.recordings", data / "recordings"]
    assert run(model, *places, "--out", tmp_path / "out") == 0
    metrics = read(tmp_path / "out")
    assert metrics["segmentation"] is None and metrics["detection"]["map"] > 0.9
    assert metrics["missing_in_index"] == ["floor"]
