"""`mayhem benchmark`."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mayhem_train.commands.path_argument import path_argument

if TYPE_CHECKING:
    from mayhem_train.evaluation.benchmarking.benchmark import Benchmark, Contender
    from mayhem_train.evaluation.benchmarking.operations import ModelSize

EXAMPLE = "mayhem benchmark model.onnx model-int8.onnx runs/first/checkpoints/best.ckpt --batch 1 4 --out benchmark/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "models",
        type=path_argument,
        nargs="+",
        metavar="MODEL",
        help="files of `mayhem export` (.onnx), and checkpoints of `mayhem train` (.ckpt) to run in torch beside them",
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1], metavar="N", help="images a pass (1)")
    parser.add_argument("--size", default="640x480", metavar="WIDTHxHEIGHT", help="of the camera's images (640x480)")
    parser.add_argument(
        "--providers",
        nargs="+",
        default=["cpu"],
        metavar="NAME",
        help="what runs them: cpu, cuda, tensorrt, openvino (cpu); checkpoints run on cpu and cuda",
    )
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads of a pass; 0: one a core")
    parser.add_argument("--rounds", type=int, default=20, metavar="R", help="turns of five passes each model has (20)")
    parser.add_argument("--out", type=path_argument, metavar="DIR", help="write benchmark.json, .csv and .png there")
    parser.add_argument("--force", action="store_true", help="replace an existing folder")


def run(arguments: argparse.Namespace) -> int:
    """Times the models side by side and prints the table."""
    from mayhem_ros.errors import UsageError
    from mayhem_train.evaluation.benchmarking.benchmark import BENCHMARK
    from mayhem_train.outputs import refuse_existing_folder, refuse_inputs_within

    size = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", arguments.size)
    if size is None:
        raise UsageError(f"--size {arguments.size} is no WIDTHxHEIGHT: write it as 640x480.")
    if min(arguments.batch) < 1:
        raise UsageError(f"--batch {min(arguments.batch)}: a pass has one image at least.")
    if arguments.rounds < 1:
        raise UsageError(f"--rounds {arguments.rounds}: one round is the least.")
    if arguments.threads < 0:
        raise UsageError(f"--threads {arguments.threads}: name a number of threads, or 0 for one a core.")
    if arguments.out is not None:
        refuse_inputs_within(arguments.out, arguments.models)
        refuse_existing_folder(arguments.out, of=BENCHMARK, force=arguments.force)

    import numpy as np

    from mayhem_train.evaluation.benchmarking.benchmark import Benchmark, time_contenders, write_benchmark
    from mayhem_train.evaluation.provenance import this_machine
    from mayhem_train.export.parity import generated_images

    width, height = (int(number) for number in size.groups())
    threads = arguments.threads or this_machine().cores
    batches = list(dict.fromkeys(arguments.batch))
    contenders, sizes = _contenders(arguments, height, width, threads)
    images = np.stack(generated_images(max(batches), height, width))
    timings = time_contenders(contenders, images, batches, arguments.rounds)
    benchmark = Benchmark(sizes, tuple(timings), width, height, threads, arguments.rounds)
    _print(benchmark)
    if arguments.out is not None:
        write_benchmark(benchmark, arguments.out, force=arguments.force)
    return 0


def _contenders(
    arguments: argparse.Namespace, height: int, width: int, threads: int
) -> tuple[list[Contender], dict[str, ModelSize]]:
    """Every model on every provider, loaded before anything is timed, so that what cannot be had is said at once."""
    from mayhem_ros.onnx_model import OnnxModel
    from mayhem_train.evaluation.benchmarking.benchmark import Contender
    from mayhem_train.evaluation.benchmarking.operations import model_size

    contenders: list[Contender] = []
    sizes: dict[str, ModelSize] = {}
    for name, path in _names(arguments.models).items():
        for provider in dict.fromkeys(arguments.providers):
            if path.suffix == ".ckpt":
                import torch  # slow to import

                from mayhem_train.export.eager import EagerModel

                torch.set_num_threads(threads)
                eager = EagerModel(path, provider)
                contenders.append(Contender(name, f"torch {provider}", eager.predict))
                if name not in sizes:
                    sizes[name] = eager.size(height, width)
            else:
                model = OnnxModel(path, provider=provider, threads=threads)
                contenders.append(Contender(name, f"onnxruntime {model.provider}", model.predict))
                if name not in sizes:
                    sizes[name] = model_size(path, height, width)
    return contenders, sizes


def _names(paths: Sequence[Path]) -> dict[str, Path]:
    """Each model by its file's name, or by its whole path where several files have that name."""
    files = dict.fromkeys(paths)
    common = Counter(path.name for path in files)
    return {path.name if common[path.name] == 1 else str(path): path for path in files}


def _print(benchmark: Benchmark) -> None:
    from rich.table import Table

    from mayhem_train.console import console
    from mayhem_train.evaluation.benchmarking.benchmark import FLOPS
    from mayhem_train.evaluation.provenance import this_machine

    models = Table("model", "parameters", "GFLOPs", "MB")
    for name, size in benchmark.sizes.items():
        figures = (f"{size.parameters / 1e6:.2f} M", f"{size.flops / 1e9:.2f}", f"{size.megabytes:.1f}")
        models.add_row(name, *figures)
    console.print(models)
    table = Table("model", "runtime", "batch", "p50 ms", "p90", "p99", "images/s")
    for timing in benchmark.timings:
        found = timing.milliseconds
        latencies = (f"{value:.1f}" for value in (found.p50, found.p90, found.p99))
        table.add_row(timing.model, timing.runtime, str(timing.batch), *latencies, f"{timing.images_per_second:.1f}")
    console.print(table)
    machine = this_machine()
    console.print(
        f"{benchmark.width}x{benchmark.height} pixels, {benchmark.threads} CPU threads of {machine.cores} cores "
        f"({machine.cpu}), {benchmark.timings[0].milliseconds.count} passes each in turns; FLOPs: {FLOPS}.",
        highlight=False,
        soft_wrap=True,
    )
