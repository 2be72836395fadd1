"""Keeps the tests to themselves: ROS nodes in a domain that no other run has, and a cache of recordings that goes."""

from __future__ import annotations

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
    resources.enter_context(environment_variables(environment))
