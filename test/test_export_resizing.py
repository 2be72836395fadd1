"""The camera's image reaches the network as the same numbers in torch and in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from models_small_body import small_body
from test_export_networks import exported
from torch.nn.functional import interpolate

from mayhem_train.export.deployable import DeployableNetwork
from mayhem_train.export.resizing import resize_bilinear
from mayhem_train.models.bodies import BODIES
from mayhem_train.models.network import build_network
from mayhem_train.models.specification import NetworkSpecification

SIZE = (96, 128)
# To Resize this is 2^-16 of a level; `interpolate` is up to 0.04 levels away from it at these sizes.
TOLERANCE = 5e-5
SIZES = [(480, 640), (720, 1280), (837, 1213), (121, 77), (50, 61), SIZE]


@pytest.fixture(scope="module")
def deployable() -> DeployableNetwork:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BODIES, "small", small_body)
        specification = NetworkSpecification("lraspp", "small", *SIZE, (), ("floor",))
        return DeployableNetwork(build_network(specification, "none")).eval()


@pytest.fixture(scope="module")
def resized_by_onnx_runtime(deployable, tmp_path_factory):
    """Images uint8 [N, H, W, 3] to what the body of the exported network gets."""
    model = onnx.load(exported(deployable, tmp_path_factory.mktemp("export") / "model.onnx"))
    first = next(node for node in model.graph.node if node.op_type == "Resize").output[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(first, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda images: session.run([first], {"images": images})[0]


def noise(height: int, width: int) -> np.ndarray:
    """Where every pixel differs from its neighbours, so that where one is taken from shows."""
    return np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_torch_and_onnx_runtime_resize_alike(deployable, resized_by_onnx_runtime, size):
    images, seen = noise(*size), []
    hook = deployable.network.register_forward_pre_hook(lambda module, inputs: seen.extend(inputs))
    with torch.inference_mode():
        deployable(torch.from_numpy(images))
    hook.remove()
    np.testing.assert_allclose(seen[0].numpy(), resized_by_onnx_runtime(images), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_bilinear_resizing_of_torch_but_for_the_last_bits(size):
    images = torch.from_numpy(noise(*size)).permute(0, 3, 1, 2).float()
    exact = interpolate(images.double(), size=SIZE, mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize_bilinear(images, *SIZE).double(), exact, rtol=0, atol=0.05)


def test_the_same_size_changes_nothing_and_lends_nothing():
    images = torch.from_numpy(noise(*SIZE)).permute(0, 3, 1, 2).float()
    resized = resize_bilinear(images, *SIZE)
    assert torch.equal(resized, images)
    assert resized.data_ptr() != images.data_ptr()
