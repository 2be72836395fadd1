"""What a training step costs on cores that other programs want too, by how torch's threads wait for one another.

    python benchmarks/busy_cores.py [--rounds 6] [--out busy_cores.json]

Each way of waiting is a process of its own, since OpenMP reads its settings once. They take a few steps in turn, first
alone, then beside one and two neighbours that keep a core busy, so that whatever else the machine does hits all alike.
A step's fair share of the cores is what is left when every runnable thread gets as much as any other; the median
beside neighbours stands against that share of the run's quickest way without neighbours.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from measured import report
from rich.console import Console
from rich.table import Table

from mayhem_train.waiting_threads import CHOSEN_BY_THE_USER, SPINS

WAYS: dict[str, dict[str, str]] = {
    "as they are": {"GOMP_SPINCOUNT": "300000"},  # what libgomp does where nobody says anything
    "ours": {"GOMP_SPINCOUNT": SPINS},
    "1,000 spins": {"GOMP_SPINCOUNT": "1000"},
    "10,000 spins": {"GOMP_SPINCOUNT": "10000"},
    "asleep": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
NEIGHBOURS = (0, 1, 2)
LIMIT = 2.0  # times the fair share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="turns of each way beside each number of neighbours")
    parser.add_argument("--steps", type=int, default=3, help="a turn")
    parser.add_argument("--image", type=int, nargs=2, default=(192, 256), help="height and width, pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    parser.add_argument("--step-on-request", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step_on_request:
        step_on_request(arguments.batch, *arguments.image)
        return
    size = ["--batch", str(arguments.batch), "--image", *map(str, arguments.image)]
    with ExitStack() as resources:
        trainings = {name: resources.enter_context(training(settings, size)) for name, settings in WAYS.items()}
        times = {
            neighbours: timed(trainings, neighbours, arguments.rounds, arguments.steps) for neighbours in NEIGHBOURS
        }
    figures = summary(times, threads=len(os.sched_getaffinity(0)))
    Console().print(table(figures))
    report(figures, arguments.out)


def step_on_request(batch: int, height: int, width: int) -> None:
    """Takes as many training steps as each line of standard input asks for and prints the seconds of each."""
    import torch
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    network = mobilenet_v2(num_classes=8)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    images, labels = torch.rand(batch, 3, height, width), torch.arange(batch) % 8
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
            seconds.append(time.perf_counter() - start)
        print(*seconds, flush=True)


@contextmanager
def training(settings: dict[str, str], size: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that takes steps when asked, warmed up."""
    untouched = {
        name: value for name, value in os.environ.items() if name not in (*CHOSEN_BY_THE_USER, "OMP_NUM_THREADS")
    }
    command = [sys.executable, __file__, "--step-on-request", *size]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env={**untouched, **settings}) as process:
        steps(process, 2)
        yield process
        process.stdin.close()


def steps(process: subprocess.Popen[str], number: int) -> list[float]:
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    return [float(seconds) for seconds in process.stdout.readline().split()]


def timed(
    trainings: dict[str, subprocess.Popen[str]], neighbours: int, rounds: int, number: int
) -> dict[str, list[float]]:
    """The seconds of every step of each training, which take turns beside the neighbours."""
    found: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as resources:
        for _ in range(neighbours):
            resources.enter_context(busy_neighbour())
        for _ in range(rounds):
            for name, process in trainings.items():
                found[name] += steps(process, number)
    return found


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """A program of another terminal that computes all the time."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def summary(times: dict[int, dict[str, list[float]]], threads: int) -> list[dict[str, object]]:
    """Each way beside each number of neighbours: seconds, and ratios to the quickest way without neighbours."""
    quiet = min(map(statistics.median, times[0].values()))
    rows: list[dict[str, object]] = []
    for neighbours, by_way in times.items():
        fair = max(1.0, (threads + neighbours) / threads)
        for name, seconds in by_way.items():
            median = statistics.median(seconds)
            rows.append(
                {
                    "neighbours": neighbours,
                    "way": name,
                    "median_s": round(median, 3),
                    "most_s": round(max(seconds), 3),
                    "of_quiet": round(median / quiet, 2),
                    "of_fair_share": round(median / (quiet * fair), 2),
                    "within_limit": median <= LIMIT * quiet * fair,
                }
            )
    return rows


def table(rows: list[dict[str, object]]) -> Table:
    found = Table("neighbours", "threads wait", "median s", "most s", "/ quiet", f"/ fair share (limit {LIMIT:g})")
    for row in rows:
        found.add_row(*(str(value) for name, value in row.items() if name != "within_limit"))
    return found


if __name__ == "__main__":
    main()
