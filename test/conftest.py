"""Keeps the tests to themselves: ROS nodes in a domain that no other run has, and a cache of recordings that goes."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from mayhem_train.evaluation.playback.private_domain import environment_variables, private_domain, private_environment


def pytest_configure(config: pytest.Config) -> None:
    """Sets the environment before any test imports rclpy; what the user's shell says does not count here."""
    resources = ExitStack()
    config.add_cleanup(resources.close)
    domain = resources.enter_context(private_domain())
    logs = resources.enter_context(tempfile.TemporaryDirectory(prefix="mayhem-ros-logs-", ignore_cleanup_errors=True))
    cache = resources.enter_context(tempfile.TemporaryDirectory(prefix="mayhem-cache-", ignore_cleanup_errors=True))
    environment = {**private_environment(domain, Path(logs)), "MAYHEM_CACHE": cache}
    if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # more threads than cores take several times as long
        environment["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // int(workers)))
    resources.enter_context(environment_variables(environment))
