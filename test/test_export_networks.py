"""Every network as an exported file: ONNX Runtime says what torch says, for any number of images of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from models_small_body import small_body
from test_export_onnx_file import untie
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from mayhem_ros.onnx_model import OnnxModel
from mayhem_train.export.deployable import DeployableNetwork
from mayhem_train.export.onnx_file import model_card, write_onnx
from mayhem_train.export.operators import translations
from mayhem_train.export.parity import check_parity, generated_images
from mayhem_train.models.bodies import BODIES
from mayhem_train.models.multi_task import MultiTaskNetwork
from mayhem_train.models.network import NETWORKS, build_network
from mayhem_train.models.original import BODY, ORIGINAL_NETWORKS, OneLogit
from mayhem_train.models.overlaps import suppress_overlaps
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.training.trained_network import TrainedNetwork

# Tracing a real body takes most of an export's time, and the heads are what differs.
REAL_BODIES = {"ssdlite-mtl": "mobilenet_v3_large"}
SIZES = ((96, 128), (121, 77))
QUICK = 0.5  # momentum of normalisation that is to see what it normalises in three passes


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_says_what_torch_says(name, tmp_path, monkeypatch):
    monkeypatch.setitem(BODIES, "small", small_body)
    body = REAL_BODIES.get(name, "small")
    torch.manual_seed(0)
    specification = NetworkSpecification(name, body, 96, 128, ("person", "agv", "pallet"), ("floor",))
    check_everywhere(untie(build_network(specification, "none")), tmp_path / "model.onnx")


@pytest.mark.parametrize("name", ORIGINAL_NETWORKS)
def test_onnx_runtime_says_what_torch_says_of_the_original_networks(name, tmp_path):
    torch.manual_seed(0)
    specification = NetworkSpecification(name, BODY, 96, 128, ("person", "agv", "pallet"), ("floor",), "original")
    check_everywhere(untie_original(build_network(specification, "none")), tmp_path / "model.onnx")


def check_everywhere(network: MultiTaskNetwork, path: Path) -> None:
    """The gate lets the export through, and an image alone gets what it gets among others."""
    deployable = DeployableNetwork(network).eval()
    exported(deployable, path)

    for height, width in SIZES:
        images = generated_images(2, height, width)
        report = check_parity(deployable, path, images, shown_as=path)
        assert report.images == 2
        assert (report.detections is None) == ("detection" not in deployable.network.tasks)
        model = OnnxModel(path, provider="cpu")
        together = model.predict(np.stack(images))
        for image, prediction in zip(images, together, strict=True):
            (alone,) = model.predict(image[None])
            if "detection" in deployable.network.tasks:
                assert len(np.unique(prediction.scores.round(5))) > 20, "tied scores would hide a mistake"
                assert len(np.unique(prediction.boxes.round(0), axis=0)) > 20
                np.testing.assert_allclose(prediction.scores, alone.scores, atol=1e-5)
                np.testing.assert_allclose(prediction.boxes, alone.boxes, atol=1e-2)
            else:
                assert prediction.boxes is None
            if "segmentation" in deployable.network.tasks:
                assert 0.01 < prediction.mask.mean() < 0.99, "one class everywhere would hide a mistake"
                np.testing.assert_array_equal(prediction.mask, alone.mask)
            else:
                assert prediction.mask is None


def test_a_network_that_finds_nothing_is_exported_and_says_so_of_any_image(tmp_path, monkeypatch):
    """As one of 40 classes that has hardly been trained."""
    monkeypatch.setitem(BODIES, "small", small_body)
    classes = tuple(f"class-{number}" for number in range(40))
    network = build_network(NetworkSpecification("ssdlite", "small", 96, 128, classes, ()), "none").eval()
    with torch.no_grad():
        for level in network.heads["detection"].predictors.classification_head.module_list:
            level[1].weight.zero_()
            level[1].bias.view(-1, 41)[:, 0] = 20
    path = exported(DeployableNetwork(network).eval(), tmp_path / "model.onnx")
    report = check_parity(DeployableNetwork(network).eval(), path, generated_images(2, 160, 90), shown_as=path)
    assert report.detections == 0
    model = OnnxModel(path, provider="cpu")
    for shape in ((2, 160, 90, 3), (1, 2160, 3840, 3)):
        predictions = model.predict(np.zeros(shape, np.uint8))
        assert [prediction.boxes.shape for prediction in predictions] == [(0, 4)] * shape[0]


def test_suppression_is_the_same_in_onnx_runtime_where_scores_tie_and_no_more_are_kept_than_asked_for():
    class Suppression(nn.Module):
        def forward(self, boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return suppress_overlaps(boxes, scores, 0.5, 0.05, most=7)

    torch.manual_seed(0)
    corners = torch.rand(2, 400, 2)
    boxes = torch.cat([corners, corners + 0.05 + 0.2 * torch.rand(2, 400, 2)], dim=2)
    scores = torch.rand(2, 6, 400).mul(20).round().div(20)  # 400 candidates share 20 scores
    program = torch.onnx.export(
        Suppression().eval(), (boxes, scores), dynamo=True, verbose=False, custom_translation_table=translations()
    )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (kept,) = session.run(None, {"boxes": boxes.numpy(), "scores": scores.numpy()})
    np.testing.assert_array_equal(kept, suppress_overlaps(boxes, scores, 0.5, 0.05, most=7).numpy())
    assert ((kept > 0).sum(axis=2) == 7).all()


def exported(deployable: DeployableNetwork, path: Path) -> Path:
    trained = TrainedNetwork(deployable.network.specification, {}, {}, "equal", 0, "ab" * 32, "c0ffee")
    write_onnx(deployable, model_card(trained, deployable.network.tasks), path)
    return path


def widest_gaps(logits: torch.Tensor) -> torch.Tensor:
    """float [C] of float [C, P]: the middle of the widest gap in the middle third.

    A median is one of the logits. Where background's is always 0 that one would fall on either side by rounding.
    """
    third = logits.shape[1] // 3
    middle = logits.sort(dim=1).values[:, third:-third]
    place = middle.diff(dim=1).argmax(dim=1, keepdim=True)
    return (middle.gather(1, place) + middle.gather(1, place + 1))[:, 0] / 2


def untie_original(network: MultiTaskNetwork) -> MultiTaskNetwork:
    """`untie`, where normalisation forgets slowly or is frozen, and the background's logit is always 0."""

    def learn(norm: FrozenBatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3))
        norm.running_var.lerp_(variance, QUICK)
        norm.running_mean.lerp_(mean, QUICK)

    hooks = []
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = QUICK
        elif isinstance(layer, FrozenBatchNorm2d):
            hooks.append(layer.register_forward_pre_hook(learn))
    one_logit = dict(network.heads.items()).get("segmentation")
    if isinstance(one_logit, OneLogit):
        network.heads["segmentation"] = one_logit.head
    untie(network, widest_gaps)
    if isinstance(one_logit, OneLogit):
        network.heads["segmentation"] = one_logit
    for hook in hooks:
        hook.remove()
    return network.eval()
