"""Checks and draws numbers within a range."""

from __future__ import annotations

import torch

from mayhem_ros.errors import UsageError


def check_range(name: str, value: float, low: float, high: float) -> float:
    """Gives `value` back; raises UsageError where it is not in [low, high]."""
    if not low <= value <= high:
        raise UsageError(f"The training transform's {name} is {value:g}: choose a value from {low:g} to {high:g}.")
    return value


def uniform(low: float, high: float) -> float:
    """A draw from torch's CPU generator, uniform in [low, high)."""
    return low + (high - low) * float(torch.rand(()))


def log_uniform(low: float, high: float) -> float:
    """A draw from torch's CPU generator whose logarithm is uniform: halving is as likely as doubling."""
    return float(low * (high / low) ** float(torch.rand(())))
