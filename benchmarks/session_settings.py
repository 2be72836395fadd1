"""How the node's ONNX Runtime session runs a model, against other settings; and where the time of a pass goes.

    python benchmarks/session_settings.py model.onnx [--rate 20] [--out session_settings.json]

Every setting has a pass in turn, each followed by the pause that is left at the camera's rate, so that whatever else
the machine does hits all alike. The threads are pinned to a core each: of a virtual machine's idle cores Linux may hold
one for taken and put both threads on the other, which would be timed instead.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from measured import report
from rich.console import Console
from rich.table import Table

from mayhem_ros.onnx_model import session_options
from mayhem_train.export.parity import generated_images

OURS = "the node's"


def settings(threads: int) -> dict[str, onnxruntime.SessionOptions]:
    """By name; all have the same threads, each on a core of its own."""
    asleep, spinning = onnxruntime.SessionOptions(), onnxruntime.SessionOptions()
    asleep.intra_op_num_threads = spinning.intra_op_num_threads = threads
    asleep.add_session_config_entry("session.intra_op.allow_spinning", "0")
    small_blocks, plain_layout = session_options(threads), session_options(threads)
    small_blocks.add_session_config_entry("session.dynamic_block_base", "4")
    plain_layout.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    found = {
        OURS: session_options(threads),
        "threads sleep at once": asleep,
        "threads spin on": spinning,
        "smaller blocks of work": small_blocks,
        "no blocked layout": plain_layout,
    }
    for options in found.values():
        if threads > 1:  # the first thread is the process's own, and processors are counted from 1
            affinities = ";".join(str(core + 1) for core in range(1, threads))
            options.add_session_config_entry("session.intra_op_thread_affinities", affinities)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--image", type=int, nargs=2, default=(480, 640), help="height and width, pixels")
    parser.add_argument("--rate", type=float, default=20.0, help="of the camera, Hz")
    parser.add_argument("--passes", type=int, default=80, help="of each setting")
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    threads = os.cpu_count() or 1
    images = np.stack(generated_images(1, *arguments.image))
    sessions = {name: onnxruntime.InferenceSession(arguments.model, o) for name, o in settings(threads).items()}
    os.sched_setaffinity(0, {0})
    times: dict[str, list[float]] = defaultdict(list)
    processor: dict[str, list[float]] = defaultdict(list)
    for turn in range(arguments.passes + 3):
        for name, session in sessions.items():
            spent, start = time.process_time(), time.perf_counter()
            session.run(None, {"images": images})
            taken = time.perf_counter() - start
            time.sleep(max(0.0, 1 / arguments.rate - taken))
            if turn >= 3:  # the first ones warm up
                times[name].append(1e3 * taken)
                processor[name].append(1e3 * (time.process_time() - spent))
    rows = {
        name: {
            "p50_ms": round(statistics.median(times[name]), 2),
            "to_ours": round(statistics.median(times[name]) / statistics.median(times[OURS]), 3),
            "processor_ms_a_frame": round(statistics.fmean(processor[name]), 1),
        }
        for name in sessions
    }
    shares = profile(arguments.model, images, threads)
    show(rows, shares)
    setting = {"model": arguments.model.name, "image": list(arguments.image), "rate": arguments.rate}
    report({**setting, "threads": threads, "settings": rows, "share_of_operators": shares}, arguments.out)


def profile(model: Path, images: np.ndarray, threads: int) -> dict[str, float]:
    """Each operator's share of the operators' time, from the median of 40 passes."""
    options = settings(threads)[OURS]
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="mayhem-profile-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model, options)
        for _ in range(40):
            session.run(None, {"images": images})
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            nodes[event["args"]["op_name"], event["name"]].append(event["dur"])
    operators: Counter[str] = Counter()
    for (operator, _), durations in nodes.items():
        operators[operator] += int(statistics.median(durations))
    return {operator: round(spent / operators.total(), 3) for operator, spent in operators.most_common(12)}


def show(rows: dict[str, dict[str, Any]], shares: dict[str, float]) -> None:
    table = Table("session", "p50 ms", "to the node's", "processor ms a frame")
    for name, row in rows.items():
        table.add_row(name, *(str(value) for value in row.values()))
    parts = Table("operator", "share of the operators' time")
    for operator, share in shares.items():
        parts.add_row(operator, f"{share:.1%}")
    Console().print(table, parts)


if __name__ == "__main__":
    main()
