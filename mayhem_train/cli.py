"""The `mayhem` command: one verb a file in `mayhem_train/commands`, imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from mayhem_ros.errors import MayhemError

VERBS = {
    "synthesise": "Draw synthetic warehouse drives and write them as recordings with exact labels.",
    "inspect": "Show what a recording holds: topics, types, counts, rates, images.",
    "import-cvat": "Turn CVAT annotation files into one dataset index.",
    "train": "Train a network on a dataset index and its recordings.",
    "export": "Turn a checkpoint into one self-describing ONNX file.",
    "replay": "Play a recording through the perception node and score what it publishes.",
    "demo": "Run the whole line once on synthetic drives.",
}


class Command(Protocol):
    """What each module in `mayhem_train/commands` offers."""

    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the verb's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Does the work and returns the exit code."""


def load_command(verb: str) -> Command:
    """Imports the module behind a verb."""
    return importlib.import_module(f"mayhem_train.commands.{verb.replace('-', '_')}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="mayhem",
        description="Train, export and judge on-robot perception.",
        epilog="\n".join(f"  {verb:<12} {summary}" for verb, summary in VERBS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="see below; `mayhem VERB --help` says more")
    verb = parser.parse_args(argv[:1]).verb
    command = load_command(verb)
    try:
        if getattr(command, "FORWARDS_ARGUMENTS", False):  # the verb has a parser of its own
            return command.run(argparse.Namespace(rest=argv[1:]))
        verb_parser = argparse.ArgumentParser(
            prog=f"mayhem {verb}",
            description=VERBS[verb],
            epilog=f"example:\n  {command.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(verb_parser)
        return command.run(verb_parser.parse_args(argv[1:]))
    except MayhemError as error:
        print(f"mayhem {verb}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"mayhem {verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
