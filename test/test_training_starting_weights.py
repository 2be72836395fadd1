"""A run may start from an earlier one's weights: those that mean the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models_small_body import small_body
from test_export_onnx_file import write_checkpoint
from torch import nn
from training_runs import train, write_dataset

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.models.bodies import BODIES
from mayhem_train.models.network import build_network
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.training.starting_weights import take_weights
from mayhem_train.training.trained_network import TrainedNetwork, load_trained_network

SPECIFICATION = NetworkSpecification("lraspp-mtl", "small", 96, 128, ("person", "agv"), ("floor",))


@pytest.fixture(autouse=True)
def small_bodies(monkeypatch):
    monkeypatch.setitem(BODIES, "small", small_body)


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    torch.manual_seed(1)
    trained = TrainedNetwork(SPECIFICATION, {}, {}, "equal", 0, "ab" * 32, "c0ffee")
    return write_checkpoint(tmp_path / "best.ckpt", trained, build_network(SPECIFICATION, "none"))


def same(one: nn.Module, other: nn.Module) -> bool:
    weights, others = one.state_dict(), other.state_dict()
    return weights.keys() == others.keys() and all(torch.equal(value, others[name]) for name, value in weights.items())


@pytest.mark.parametrize(
    ("changes", "fresh"),
    [
        ({}, ()),
        ({"height": 64, "width": 160}, ()),
        ({"detection_classes": ("person", "agv", "pallet")}, ("detection",)),
        ({"detection_classes": ("agv", "person")}, ("detection",)),
        ({"segmentation_classes": ("floor", "dock")}, ("segmentation",)),
        ({"name": "lraspp"}, ()),
        ({"name": "ssdlite"}, ()),
        ({"name": "frcnn"}, ("detection",)),
    ],
)
def test_what_means_the_same_is_taken_and_the_rest_is_named(checkpoint, changes, fresh):
    earlier = load_trained_network(checkpoint)[1]
    torch.manual_seed(2)
    network = build_network(replace(SPECIFICATION, **changes), "none")
    start = take_weights(network, checkpoint)
    assert start.fresh == fresh
    assert (start.checkpoint, start.dataset_sha256, start.git_revision) == (checkpoint, "ab" * 32, "c0ffee")
    assert same(network.body, earlier.body)
    for task in network.tasks:
        assert same(network.heads[task], earlier.heads[task]) == (task not in fresh)


def test_another_body_is_refused(checkpoint):
    network = build_network(replace(SPECIFICATION, body="mobilenet_v2"), "none")
    with pytest.raises(
        UsageError, match=r"is of lraspp-mtl on small, whose body is not that of .* on mobilenet_v2 \(\d+ missing: "
    ):
        take_weights(network, checkpoint)


def test_a_body_that_is_built_otherwise_is_refused_too(tmp_path):
    specification = replace(SPECIFICATION, name="frcnn", body="mobilenet_v3_large", preset="original")
    trained = TrainedNetwork(specification, {}, {}, "equal", 0, "ab" * 32, "c0ffee")
    path = write_checkpoint(tmp_path / "best.ckpt", trained, build_network(specification, "none"))
    with pytest.raises(UsageError, match=r"frcnn on mobilenet_v3_large \(preset original\), whose body is not that"):
        take_weights(build_network(replace(specification, name="lraspp-mtl"), "none"), path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(MayhemError, match="No such file"):
        take_weights(build_network(SPECIFICATION, "none"), tmp_path / "missing.ckpt")


def test_a_run_starts_from_anothers_weights_and_says_so(tmp_path, capsys):
    data = write_dataset(tmp_path / "data")
    first, second = tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    assert train(data, first, "--trainer.max_epochs", "1") == 0
    checkpoint = first / "checkpoints" / "best.ckpt"
    more = ["--model.learning_rate", "0", "--model.start_from", str(checkpoint)]
    capsys.readouterr()
    assert train(data, second, *more, "--trainer.max_epochs", "1") == 0
    assert f"Starting from {checkpoint}." in capsys.readouterr().out
    record = json.loads((second / "run.json").read_text())
    assert record["started_from"]["checkpoint"] == str(checkpoint)
    before, now = (load_trained_network(run / "checkpoints" / "best.ckpt")[1] for run in (first, second))
    moved = [name for name, value in now.named_parameters() if not torch.equal(value, before.get_parameter(name))]
    assert not moved, "with a learning rate of zero the weights are the earlier run's"

    # A run that goes on has no need of them any more.
    checkpoint.unlink()
    assert train(data, second, *more, "--trainer.max_epochs", "2") == 0


def test_force_never_removes_the_weights_it_is_to_start_from(tmp_path, capsys):
    data = write_dataset(tmp_path / "data")
    out = tmp_path / "runs" / "first"
    assert train(data, out, "--trainer.max_epochs", "1") == 0
    checkpoint = out / "checkpoints" / "best.ckpt"
    assert train(data, out, "--force", "--trainer.max_epochs", "1", "--model.start_from", str(checkpoint)) == 2
    assert "which would be deleted" in capsys.readouterr().err
    assert checkpoint.is_file()
