"""Torch's threads hardly wait awake in any process that computes, unless the user wants them to."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mayhem_train.waiting_threads import CHOSEN_BY_THE_USER, SPINS

ROOT = Path(__file__).resolve().parents[1]
A_LOADER_WORKER = """
import multiprocessing, sys
import mayhem_train.cli

def compute():
    import torch

if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=compute)
    worker.start()
    worker.join()
"""


def what_openmp_was_told(code: list[str], **settings: str) -> str:
    """What libgomp says of its settings when it is loaded."""
    environment = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY_THE_USER}
    environment |= {"OMP_DISPLAY_ENV": "VERBOSE", **settings}
    told = subprocess.run(
        [sys.executable, *code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    if "GOMP_SPINCOUNT" not in told.stderr:
        pytest.skip("this torch computes with another OpenMP than GNU's")
    return told.stderr


def test_waiting_threads_of_a_command_soon_sleep():
    told = what_openmp_was_told(["-m", "mayhem_train.cli", "train", "--print_config"])
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in told


def test_those_of_a_worker_too(tmp_path):
    (tmp_path / "worker.py").write_text(A_LOADER_WORKER)
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in what_openmp_was_told([str(tmp_path / "worker.py")], PYTHONPATH=str(ROOT))


@pytest.mark.parametrize("setting", [{"GOMP_SPINCOUNT": "12345"}, {"OMP_WAIT_POLICY": "active"}])
def test_what_the_user_set_stays(setting):
    told = what_openmp_was_told(["-c", "import mayhem_train, torch"], **setting)
    assert f"GOMP_SPINCOUNT = '{SPINS}'" not in told
    assert setting.get("GOMP_SPINCOUNT", "ACTIVE") in told


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_no_benchmark_loads_torch_before(path):
    imported = [
        name
        for node in ast.parse(path.read_text()).body
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    ]
    packages = [name.partition(".")[0] for name in imported]
    if "torch" in packages:
        assert "mayhem_train" in packages[: packages.index("torch")]
