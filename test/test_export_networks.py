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

from mayhem_ros.onnx_model import OnnxModel
from mayhem_train.export.deployable import DeployableNetwork
from mayhem_train.export.onnx_file import model_card, write_onnx
from mayhem_train.export.operators import translations
from mayhem_train.export.parity import check_parity, generated_images
from mayhem_train.models.bodies import BODIES
from mayhem_train.models.network import NETWORKS, build_network
from mayhem_train.models.overlaps import suppress_overlaps
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.training.trained_network import TrainedNetwork

# Tracing a real body takes most of an export's time, and the heads are what differs.
REAL_BODIES = {"ssdlite-mtl": "mobilenet_v3_large"}
SIZES = ((96, 128), (121, 77))


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_says_what_torch_says(name, tmp_path, monkeypatch):
    monkeypatch.setitem(BODIES, "small", small_body)
    body = REAL_BODIES.get(name, "small")
    torch.manual_seed(0)
    specification = NetworkSpecification(name, body, 96, 128, ("person", "agv", "pallet"), ("floor",))
    deployable = DeployableNetwork(untie(build_network(specification, "none"))).eval()
    path = exported(deployable, tmp_path / "model.onnx")

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
