"""Every network: its parts, its parameters, what it can be compared with, and a further head in one file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import mobilenet_v3_large
from torchvision.models.detection.backbone_utils import _mobilenet_extractor
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large, lraspp_mobilenet_v3_large
from torchvision.ops import FrozenBatchNorm2d

from mayhem_ros.errors import UsageError
from mayhem_train.export.deployable import DeployableNetwork
from mayhem_train.models import network as networks
from mayhem_train.models.bodies import BODIES, Body, build_body
from mayhem_train.models.features import Features
from mayhem_train.models.network import ALIASES, NETWORKS, build_network
from mayhem_train.models.recipe import HeadRecipe, NetworkRecipe
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.shipped import shipped_file

OBJECTS = ("car", "person", "bicycle", "sign")
# Millions would hide a wrong head; these are the original work's counts to the last parameter.
ORIGINAL_PARAMETERS = {
    "deeplabv3": 11_020_337,
    "lraspp": 3_218_138,
    "ssdlite": 3_758_900,
    "frcnn": 18_886_708,
    "lraspp-mtl": 4_005_086,
    "ssdlite-mtl": 11_807_285,
    "frcnn-mtl": 27_018_389,
}
PARTS = {
    "frcnn": {"detection": "FasterRCNN"},
    "ssdlite": {"detection": "SSDLite"},
    "deeplabv3": {"segmentation": "DeepLabV3"},
    "lraspp": {"segmentation": "LRASPP"},
    "frcnn-mtl": {"detection": "FasterRCNN", "segmentation": "DeepLabV3"},
    "ssdlite-mtl": {"detection": "SSDLite", "segmentation": "DeepLabV3"},
    "lraspp-mtl": {"detection": "SSDLite", "segmentation": "LRASPP"},
}
ALONE = {
    "frcnn-mtl": {"detection": "frcnn", "segmentation": "deeplabv3"},
    "ssdlite-mtl": {"detection": "ssdlite", "segmentation": "deeplabv3"},
    "lraspp-mtl": {"detection": "ssdlite", "segmentation": "lraspp"},
}


@dataclass(frozen=True)
class Truth:
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    crowd_boxes: tuple[Tensor, ...]
    masks: Tensor
    depths: Tensor | None = None


def specification(name: str, body: str = "mobilenet_v3_large", **changes) -> NetworkSpecification:
    return replace(NetworkSpecification(name, body, 96, 128, OBJECTS, ("floor",)), **changes)


def a_batch(images: int = 2) -> tuple[Tensor, Truth]:
    nothing = (torch.zeros(0, 4),) * (images - 1)
    truth = Truth(
        boxes=(torch.tensor([[10.0, 20, 60, 90], [80, 30, 120, 70]]), *nothing),
        labels=(torch.tensor([1, 4]), *(torch.zeros(0, dtype=torch.int64) for _ in nothing)),
        crowd_boxes=(torch.zeros(0, 4),) * images,
        masks=torch.randint(0, 2, (images, 96, 128), dtype=torch.uint8),
    )
    return 255 * torch.rand(images, 3, 96, 128), truth


def trainable(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_original_preset_has_the_original_parameters_to_the_last_one(name):
    assert trainable(build_network(specification(name, preset="original"), "none")) == ORIGINAL_PARAMETERS[name]


def test_the_original_networks_compute_what_torchvisions_do():
    torch.manual_seed(0)
    images = torch.rand(1, 3, 96, 128)
    for name, oracle in (
        ("deeplabv3", deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=1)),
        ("lraspp", lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=1)),
    ):
        network = build_network(specification(name, preset="original"), "none").eval()
        oracle.eval()
        weights = oracle.backbone.state_dict().values()
        network.body.load_state_dict(dict(zip(network.body.state_dict(), weights, strict=True)))
        network.heads["segmentation"].head.classifier.load_state_dict(oracle.classifier.state_dict())
        with torch.inference_mode():
            logits = network.heads["segmentation"](network.body(images))
            expected = oracle(images)["out"]
        found = functional.interpolate(logits, size=(96, 128), mode="bilinear", align_corners=False)
        torch.testing.assert_close(found[:, 1:], expected, rtol=1e-4, atol=1e-5)
        assert (found[:, 0] == 0).all(), "the background's logit is 0, so that softmax is the surface's sigmoid"


def test_the_original_frcnn_freezes_what_torchvisions_does():
    network = build_network(specification("frcnn", preset="original"), "none")
    oracle = _mobilenet_extractor(mobilenet_v3_large(norm_layer=FrozenBatchNorm2d), fpn=True, trainable_layers=3).body
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    wanted = [(tuple(p.shape), p.requires_grad) for p in oracle.parameters()]
    assert [(tuple(p.shape), p.requires_grad) for p in network.body.parameters()] == wanted
    assert 0 < trainable(network.body) < sum(p.numel() for p in network.body.parameters())
    norms = [module for module in network.body.modules() if isinstance(module, FrozenBatchNorm2d)]
    assert {norm.eps for norm in norms} == {0.001}, "MobileNetV3's ImageNet weights are of this epsilon"


def test_what_memory_held_before_is_in_no_gradient_of_bfloat16():
    """At this size the last level comes from a map one value wide, of which oneDNN leaves gradients unwritten."""
    network = build_network(specification("ssdlite", height=64, width=64), "none").to(memory_format=torch.channels_last)
    features = network.features(torch.rand(2, 3, 64, 64))
    head = network.heads["detection"].train()
    found = []
    for repetition in range(60):
        head.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            predictions = head(Features(*(level.detach() for level in features)))
        loss = predictions.logits[:, -6:].float().square().mean()  # of the last level alone
        # Freed at once, so that the backward pass is given this memory.
        step = 16 + repetition
        held_before = [torch.full((count,), float("nan")) for count in range(step, 4096, step) for _ in range(8)]
        del held_before
        loss.backward()
        found.append(head.extra[1][1][0].weight.grad.clone())
    untouched = torch.stack(found)
    untouched[..., 1, 1] = 0  # of one value, the kernel's middle sees all
    assert (untouched == 0).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_one_body_and_the_heads_its_name_says(name):
    network = build_network(specification(name), "none")
    assert {task: type(head).__name__ for task, head in network.heads.items()} == PARTS[name]
    assert network.tasks == tuple(PARTS[name])


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("body", BODIES)
def test_a_multi_task_network_is_compared_with_networks_of_the_same_parts(name, body):
    """Same heads, same default boxes, same body; every parameter trained; batch normalisation trained everywhere."""
    together = build_network(specification(name, body), "none")
    for task, alone_name in ALONE[name].items():
        alone = build_network(specification(alone_name, body), "none")
        shapes = {key: tuple(value.shape) for key, value in together.heads[task].named_parameters()}
        assert shapes == {key: tuple(value.shape) for key, value in alone.heads[task].named_parameters()}
        anchors = [key for key, _ in alone.heads[task].named_buffers() if key in ("anchors", "default_boxes")]
        for key in anchors:
            torch.testing.assert_close(getattr(alone.heads[task], key), getattr(together.heads[task], key))
        assert len(anchors) == (task == "detection")
        assert alone.body.channels == together.body.channels
        for network in (alone, together):
            assert all(parameter.requires_grad for parameter in network.parameters())
            assert not any(isinstance(module, FrozenBatchNorm2d) for module in network.modules())
            torch.testing.assert_close(network.mean, together.mean)


@pytest.mark.parametrize("name", ["ssdlite-mtl", "frcnn-mtl"])
def test_the_detection_head_of_a_dilated_body_sees_what_it_sees_without_dilation(name):
    torch.manual_seed(0)
    together = build_network(specification(name, "mobilenet_v2"), "none").eval()
    alone = build_network(specification(ALONE[name]["detection"], "mobilenet_v2"), "none").eval()
    alone.load_state_dict({key: value for key, value in together.state_dict().items() if "segmentation" not in key})
    images = 255 * torch.rand(1, 3, 96, 128)
    with torch.inference_mode():
        found, expected = together(images)["detection"], alone(images)["detection"]
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_head_takes_any_number_of_classes_and_losses_reach_every_parameter(name):
    torch.manual_seed(0)
    network = build_network(specification(name, segmentation_classes=("floor", "wall", "ramp")), "none")
    images, truth = a_batch(2)
    predictions = network(images)
    if "segmentation" in predictions:
        assert predictions["segmentation"].shape[:2] == (2, 4)
    terms = network.losses(predictions, truth)
    assert tuple(terms) == network.tasks
    total = torch.stack([term for of_task in terms.values() for term in of_task.values()]).sum()
    assert torch.isfinite(total)
    total.backward()
    assert all(parameter.grad is not None for parameter in network.heads.parameters())
    assert all(parameter.grad is not None for parameter in network.shared_parameters)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("preset", ["fair", "original"])
def test_a_batch_without_boxes_and_without_labelled_pixels_has_finite_losses(name, preset):
    torch.manual_seed(0)
    network = build_network(specification(name, preset=preset), "none")
    images, _ = a_batch(2)
    nothing = Truth(
        boxes=(torch.zeros(0, 4),) * 2,
        labels=(torch.zeros(0, dtype=torch.int64),) * 2,
        crowd_boxes=(torch.zeros(0, 4),) * 2,
        masks=torch.full((2, 96, 128), 255, dtype=torch.uint8),
    )
    terms = network.losses(network(images), nothing)
    assert all(torch.isfinite(term) for of_task in terms.values() for term in of_task.values())
    if "segmentation" in terms:
        assert terms["segmentation"]["cross_entropy"] == 0
    for term in ("localisation", "proposal"):
        assert terms.get("detection", {}).get(term, torch.zeros(())) == 0


@pytest.mark.parametrize("alias", ALIASES)
def test_the_old_names_are_aliases(alias):
    assert build_network(specification(alias), "none").specification.name == alias.replace("hybrid", "mtl")


def test_a_network_of_one_task_needs_only_its_own_kind_of_classes():
    for name in ("frcnn", "ssdlite"):
        build_network(specification(name, segmentation_classes=()), "none")
        with pytest.raises(UsageError, match=f"{name} learns boxes, and the dataset has no box class"):
            build_network(specification(name, detection_classes=()), "none")
    for name in ("deeplabv3", "lraspp"):
        build_network(specification(name, detection_classes=()), "none")
        with pytest.raises(UsageError, match=f"{name} learns surfaces, and the dataset has no surface class"):
            build_network(specification(name, segmentation_classes=()), "none")


def test_an_unknown_network_names_the_nearest_and_all_of_them():
    with pytest.raises(
        UsageError, match=r"no network 'lrasp-mtl': did you mean lraspp-mtl\? All of them are frcnn, ss"
    ):
        build_network(specification("lrasp-mtl"), "none")
    with pytest.raises(
        UsageError, match="no network 'xyz': choose one of frcnn, ssdlite, deeplabv3, lraspp, frcnn-mtl"
    ):
        build_network(specification("xyz"), "none")


def test_an_unknown_preset_and_a_body_the_original_never_had_are_refused():
    with pytest.raises(UsageError, match="no preset 'orginal': did you mean original"):
        build_network(specification("lraspp", preset="orginal"), "none")
    with pytest.raises(UsageError, match=r"stand on mobilenet_v3_large, not on 'resnet50'.*--model.preset fair"):
        build_network(specification("lraspp", "resnet50", preset="original"), "none")


def test_the_original_segmentation_refuses_a_second_surface():
    two = specification("lraspp", preset="original", segmentation_classes=("floor", "ramp"))
    with pytest.raises(UsageError, match=r"tells one surface from the rest, and the dataset has 2 \(floor, ramp\)"):
        build_network(two, "none")


def test_an_input_too_small_is_refused():
    with pytest.raises(UsageError, match="48x128 pixels: choose at least 64x64"):
        build_network(specification("frcnn", height=48), "none")


def test_a_specification_survives_a_checkpoint_and_older_ones_are_fair():
    original = specification("frcnn-mtl", preset="original")
    assert NetworkSpecification.from_dict(original.to_dict()) == original
    older = {key: value for key, value in original.to_dict().items() if key != "preset"}
    assert NetworkSpecification.from_dict(older).preset == "fair"


@pytest.mark.parametrize("name", NETWORKS)
def test_the_ready_configuration_names_its_network_and_parses(name, capsys):
    from mayhem_train.cli import main

    path = shipped_file(f"config/train/{name}.yaml")
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--config", str(path), "--print_config"])
    assert stopped.value.code == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["model"]["name"] == Path(settings["out"]).name == name
    assert settings["model"]["body"] in BODIES
    assert settings["data"]["size"] == [288, 384]
    written = yaml.safe_load(path.read_text())
    other = yaml.safe_load(shipped_file("config/train/lraspp-mtl.yaml").read_text())
    rates = []
    for settings in (written, other):
        del settings["out"], settings["model"]["name"]
        rate = settings["model"].pop("learning_rate")
        rates.append((rate * settings["model"].pop("body_learning_rate_factor"), rate))
    assert rates[0] == (0.00025, 0.001)
    assert rates[1][0] == rates[0][0], "the bodies of all networks learn equally fast"
    assert written == other, "networks are compared under one schedule and one size"


# All that a third task takes: a head, and a line that puts it beside others.
class DepthHead(nn.Module):
    """Metres to every pixel."""

    outputs = ("depth",)

    def __init__(self, channels: int):
        super().__init__()
        self.layer = nn.Conv2d(channels, 1, 1)

    def forward(self, features: Features) -> Tensor:
        return functional.softplus(self.layer(features.c4))

    def losses(self, depths: Tensor, targets: Truth) -> dict[str, Tensor]:
        found = functional.interpolate(depths, size=targets.depths.shape[-2:], mode="bilinear")
        return {"l1": (found - targets.depths).abs().mean()}

    def publish(self, depths: Tensor, height: int, width: int) -> tuple[Tensor]:
        return (functional.interpolate(depths, size=(height, width), mode="bilinear")[:, 0],)


def depth(body: Body, specification: NetworkSpecification) -> DepthHead:
    return DepthHead(body.channels.c4)


def test_a_third_head_joins_without_touching_the_others(monkeypatch):
    recipe = NetworkRecipe((networks.SSDLITE, networks.LR_ASPP, HeadRecipe("depth", depth)))
    monkeypatch.setitem(NETWORKS, "with-depth", recipe)
    torch.manual_seed(0)
    network = build_network(specification("with-depth", "mobilenet_v2"), "none")
    assert network.tasks == ("detection", "segmentation", "depth")
    images, truth = a_batch(2)
    truth = replace(truth, depths=torch.full((2, 1, 96, 128), 3.0))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    history = []
    for _ in range(3):
        terms = network.losses(network(images), truth)
        history.append(float(terms["depth"]["l1"].detach()))
        optimizer.zero_grad()
        torch.stack([term for of_task in terms.values() for term in of_task.values()]).sum().backward()
        optimizer.step()
    assert history[2] < history[0]
    deployable = DeployableNetwork(network.eval())
    with torch.inference_mode():
        outputs = deployable(torch.zeros(1, 60, 80, 3, dtype=torch.uint8))
    assert deployable.output_names == ("boxes", "scores", "labels", "count", "mask", "mask_confidence", "depth")
    assert outputs[-1].shape == (1, 60, 80)


@pytest.mark.parametrize("body", ["mobilenet_v2", "resnet50"])
def test_a_dilated_body_puts_values_between_those_it_had(body):
    torch.manual_seed(0)
    plain, dilated = build_body(body, "none").eval(), build_body(body, "none", dilated=True).eval()
    dilated.load_state_dict(plain.state_dict())
    images = torch.rand(1, 3, 100, 140)
    with torch.inference_mode():
        expected, found = plain(images), dilated(images)
    assert found.c5.shape[-2:] == found.c4.shape[-2:]
    torch.testing.assert_close(found.c5[..., ::2, ::2], expected.c5, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.c4, expected.c4)
