"""The arguments of every command that opens recordings."""

from __future__ import annotations

import argparse


def add_distro(parser: argparse.ArgumentParser) -> None:
    """`--distro`, for recordings without definitions of their message types."""
    parser.add_argument(
        "--distro",
        metavar="NAME",
        help="ROS distribution whose message definitions to take where a recording has none, such as humble",
    )
