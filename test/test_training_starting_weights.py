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
from mayhem_train.training.starting_weights import TakenClasses, take_weights
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


BEFORE = {"detection_classes": ("person", "agv"), "segmentation_classes": ("floor", "dock")}
NOW = {"detection_classes": ("pallet", "agv", "person", "sign"), "segmentation_classes": ("ramp", "dock", "grass")}


@pytest.mark.parametrize("name", ["ssdlite", "frcnn", "lraspp", "deeplabv3"])
def test_classes_of_the_same_name_are_told_as_before_wherever_they_stand(name, tmp_path):
    """The logits of a class that both have, and the boxes of Faster R-CNN's, are the earlier ones."""
    torch.manual_seed(1)
    specification = replace(SPECIFICATION, name=name, **BEFORE)
    earlier = build_network(specification, "none").eval()
    path = write_checkpoint(
        tmp_path / "best.ckpt", TrainedNetwork(specification, {}, {}, "equal", 0, "ab" * 32, "c0ffee"), earlier
    )
    torch.manual_seed(2)
    network = build_network(replace(specification, **NOW), "none").eval()
    start = take_weights(network, path)
    (task,) = network.tasks
    kept, fresh, dropped = {
        "detection": (("agv", "person"), ("pallet", "sign"), ()),
        "segmentation": (("dock",), ("ramp", "grass"), ("floor",)),
    }[task]
    assert start.fresh == ()
    assert start.classes == {task: TakenClasses(kept, fresh, dropped)}
    places = {"detection": ((0, 0), (1, 3), (2, 2)), "segmentation": ((0, 0), (2, 2))}[task]
    images = torch.randint(0, 255, (1, 3, 96, 128)).float()
    with torch.no_grad():
        ours, theirs = network(images)[task], earlier(images)[task]
    if name == "ssdlite":
        torch.testing.assert_close(ours.offsets, theirs.offsets, rtol=0, atol=0)
        ours, theirs = ours.logits, theirs.logits
    elif name == "frcnn":
        torch.testing.assert_close(ours.objectness, theirs.objectness, rtol=0, atol=0)
        regions = torch.randn(5, 256 * 7 * 7)
        (logits, boxes), (their_logits, their_boxes) = (
            head.box_predictor(head.box_head(regions)) for head in (network.heads[task], earlier.heads[task])
        )
        ours = torch.cat([logits.unsqueeze(-1), boxes.unflatten(1, (-1, 4))], dim=2).transpose(1, 2)
        theirs = torch.cat([their_logits.unsqueeze(-1), their_boxes.unflatten(1, (-1, 4))], dim=2).transpose(1, 2)
    else:
        ours, theirs = ours.movedim(1, -1), theirs.movedim(1, -1)
    for before, now in places:
        torch.testing.assert_close(ours[..., now], theirs[..., before], rtol=1e-5, atol=1e-5)
    assert (ours[..., 1] - theirs[..., 1]).abs().max() > 1e-3, "another class stands there now"


def test_what_is_kept_is_said(checkpoint):
    network = build_network(replace(SPECIFICATION, detection_classes=("agv", "pallet")), "none")
    start = take_weights(network, checkpoint)
    said = "of its classes detection keeps agv, begins anew with pallet, drops person"
    assert str(start) == f"Starting from {checkpoint}; {said}."
    assert start.to_dict()["classes"] == {"detection": {"kept": ["agv"], "fresh": ["pallet"], "dropped": ["person"]}}


def test_the_original_networks_one_surface_is_kept_by_its_name_too(tmp_path):
    """It has one logit and none for the background."""
    specification = replace(SPECIFICATION, name="lraspp", body="mobilenet_v3_large", preset="original")
    earlier = build_network(specification, "none")
    trained = TrainedNetwork(specification, {}, {}, "equal", 0, "ab" * 32, "c0ffee")
    path = write_checkpoint(tmp_path / "best.ckpt", trained, earlier)
    for surface, kept in (("floor", True), ("ramp", False)):
        network = build_network(replace(specification, segmentation_classes=(surface,)), "none")
        assert bool(take_weights(network, path).classes) is not kept
        assert same(network.heads["segmentation"], earlier.heads["segmentation"]) is kept


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
