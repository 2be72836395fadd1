"""`mayhem synthesise`: draws synthetic warehouse drives and writes them as recordings with exact labels."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from mayhem_ros.errors import UsageError
from mayhem_train.console import console
from mayhem_train.recordings.warehouse.synthesis import synthesise

EXAMPLE = "mayhem synthesise drives --frames 200 --seed 7"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the recordings and OUT/annotations/*.xml")
    parser.add_argument("--frames", type=int, default=150, help="pictures a drive, ten a second (default: 150)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same drives (default: 0)")
    parser.add_argument("--drives", type=int, default=2, help="how many, each in another warehouse (default: 2)")
    parser.add_argument("--format", default="mcap", help="mcap, db3 (rosbag2 folders) or bag (ROS 1); default: mcap")
    parser.add_argument("--size", default="640x480", help="of the pictures, WIDTHxHEIGHT (default: 640x480)")
    parser.add_argument("--compressed", action="store_true", help="write JPEG pictures (sensor_msgs/CompressedImage)")
    parser.add_argument("--exact-depth", action="store_true", help="depth without noise, holes and limited range")
    parser.add_argument("--force", action="store_true", help="replace drives that exist already")


def run(arguments: argparse.Namespace) -> int:
    """Draws and writes the drives and says where they are."""
    drives = synthesise(
        arguments.out,
        frames=arguments.frames,
        seed=arguments.seed,
        drives=arguments.drives,
        size=_size(arguments.size),
        storage=arguments.format,
        compressed=arguments.compressed,
        exact_depth=arguments.exact_depth,
        force=arguments.force,
    )
    for drive in drives:
        console.print(f"{drive.recording}: {drive.frames} frames, labels in {drive.annotations}", soft_wrap=True)
    return 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise UsageError(f"The size {text!r} is not WIDTHxHEIGHT: write for example 640x480.")
    return int(match[1]), int(match[2])
