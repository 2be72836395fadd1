"""No message costs more than a second or 500 MB, whatever is wrong with it; the benchmark tries thousands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mayhem_ros.errors import MayhemError
from mayhem_ros.image_decoding import decode_with_flaws

ROOT = Path(__file__).resolve().parents[1]
CASES = ROOT.parent / "shared" / "cases" / "images"


def test_damaged_messages_of_every_kind_are_decoded_or_refused_within_the_bounds(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/damaged_messages.py", "--each", "100", "--out", str(tmp_path / "out.json")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # exit code 1 beyond the bounds
    figures = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert set(figures) == {"png", "jpeg", "raw", "webp", "tiff"}
    for found in figures.values():
        assert sum(found[verdict] for verdict in ("whole", "flawed", "damaged", "refused")) == 100
        assert found["whole"] > 0 < found["refused"]
        assert found["most_mb"] < 100


@pytest.mark.skipif(not CASES.is_dir(), reason=f"the damaged images are not at {CASES}")
@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("bomb_538_c", "refused"),
        ("c_no_EOI_whole_scan", "flawed"),
        ("c_20_bytes_dropped_midscan", "damaged"),
        ("c_cut_at_60_+_EOI", "damaged"),
        ("c_EOI_then_FFDA_garbage", "whole"),
        ("c_png_bitflip_IDAT", "refused"),
        ("c_jpeg_header_65500x65500_claim", "refused"),
    ],
)
def test_the_collected_images_come_to_their_verdicts(name: str, verdict: str) -> None:
    class Message:
        format = ""
        data = (CASES / name).read_bytes()

    try:
        decoded = decode_with_flaws(Message)
    except MayhemError:
        assert verdict == "refused"
    else:
        found = "damaged" if decoded.is_damaged else "flawed" if decoded.flaws else "whole"
        assert (found, decoded.pixels.shape) == (verdict, (48, 64, 3))
