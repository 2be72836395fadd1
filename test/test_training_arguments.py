"""The training's arguments: every part by name or by class path, from the command line and from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from training_runs import arguments, write_dataset

from mayhem_train.cli import main


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_dataset(tmp_path_factory.mktemp("data"))


def printed(capsys: pytest.CaptureFixture[str], data: list[str], *more: str) -> dict[str, Any]:
    """What `--print_config` says."""
    with pytest.raises(SystemExit) as stopped:
        main([*arguments(data, Path("unused"), *more), "--print_config"])
    assert stopped.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


STEP = "mayhem_train.training.schedules.Step"
DWA = "mayhem_train.balancing.weightings.dynamic.DynamicWeightAverage"
NASH = "torchjd.aggregation.NashMTL"


@pytest.mark.parametrize(
    ("more", "part", "expected"),
    [
        (["--balancer.weighting", "rlw"], "balancer.weighting", "rlw"),
        (["--balancer.gradient", "nash-mtl"], "balancer.gradient", "nash-mtl"),
        (
            ["--balancer.weighting", "constant", "--balancer.constants", "{detection: 1, segmentation: 0.5}"],
            "balancer.constants",
            {"detection": 1.0, "segmentation": 0.5},
        ),
        (
            ["--balancer.weighting", DWA, "--balancer.weighting.temperature", "3"],
            "balancer.weighting",
            {"class_path": DWA, "init_args": {"temperature": 3.0}},
        ),
        (
            ["--balancer.gradient", NASH, "--balancer.gradient.n_tasks", "2"],
            "balancer.gradient",
            {
                "class_path": NASH,
                "init_args": {"n_tasks": 2, "max_norm": 1.0, "update_weights_every": 1, "optim_niter": 20},
            },
        ),
        (["--model.optimizer", "sgd"], "model.optimizer", "sgd"),
        (
            ["--model.optimizer", "SGD", "--model.optimizer.nesterov", "true"],
            "model.optimizer",
            {
                "class_path": "mayhem_train.training.optimizers.SGD",
                "init_args": {"momentum": 0.9, "nesterov": True},
            },
        ),
        (
            ["--model.schedule", STEP, "--model.schedule.milestones", "[0.5, 0.9]"],
            "model.schedule",
            {"class_path": STEP, "init_args": {"milestones": [0.5, 0.9], "factor": 0.1}},
        ),
        (["--ema", "0.99"], "ema", 0.99),
        (["--wandb", "offline"], "wandb", "offline"),
    ],
)
def test_a_part_is_named_on_the_command_line(
    data: list[str], capsys: pytest.CaptureFixture[str], more: list[str], part: str, expected: object
) -> None:
    found: Any = printed(capsys, data, *more)
    for key in part.split("."):
        found = found[key]
    assert found == expected


def test_every_part_is_named_in_yaml(data: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    settings = {
        "ema": 0.99,
        "balancer": {
            "weighting": {"class_path": DWA, "init_args": {"temperature": 4.0}},
            "gradient": {"class_path": "torchjd.aggregation.CAGrad", "init_args": {"c": 0.3}},
        },
        "model": {"optimizer": "sgd", "schedule": {"class_path": STEP, "init_args": {"milestones": [0.5]}}},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(settings))
    found = printed(capsys, data, "--config", str(tmp_path / "own.yaml"))
    assert found["ema"] == 0.99
    assert found["balancer"]["weighting"] == settings["balancer"]["weighting"]  # type: ignore[index]
    assert found["balancer"]["gradient"]["init_args"]["c"] == 0.3
    assert found["model"]["optimizer"] == "sgd"
    assert found["model"]["schedule"]["init_args"] == {"milestones": [0.5], "factor": 0.1}


def test_callbacks_of_lightning_are_named_in_yaml(
    data: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stop = {"class_path": "EarlyStopping", "init_args": {"monitor": "val/score", "mode": "max", "patience": 2}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [stop]}}))
    (found,) = printed(capsys, data, "--config", str(tmp_path / "own.yaml"))["trainer"]["callbacks"]
    assert found["class_path"] == "pytorch_lightning.callbacks.EarlyStopping"
    assert (found["init_args"]["monitor"], found["init_args"]["patience"]) == ("val/score", 2)
