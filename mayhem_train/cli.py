"""The `mayhem` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from mayhem_ros.errors import MayhemError
from mayhem_train.commands.verbs import VERBS, run_verb

_CACHE = (
    "Unpacked archives of recordings and what is known of their files are kept in the folder",
    "MAYHEM_CACHE (~/.cache/mayhem); MAYHEM_CACHE_GB (100) gigabytes at most lie unpacked there.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="mayhem",
        description="Train, export and judge on-robot perception.",
        epilog="\n".join([*(f"  {verb:<12} {summary}" for verb, summary in VERBS.items()), "", *_CACHE]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="see below; `mayhem VERB --help` says more")
    verb = parser.parse_args(argv[:1]).verb
    try:
        return run_verb(verb, argv[1:])
    except MayhemError as error:
        print(f"mayhem {verb}: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(
            f"mayhem {verb}: the Python package {error.name} is missing: install what the training needs (README.md).",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"mayhem {verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
