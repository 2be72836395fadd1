"""`mayhem train`."""

from __future__ import annotations

import argparse

from rich.table import Table

FORWARDS_ARGUMENTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own: the training command reads its arguments itself."""


def run(arguments: argparse.Namespace) -> int:
    """Trains and prints what validation said of the best checkpoint."""
    from mayhem_train.console import console
    from mayhem_train.training.command import train
    from mayhem_train.training.joined_batch import is_first_process

    finished = train(arguments.rest)
    if is_first_process():
        table = Table("metric on validation", "value")
        for name, value in finished.trained.metrics.items():
            table.add_row(name, "n/a" if value is None else f"{value:.3f}")
        console.print(table)
        console.print(f"best checkpoint: {finished.checkpoint}", soft_wrap=True, highlight=False)
    return 0
