"""The exported file: self-describing, of any batch and size, and never written when it disagrees with torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from models_small_body import small_body
from torch import nn

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.onnx_model import OnnxModel
from mayhem_ros.prediction import Prediction
from mayhem_train.cli import main
from mayhem_train.export.deployable import DeployableNetwork
from mayhem_train.export.onnx_file import export_checkpoint, model_card
from mayhem_train.export.parity import check_parity, generated_images, largest_differences
from mayhem_train.models.bodies import BODIES
from mayhem_train.models.network import MultiTaskNetwork, build_network
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.training.trained_network import CHECKPOINT_KEY, TrainedNetwork

SPECIFICATION = NetworkSpecification("lraspp-mtl", "mobilenet_v2", 96, 128, ("person", "agv"), ("floor",))


def medians(logits: torch.Tensor) -> torch.Tensor:
    """float [C] of float [C, P]."""
    return logits.median(dim=1).values


def untie(network: MultiTaskNetwork, middles: Callable[[torch.Tensor], torch.Tensor] = medians) -> MultiTaskNetwork:
    """Fresh heads tie the scores of all boxes; weights of the size that training gives them tell them apart.

    Args:
        network: of which only the heads become others.
        middles: of each class's logits [C, P], what is to become 0.
    """
    height, width = network.specification.height, network.specification.width
    with torch.no_grad():
        for layer in network.heads.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
        network.train()
        images = torch.stack([torch.from_numpy(image) for image in generated_images(4, height, width)])
        for _ in range(3):  # calibrates batch normalisation
            network(images.permute(0, 3, 1, 2))
        if "segmentation" in network.tasks:  # neither class may win everywhere
            logits = network.eval()(images.permute(0, 3, 1, 2))["segmentation"]
            levels = middles(logits.transpose(0, 1).flatten(1))
            biases = [p for p in network.heads["segmentation"].parameters() if p.shape == levels.shape]
            biases[-1].sub_(levels)
    return network.eval()


def untied_network() -> MultiTaskNetwork:
    torch.manual_seed(0)
    return untie(build_network(SPECIFICATION, "none"))


@pytest.fixture(scope="module")
def trained() -> TrainedNetwork:
    return TrainedNetwork(
        SPECIFICATION, {"person": 0.4, "agv": 0.25}, {"map": 0.5, "iou/floor": 0.9}, "equal", 7, "ab" * 32, "c0ffee"
    )


def write_checkpoint(path: Path, trained: TrainedNetwork, network: MultiTaskNetwork) -> Path:
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": weights, CHECKPOINT_KEY: trained.to_dict()}, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, trained) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt", trained, untied_network())


@pytest.fixture(scope="module")
def exported(checkpoint) -> Path:
    """As the command line writes it, over a file that was there."""
    out = checkpoint.parent / "model.onnx"
    out.write_text("mine")
    assert main(["export", str(checkpoint), "--out", str(out), "--force"]) == 0
    return out


def test_the_exported_file_says_what_torch_says(exported):
    parity = check_parity(DeployableNetwork(untied_network()), exported, generated_images(), shown_as=exported)
    assert parity.detections > 20, "nothing was compared"
    assert parity.score_difference <= 1e-5
    assert parity.mask_agreement >= 0.9999


def test_the_card_tells_classes_thresholds_input_and_origin(exported, trained):
    card = OnnxModel(exported, provider="cpu").card
    assert card == model_card(trained, ("detection", "segmentation"))
    assert [(c.id, c.name, c.score_threshold) for c in card.detection_classes] == [(1, "person", 0.4), (2, "agv", 0.25)]
    assert [(c.id, c.name) for c in card.segmentation_classes] == [(0, "background"), (1, "floor")]
    assert (card.input.height, card.input.width) == (96, 128)
    assert card.origin.dataset_sha256 == "ab" * 32
    assert card.origin.metrics == {"map": 0.5, "iou/floor": 0.9}


@pytest.mark.parametrize("shape", [(1, 480, 640), (3, 121, 77), (2, 96, 128)])
def test_any_batch_and_any_size_equal_torch(exported, checkpoint, shape):
    count, height, width = shape
    images = np.stack(generated_images(count, height, width))
    deployable = DeployableNetwork(untied_network())
    with torch.inference_mode():
        boxes, scores, labels, counts, mask, confidence = (v.numpy() for v in deployable(torch.from_numpy(images)))
    predictions = OnnxModel(exported, provider="cpu").predict(images)
    for place, prediction in enumerate(predictions):
        found = int(counts[place])
        assert len(prediction.boxes) == found > 0
        np.testing.assert_allclose(prediction.scores, scores[place, :found], atol=1e-5)
        np.testing.assert_array_equal(np.sort(prediction.labels), np.sort(labels[place, :found]))
        np.testing.assert_allclose(prediction.boxes[0], boxes[place, 0], atol=1e-2)
        assert prediction.mask.shape == (height, width)
        assert (prediction.mask == mask[place]).mean() >= 0.9999
        assert np.abs(prediction.mask_confidence.astype(int) - confidence[place]).max() <= 1
    assert all((p.boxes <= [width, height, width, height]).all() and (p.boxes >= 0).all() for p in predictions)


def test_a_batch_says_what_its_images_say_alone(exported):
    images = np.stack(generated_images(3, 120, 160))
    model = OnnxModel(exported, provider="cpu")
    for together, image in zip(model.predict(images), images, strict=True):
        (alone,) = model.predict(image[None])
        np.testing.assert_allclose(together.scores, alone.scores, atol=1e-5)
        np.testing.assert_array_equal(together.mask, alone.mask)


def test_a_mask_that_disagrees_is_refused(exported):
    network = untied_network()
    check_parity(DeployableNetwork(network), exported, generated_images(2), shown_as=exported)
    with torch.no_grad():
        for classifier in (
            network.heads["segmentation"].classifier.low_classifier,
            network.heads["segmentation"].classifier.high_classifier,
        ):
            classifier.weight.neg_()
            classifier.bias.neg_()
    with pytest.raises(MayhemError, match=r"model\.onnx was not written.*mask's pixels"):
        check_parity(DeployableNetwork(network), exported, generated_images(2), shown_as=exported)


def test_boxes_that_disagree_are_refused(exported):
    network = untied_network()
    network.heads["detection"].default_boxes += 3.0
    with pytest.raises(MayhemError, match=r"model\.onnx was not written.*detection scored"):
        check_parity(DeployableNetwork(network), exported, generated_images(2), shown_as=exported)


@pytest.mark.parametrize("score", [0.9, 0.011])
def test_a_single_detection_that_only_one_of_both_has_is_refused(score):
    nothing = Prediction(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    one = Prediction(np.array([[1, 2, 30, 40]], np.float32), np.array([score], np.float32), np.array([1]))
    other_class = replace(one, labels=np.array([2]))
    assert largest_differences(one, one, Path("model.onnx")) == (0, 0)
    for other in (nothing, other_class):
        with pytest.raises(MayhemError, match=f"detection scored {score:.3f} is missing"):
            largest_differences(one, other, Path("model.onnx"))


def test_scores_that_disagree_are_refused(exported):
    network = untied_network()
    with torch.no_grad():
        for level in network.heads["detection"].predictors.classification_head.module_list:
            level[1].weight.mul_(1.001)
    with pytest.raises(MayhemError, match=r"model\.onnx was not written.*scores differ by"):
        check_parity(DeployableNetwork(network), exported, generated_images(2), shown_as=exported)


def test_a_refused_export_leaves_nothing_behind(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(BODIES, "small", small_body)
    specification = replace(SPECIFICATION, name="lraspp", body="small")
    network = build_network(specification, "none")
    checkpoint = write_checkpoint(tmp_path / "best.ckpt", replace(trained, specification=specification), network)
    monkeypatch.setattr("mayhem_train.export.parity.MASK_AGREEMENT", 1.1)
    with pytest.raises(MayhemError, match=r"model\.onnx was not written"):
        export_checkpoint(checkpoint, tmp_path / "out" / "model.onnx")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_file_needs_no_other_and_passes_onnx_checker(exported, tmp_path):
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(exported.read_bytes())
    onnx.checker.check_model(onnx.load(alone), full_check=True)
    assert OnnxModel(alone, provider="cpu").warm_up() > 0


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 not a zip", b"\x89PNG\r\n\x1a\n" * 40, b"hello world\n"],
    ids=["empty", "zip", "png", "text"],
)
def test_a_file_that_is_no_checkpoint_is_one_sentence(tmp_path, capsys, content):
    path = tmp_path / "best.ckpt"
    path.write_bytes(content)
    assert main(["export", str(path), "--out", str(tmp_path / "model.onnx")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("mayhem export: Cannot read the checkpoint") and error.count("\n") == 1
    assert not (tmp_path / "model.onnx").exists()


def test_a_truncated_checkpoint_is_one_sentence(checkpoint, tmp_path, capsys):
    path = tmp_path / "cut.ckpt"
    path.write_bytes(checkpoint.read_bytes()[:-5000])
    assert main(["export", str(path), "--out", str(tmp_path / "model.onnx")]) == 1
    error = capsys.readouterr().err
    assert "cut.ckpt" in error and "truncated" in error and error.count("\n") == 1


def test_a_checkpoint_of_something_else_is_one_sentence(tmp_path, capsys):
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {}}, path)
    assert main(["export", str(path), "--out", str(tmp_path / "model.onnx")]) == 1
    assert "is no checkpoint of `mayhem train`" in capsys.readouterr().err


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    marker = tmp_path / "ran"

    class Malicious:
        def __reduce__(self):
            return (Path.touch, (marker,))

    path = tmp_path / "evil.ckpt"
    torch.save({CHECKPOINT_KEY: Malicious()}, path)
    assert main(["export", str(path), "--out", str(tmp_path / "model.onnx")]) == 1
    assert not marker.exists()
    assert capsys.readouterr().err.count("\n") == 1


def test_an_export_without_boxes_speaks_of_none(tmp_path, capsys, trained, monkeypatch):
    monkeypatch.setitem(BODIES, "small", small_body)
    only_floor = replace(trained, specification=replace(SPECIFICATION, name="lraspp", body="small"))
    network = untie(build_network(only_floor.specification, "none"))
    checkpoint = write_checkpoint(tmp_path / "best.ckpt", only_floor, network)
    assert main(["export", str(checkpoint), "--out", str(tmp_path / "model.onnx")]) == 0
    said = capsys.readouterr().out
    assert "agree on 4 images: mask " in said and said.endswith(" equal.\n")
    assert "detections" not in said and "No box" not in said


def test_an_existing_file_is_kept_unless_forced(checkpoint, exported, tmp_path, capsys):
    out = tmp_path / "model.onnx"
    out.write_text("mine")
    assert main(["export", str(checkpoint), "--out", str(out)]) == 2
    assert out.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert OnnxModel(exported, provider="cpu").card.task == "multitask", "there was a file in its place"


def test_a_missing_checkpoint_and_a_wrong_suffix_are_named(tmp_path, capsys):
    assert main(["export", str(tmp_path / "no.ckpt"), "--out", str(tmp_path / "model.onnx")]) == 1
    assert "no.ckpt (No such file or directory)" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "no.ckpt"), "--out", str(tmp_path / "model.pt")]) == UsageError.exit_code
