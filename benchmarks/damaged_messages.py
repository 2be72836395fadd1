"""What the worst camera message costs: seconds and memory over thousands of damaged ones of every kind.

    python benchmarks/damaged_messages.py [--each 1000] [--seed 0] [--model model.onnx] [--out damaged_messages.json]

Each message is decoded alone, and with a model its picture goes through it as in the node. Seconds are the processor's.
Memory is what the process held at most while it worked on the message, less what it held before.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

from measured import report
from mutated_messages import KINDS, mutated_messages
from rich.console import Console
from rich.table import Table

from mayhem_ros.errors import MayhemError
from mayhem_ros.image_decoding import decode_with_flaws
from mayhem_ros.onnx_model import OnnxModel

MOST_SECONDS, MOST_MB = 1.0, 500.0
VERDICTS = ("whole", "flawed", "damaged", "refused")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=1000, help="messages of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, help="an exported model that every picture goes through")
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    model = None if arguments.model is None else OnnxModel(arguments.model, provider="cpu")
    if model is not None:
        model.warm_up()
    figures = {kind: measure(kind, arguments.each, arguments.seed, model) for kind in KINDS}
    table = Table("kind", "messages", *VERDICTS, "most s", "most MB")
    for kind, found in figures.items():
        counts = (str(found[verdict]) for verdict in VERDICTS)
        table.add_row(kind, str(arguments.each), *counts, f"{found['most_seconds']:.3f}", f"{found['most_mb']:.0f}")
    Console().print(table)
    report(figures, arguments.out)
    if any(found["most_seconds"] > MOST_SECONDS or found["most_mb"] > MOST_MB for found in figures.values()):
        raise SystemExit(f"A message took more than {MOST_SECONDS} s or {MOST_MB} MB.")


def measure(kind: str, count: int, seed: int, model: OnnxModel | None = None) -> dict[str, Any]:
    """How many messages came to which verdict, and what the worst of them took."""
    verdicts: Counter[str] = Counter(dict.fromkeys(VERDICTS, 0))
    seconds, megabytes = 0.0, 0.0
    for message in mutated_messages(kind, count, seed):
        before = reset_peak()
        start = time.process_time()
        verdicts[verdict(message, model)] += 1
        seconds = max(seconds, time.process_time() - start)
        megabytes = max(megabytes, peak() - before)
    return {**verdicts, "most_seconds": round(seconds, 3), "most_mb": round(megabytes, 1)}


def verdict(message: Any, model: OnnxModel | None) -> str:
    """What the decoder says of a message; anything but a picture or a `MayhemError` ends the benchmark."""
    try:
        decoded = decode_with_flaws(message)
        if model is not None:
            model.predict(decoded.pixels[None])
    except MayhemError:
        return "refused"
    return "damaged" if decoded.is_damaged else "flawed" if decoded.flaws else "whole"


def reset_peak() -> float:
    """Forgets what this process held at most until now; returns what it holds, in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak() -> float:
    """What this process held at most since, in MB."""
    return _status("VmHWM")


def _status(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1000


if __name__ == "__main__":
    main()
