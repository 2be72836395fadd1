"""However long a recording is, reading it holds a few messages in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("form", ["mcap", "mcap, zstd chunks"])
def test_resident_memory_does_not_rise_with_the_images_that_are_read(tmp_path: Path, form: str) -> None:
    out = tmp_path / "memory.json"
    arguments = ["--frames", "300", "--formats", form, "--out", str(out)]
    subprocess.run(
        [sys.executable, "benchmarks/memory_over_length.py", *arguments], cwd=ROOT, check=True, capture_output=True
    )
    figures = json.loads(out.read_text())["figures"][form]
    assert figures["content_bytes"] == 300 * 640 * 480 * 3
    assert figures["content_bytes"] > 2 * 120e6
    assert figures["rise_mb"] < 120
