"""How near the direction is whose weights were measured on the body's deep levels to the exact one, on real images.

    python benchmarks/deep_direction.py --index camvid.json --recordings camvid/ --out deep_direction.json

A network is trained from ImageNet's weights with the tasks' plain sum. At every step both directions of each gradient
method that weighs the tasks are computed from the same gradients, and compared by cosine and by length.
"""

from __future__ import annotations

import mayhem_train  # isort: skip  # noqa: F401 - before torch, whose threads it tells how to wait
import argparse
import statistics
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from measured import report
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from mayhem_train.balancing.gradients.method import GramMethod
from mayhem_train.balancing.names import GRADIENT_METHODS
from mayhem_train.balancing.shared_features import SharedFeatures, add_gradient
from mayhem_train.datasets.datamodule import PerceptionDataModule
from mayhem_train.models.network import MultiTaskNetwork, build_network
from mayhem_train.models.specification import NetworkSpecification

METHODS = {n: kind for n, kind in GRADIENT_METHODS.items() if n != "none" and isinstance(kind(), GramMethod)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", required=True, help="what an import of labels wrote")
    parser.add_argument("--recordings", required=True)
    parser.add_argument("--size", type=int, nargs=2, default=(192, 256), help="of the network's input")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--body", default="mobilenet_v2")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    figures = measure(arguments)
    show(figures)
    report(figures, arguments.out)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Cosine and relative length of the deep direction against the exact one, for each method over all steps."""
    torch.manual_seed(0)
    data = PerceptionDataModule(arguments.index, arguments.recordings, arguments.size, arguments.batch)
    data.setup("fit")
    specification = NetworkSpecification(
        "lraspp-mtl", arguments.body, *arguments.size, data.thing_names, data.surface_names
    )
    network = build_network(specification, "imagenet").train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2.5e-4)
    deep = deep_places(network)
    exact_methods = {name: kind() for name, kind in METHODS.items()}  # two of each, as some remember earlier steps
    deep_methods = {name: kind() for name, kind in METHODS.items()}
    cosines: dict[str, list[float]] = {name: [] for name in METHODS}
    lengths: dict[str, list[float]] = {name: [] for name in METHODS}
    epochs = chain.from_iterable(data.train_dataloader() for _ in repeat(None))
    for _, batch in zip(track(range(arguments.steps), "training"), epochs):  # noqa: B905 (the epochs never end)
        optimiser.zero_grad()
        shared = SharedFeatures(network.features(batch.images.float()), network.tasks)
        predictions = {task: head(shared.of(task)) for task, head in network.heads.items()}
        losses = network.losses(predictions, batch)
        torch.stack([term for terms in losses.values() for term in terms.values()]).sum().backward()
        gradients = shared.gradients(network.shared_parameters)
        for name in METHODS:
            exact = exact_methods[name].combine(gradients).vector.double()  # a float32 loses four digits over millions
            measured = (deep_methods[name].combine(gradients[:, deep]).weights @ gradients).double()
            cosines[name].append(float(torch.cosine_similarity(exact, measured, dim=0)))
            lengths[name].append(float(measured.norm() / exact.norm()))
        add_gradient(gradients.sum(0), network.shared_parameters)
        optimiser.step()
    rows = {
        name: {
            "least_cosine": round(min(cosines[name]), 5),
            "median_cosine": round(statistics.median(cosines[name]), 5),
            "median_length": round(statistics.median(lengths[name]), 3),
        }
        for name in METHODS
    }
    setting = {key: getattr(arguments, key) for key in ("body", "size", "batch", "steps")}
    share = round(float(deep.float().mean()), 4)
    return {"network": "lraspp-mtl", **setting, "share_of_parameters_measured": share, "methods": rows}


def deep_places(network: MultiTaskNetwork) -> Tensor:
    """bool [P]: which of the shared parameters' values `--balancer.measured_on deep` looks at."""
    deep = {id(parameter) for parameter in network.deep_parameters}
    return torch.cat([torch.full((p.numel(),), id(p) in deep) for p in network.shared_parameters])


def show(figures: dict[str, Any]) -> None:
    table = Table("method", "least cosine", "median cosine", "median length, exact = 1")
    for name, row in figures["methods"].items():
        table.add_row(name, *(str(value) for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
