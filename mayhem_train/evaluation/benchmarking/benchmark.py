"""How fast models are on this machine: latency and throughput, all models side by side."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_train.console import progress_bar
from mayhem_train.evaluation.benchmarking.operations import ModelSize
from mayhem_train.evaluation.latency import Percentiles, percentiles
from mayhem_train.evaluation.provenance import software_versions, this_machine
from mayhem_train.outputs import whole_folder

BENCHMARK = "benchmark"  # what the folder lists itself as
WARM_UP = 3
PASSES = 5
"""Passes of one contender before the next has its turn."""

FLOPS = "twice the multiply-adds of convolutions and linear layers, one image"


@dataclass(frozen=True)
class Contender:
    """One model on one runtime.

    Attributes:
        model: its name, as the user gave it.
        runtime: what runs it, as "onnxruntime cpu" or "torch cuda".
        run: one whole pass over images uint8 [N, H, W, 3] RGB, finished when it returns.
        size: what is known of the model; None where nothing was counted.
    """

    model: str
    runtime: str
    run: Callable[[NDArray[np.uint8]], object]
    size: ModelSize | None = None


@dataclass(frozen=True)
class Timing:
    """What one contender took for batches of one size.

    Attributes:
        milliseconds: of a whole batch.
        images_per_second: at the median.
    """

    model: str
    runtime: str
    batch: int
    milliseconds: Percentiles
    images_per_second: float


@dataclass(frozen=True)
class Benchmark:
    """All timings of one run, and what they were taken with."""

    sizes: dict[str, ModelSize]
    timings: tuple[Timing, ...]
    width: int
    height: int
    threads: int
    rounds: int


def time_contenders(
    contenders: Sequence[Contender],
    images: NDArray[np.uint8],
    batches: Sequence[int],
    rounds: int,
) -> list[Timing]:
    """Times every contender with every batch size.

    Each is warmed up first. Then, in every round, all have their turn of a few passes, in another order each time, so
    that whatever else the machine does hits all alike.

    Args:
        contenders: what to time.
        images: uint8 [M, H, W, 3] RGB, of which each pass takes the first N; M is the largest batch.
        batches: sizes N.
        rounds: how many.
    """
    turns = [(contender, batch) for contender in contenders for batch in batches]
    taken: list[list[float]] = [[] for _ in turns]
    order = np.random.default_rng(0)
    with progress_bar() as progress:
        task = progress.add_task("timing", total=len(turns) * (rounds + 1))
        for contender, batch in turns:
            for _ in range(WARM_UP):
                contender.run(images[:batch])
            progress.advance(task)
        for _ in range(rounds):
            for turn in order.permutation(len(turns)).tolist():
                contender, batch = turns[turn]
                for _ in range(PASSES):
                    start = time.perf_counter()
                    contender.run(images[:batch])
                    taken[turn].append((time.perf_counter() - start) * 1e3)
                progress.advance(task)
    timings = []
    for (contender, batch), milliseconds in zip(turns, taken, strict=True):
        found = percentiles(milliseconds)
        assert found is not None, "no rounds"
        timings.append(Timing(contender.model, contender.runtime, batch, found, batch * 1e3 / found.p50))
    return timings


def write_benchmark(benchmark: Benchmark, out: Path, *, force: bool = False) -> None:
    """Writes benchmark.json, benchmark.csv and benchmark.png into the folder `out`."""
    with whole_folder(out, of=BENCHMARK, force=force) as partial:
        (partial / "benchmark.json").write_text(json.dumps(_document(benchmark), indent=2) + "\n")
        with (partial / "benchmark.csv").open("w", newline="") as file:
            rows = [_row(benchmark, timing) for timing in benchmark.timings]
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        _draw(benchmark, partial / "benchmark.png")


def _document(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "machine": asdict(this_machine()),
        "software": software_versions(),
        "threads": benchmark.threads,
        "image": {"width": benchmark.width, "height": benchmark.height},
        "passes": {"warm_up": WARM_UP, "rounds": benchmark.rounds, "in_a_round": PASSES},
        "flops": FLOPS,
        "models": {name: asdict(size) for name, size in benchmark.sizes.items()},
        "timings": [asdict(timing) for timing in benchmark.timings],
    }


def _row(benchmark: Benchmark, timing: Timing) -> dict[str, Any]:
    size = benchmark.sizes.get(timing.model)
    return {
        "model": timing.model,
        "runtime": timing.runtime,
        "batch": timing.batch,
        "width": benchmark.width,
        "height": benchmark.height,
        "threads": benchmark.threads,
        "parameters": size.parameters if size else None,
        "flops": size.flops if size else None,
        "megabytes": size.megabytes if size else None,
        "p50_ms": timing.milliseconds.p50,
        "p90_ms": timing.milliseconds.p90,
        "p99_ms": timing.milliseconds.p99,
        "passes": timing.milliseconds.count,
        "images_per_second": timing.images_per_second,
    }


def _draw(benchmark: Benchmark, path: Path) -> None:
    """Latency of a batch (bar to the median, line to p99) and throughput, by model, runtime and batch size."""
    from matplotlib.figure import Figure  # slow to import

    names = [f"{t.model}\n{t.runtime}, batch {t.batch}" for t in benchmark.timings]
    places = np.arange(len(names))
    figure = Figure(figsize=(11, 1.4 + 0.5 * len(names)), layout="constrained")
    latency, throughput = figure.subplots(1, 2, sharey=True)
    medians = [t.milliseconds.p50 for t in benchmark.timings]
    latency.barh(places, medians, color="#2f7de1")
    latency.hlines(places, medians, [t.milliseconds.p99 for t in benchmark.timings], color="#333333", linewidth=1.5)
    latency.set_xlabel("milliseconds a batch: median, line to p99")
    throughput.barh(places, [t.images_per_second for t in benchmark.timings], color="#2f9e6e")
    throughput.set_xlabel("images a second")
    latency.set_yticks(places, names, fontsize=8)
    latency.invert_yaxis()
    for axes in (latency, throughput):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(left=0)
    machine = this_machine()
    figure.suptitle(
        f"{benchmark.width}x{benchmark.height} pixels, {benchmark.threads} CPU threads, {machine.cpu}", fontsize=10
    )
    figure.savefig(path, dpi=150)
