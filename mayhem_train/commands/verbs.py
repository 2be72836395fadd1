"""The verbs: one a module of this folder, imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from typing import Protocol

from mayhem_train.console import forget_warnings

VERBS = {
    "synthesise": "Draw synthetic warehouse drives and write them as recordings with exact labels.",
    "inspect": "Show what a recording holds: topics, types, counts, rates, images.",
    "ingest": "Extract images, depth, IMU, point clouds and a table that pairs them from recordings.",
    "prune": "Keep one frame of each run of near-duplicates.",
    "import-cvat": "Turn CVAT annotation files into one dataset index.",
    "import-coco": "Turn COCO annotation files into one dataset index.",
    "import-yolo": "Turn folders of YOLO label files into one dataset index.",
    "export-labels": "Write a dataset index as CVAT or COCO annotations.",
    "describe": "Show what a dataset holds: classes, what occurs together, near-duplicates across splits.",
    "prelabel": "Draw a model's predictions as CVAT annotations for people to correct.",
    "train": "Train a network on a dataset index and its recordings.",
    "test": "Score a model on a split: figures, plots, the worst frames.",
    "export": "Turn a checkpoint into one self-describing ONNX file.",
    "benchmark": "Measure a model's size, work, latency and throughput.",
    "replay": "Play a recording through the perception node and score what it publishes.",
    "demo": "Run the whole line once on synthetic drives.",
}


class Command(Protocol):
    """What each module in `mayhem_train/commands` offers; one that FORWARDS_ARGUMENTS needs only `run`."""

    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the verb's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Does the work and returns the exit code."""


def load_command(verb: str) -> Command:
    """Imports the module behind a verb."""
    return importlib.import_module(f"mayhem_train.commands.{verb.replace('-', '_')}")


def run_verb(verb: str, argv: Sequence[str]) -> int:
    """Parses a verb's arguments, does its work and returns its exit code.

    Raises:
        MayhemError: as the verb does; SystemExit where argparse refuses or explains the arguments.
    """
    forget_warnings()
    command = load_command(verb)
    if getattr(command, "FORWARDS_ARGUMENTS", False):  # the verb has a parser of its own
        return command.run(argparse.Namespace(rest=list(argv)))
    parser = argparse.ArgumentParser(
        prog=f"mayhem {verb}",
        description=VERBS[verb],
        epilog=f"example:\n  {command.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return command.run(parser.parse_args(argv))
