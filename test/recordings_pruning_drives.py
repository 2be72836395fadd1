"""Small drives worth pruning, and the command that prunes them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from recordings_writing import COLOUR, START_NS, Written, image, jpeg, write

from mayhem_train.cli import main

PERIOD_NS = 100_000_000
HEIGHT, WIDTH = 116, 150
FRAMES = 30


@cache
def wall() -> np.ndarray:
    """uint8 [400, 900, 3]: blotches of some ten pixels."""
    blurred = cv2.GaussianBlur(np.random.default_rng(5).integers(0, 256, (400, 900, 3), np.uint8), (0, 0), 3)
    return np.asarray(np.clip((blurred.astype(np.int64) - 128) * 8 + 128, 0, 255), np.uint8)


def picture(index: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 [H, W, 3] RGB: what a camera sees that pans over a wall, more slowly each time it has turned."""
    left = int(60 * np.sin(index / 6) + 100 + index // 10)
    return np.ascontiguousarray(wall()[40 : 40 + height, left : left + width])


def raw(index: int, pixels: np.ndarray, topic: str = COLOUR, encoding: str = "rgb8") -> Written:
    time_ns = START_NS + index * PERIOD_NS
    return image(topic, time_ns, time_ns - 5_000_000, pixels, encoding)


def compressed(index: int, data: bytes) -> Written:
    return jpeg("/camera/compressed", START_NS + index * PERIOD_NS, data)


def drive(folder: Path, name: str = "drive", form: str = "mcap", frames: int = FRAMES) -> Path:
    folder.mkdir(exist_ok=True)
    return write(folder, name, form, [raw(index, picture(index)) for index in range(frames)])


def prune(*arguments: object) -> int:
    return main(["prune", *map(str, arguments)])


def document(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def rows(path: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = document(path)["frames"]
    return content
