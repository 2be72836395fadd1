"""A gradient-balanced training step against an equally weighted one, torchjd's and LibMTL's, on one network and batch.

example: python benchmarks/balancing.py --libmtl LibMTL --out balancing.json
where LibMTL is a checkout of its repository, whose releases are older than torchvision's present names.

A step is forward, losses, backward and AdamW; the data are at hand. Rounds go through all methods in turn, so that a
noisy machine hits all alike; the figures are medians, and ratios of medians of one run. torchjd is given copies of the
features, since `mtl_backward` takes none that is computed from another; it passes all tasks back at once, as is its
default, and by task, which is faster on some machines. LibMTL cannot take parameters in channels-last
order, so that it is compared with ours without them.
"""

from __future__ import annotations

import mayhem_train  # isort: skip  # noqa: F401 - before torch, whose threads it tells how to wait
import argparse
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from measured import report
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchjd import aggregation
from torchjd.autojac import jac_to_grad, mtl_backward

from mayhem_train.balancing.balancer import Balancer, MeasuredOn
from mayhem_train.balancing.gradients.method import GramMethod
from mayhem_train.balancing.names import GRADIENT_METHODS, WEIGHTINGS
from mayhem_train.balancing.shared_features import SharedFeatures, add_gradient
from mayhem_train.models.features import Features
from mayhem_train.models.network import MultiTaskNetwork, build_network
from mayhem_train.models.specification import NetworkSpecification

TORCHJD: dict[str, Callable[[], Any]] = {
    "pcgrad": aggregation.PCGrad,
    "cagrad": lambda: aggregation.CAGrad(0.5),
    "mgda": aggregation.MGDA,
    "nash-mtl": lambda: aggregation.NashMTL(2),
    "imtl-g": aggregation.IMTLG,
    "aligned-mtl": aggregation.AlignedMTL,
    "upgrad": aggregation.UPGrad,
    "dualproj": aggregation.DualProj,
    "fairgrad": lambda: aggregation.FairGrad(2.0),
    "graddrop-shared": aggregation.GradDrop,
}
LIBMTL = {  # its Aligned-MTL calls what torch no longer has
    "pcgrad": ("PCGrad", {}),
    "cagrad": ("CAGrad", {"calpha": 0.5, "rescale": 0}),
    "mgda": ("MGDA", {"mgda_gn": "none"}),
    "nash-mtl": ("Nash_MTL", {"update_weights_every": 1, "optim_niter": 20, "max_norm": 1.0}),
    "imtl-g": ("IMTL", {}),
    "fairgrad": ("FairGrad", {"FairGrad_alpha": 2.0}),
    "db-mtl": ("DB_MTL", {"DB_beta": 0.9, "DB_beta_sigma": 0.5}),
}
EQUAL = "equal"
RIVALS = (EQUAL, "torchjd", "torchjd, by task", "LibMTL")


@dataclass(frozen=True)
class Scenes:
    """A batch: images float32 [N, 3, H, W] and the truth, as models/targets.py describes it."""

    images: Tensor
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    crowd_boxes: tuple[Tensor, ...]
    masks: Tensor


class Step(ABC):
    """One way to train: a network of its own, the same for all, and what goes from its losses to its gradients."""

    def __init__(self, arguments: argparse.Namespace, memory: torch.memory_format = torch.channels_last):
        torch.manual_seed(0)
        height, width = arguments.size
        specification = NetworkSpecification("lraspp-mtl", arguments.body, height, width, ("agv", "person"), ("floor",))
        self.network: MultiTaskNetwork = build_network(specification, "none").to(memory_format=memory)
        self.network.train().to(arguments.device)
        self.memory = memory
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=1e-4)

    def losses(self, predictions: dict[str, Any], batch: Scenes) -> dict[str, Tensor]:
        terms = self.network.losses(predictions, batch)
        return {task: torch.stack(list(of_task.values())).sum() for task, of_task in terms.items()}

    def __call__(self, batch: Scenes) -> None:
        self.optimiser.zero_grad()
        self.backward(replace(batch, images=batch.images.contiguous(memory_format=self.memory)))
        self.optimiser.step()

    @abstractmethod
    def backward(self, batch: Scenes) -> None: ...


class Ours(Step):
    def __init__(
        self,
        arguments: argparse.Namespace,
        weighting: str,
        gradient: str,
        memory: torch.memory_format = torch.channels_last,
        measured_on: MeasuredOn = "body",
    ):
        super().__init__(arguments, memory)
        self.balancer = Balancer(weighting, gradient, measured_on=measured_on)
        self.balancer.bind(self.network.tasks)
        self.balancer.to(arguments.device)
        deep = measured_on == "deep"
        self.parameters = self.network.deep_parameters if deep else self.network.shared_parameters
        self.one = torch.ones((), device=arguments.device)

    def backward(self, batch: Scenes) -> None:
        features = self.network.features(batch.images)
        if not self.balancer.balances_gradients:
            self.balancer(self.losses(self.network.predictions(features), batch)).total.backward()
            return
        shared = SharedFeatures(features, self.network.tasks)
        predictions = {task: head(shared.of(task)) for task, head in self.network.heads.items()}
        balanced = self.balancer(self.losses(predictions, batch))
        self.balancer.backward(balanced, shared, self.parameters, self.one)


class Torchjd(Step):
    def __init__(self, arguments: argparse.Namespace, method: str, chunk: int | None = None):
        super().__init__(arguments)
        self.aggregator = TORCHJD[method]()
        self.chunk = chunk  # how many tasks it passes back at once, None all

    def backward(self, batch: Scenes) -> None:
        features = Features(*(level.clone() for level in self.network.features(batch.images)))
        losses = self.losses(self.network.predictions(features), batch)
        mtl_backward(list(losses.values()), features=list(features), parallel_chunk_size=self.chunk)
        jac_to_grad(self.network.shared_parameters, self.aggregator)


class Libmtl(Step):
    def __init__(self, arguments: argparse.Namespace, method: str):
        super().__init__(arguments, torch.contiguous_format)
        import LibMTL.weighting as libmtl

        name, self.options = LIBMTL[method]
        self.method = getattr(libmtl, name)()
        self.method.device, self.method.rep_grad = arguments.device, False
        self.method.task_num, self.method.task_name = 2, list(self.network.tasks)
        self.method.get_share_params = lambda: self.network.shared_parameters
        self.method.zero_grad_share_params = lambda: self.network.body.zero_grad(set_to_none=False)
        self.method.init_param()

    def backward(self, batch: Scenes) -> None:
        self.method.backward(torch.stack(list(self.losses(self.network(batch.images), batch).values())), **self.options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(288, 384), help="of the network's input")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--body", default="mobilenet_v2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--methods", nargs="+", default=list(GRADIENT_METHODS), help="gradient methods")
    parser.add_argument(
        "--weightings", nargs="*", default=["uncertainty", "dwa", "auto-lambda"], help="loss weightings"
    )
    parser.add_argument("--libmtl", type=Path, help="a checkout of LibMTL")
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    if arguments.libmtl is not None:
        # Its package imports trainers and data sets with requirements of their own; only its methods are wanted.
        sys.modules["LibMTL"] = package = ModuleType("LibMTL")
        package.__path__ = [str(arguments.libmtl / "LibMTL")]
    assert set(arguments.methods) <= set(GRADIENT_METHODS) and set(arguments.weightings) <= set(WEIGHTINGS)
    figures = measure(arguments)
    print_table(figures)
    report(figures, arguments.out)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Median milliseconds by method and by whose it is, one method after the other beside an equal step of its own."""
    batch = some_batch(arguments)
    figures: dict[str, Any] = {
        "network": f"lraspp-mtl on {arguments.body}",
        "size": list(arguments.size),
        "batch": arguments.batch,
        "device": arguments.device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "methods": {},
    }
    for method in [*arguments.weightings, *(name for name in arguments.methods if name != "none")]:
        is_gradient = method in GRADIENT_METHODS
        steps: dict[str, Step] = {EQUAL: Ours(arguments, "equal", "none")}
        steps["ours"] = Ours(arguments, "equal", method) if is_gradient else Ours(arguments, method, "none")
        if is_gradient and isinstance(GRADIENT_METHODS[method](), GramMethod):
            steps["ours, deep"] = Ours(arguments, "equal", method, measured_on="deep")
        if method in TORCHJD:
            steps["torchjd"] = Torchjd(arguments, method)
            steps["torchjd, by task"] = Torchjd(arguments, method, chunk=1)
        if method in LIBMTL and arguments.libmtl is not None:
            steps["LibMTL"] = Libmtl(arguments, method)
            steps["ours, contiguous"] = Ours(arguments, "equal", method, torch.contiguous_format)
        times: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(arguments.rounds + 1):
            for name, step in steps.items():
                synchronise(arguments.device)
                start = time.perf_counter()
                step(batch)
                synchronise(arguments.device)
                if turn:  # the first one warms up
                    times[name].append(1e3 * (time.perf_counter() - start))
        medians = {name: statistics.median(of_one) for name, of_one in times.items()}
        ours = [name for name in medians if name not in RIVALS]
        figures["methods"][method] = {
            "ms": {name: round(median, 1) for name, median in medians.items()},
            "ratios": {
                f"{name} : {rival}": round(medians[name] / medians[rival], 3)
                for rival in RIVALS
                if rival in medians
                for name in ours
            },
        }
    figures["phases_ms"] = phases(arguments, batch)
    return figures


def phases(arguments: argparse.Namespace, batch: Scenes) -> dict[str, float]:
    """Where the time of a balanced step goes: median milliseconds of each of its parts."""
    step = Ours(arguments, "equal", "pcgrad")
    network, balancer = step.network, step.balancer
    images = batch.images.contiguous(memory_format=step.memory)
    times: dict[str, list[float]] = {}
    for turn in range(arguments.rounds + 1):
        before = time.perf_counter()

        def lap(phase: str, turn: int = turn) -> None:
            nonlocal before
            synchronise(arguments.device)
            if turn:  # the first one warms up
                times.setdefault(phase, []).append(1e3 * (time.perf_counter() - before))
            before = time.perf_counter()

        step.optimiser.zero_grad()
        features = network.features(images)
        lap("body, forward")
        shared = SharedFeatures(features, network.tasks)
        predictions = {task: head(shared.of(task)) for task, head in network.heads.items()}
        losses = step.losses(predictions, batch)
        lap("heads and losses, forward")
        for loss in losses.values():
            loss.backward()
        lap("heads and losses, backward")
        gradients = shared.gradients(network.deep_parameters, keep_graph=True, to_first_level=True)
        lap("body's deep levels, backward by task")
        gradients = shared.gradients(network.shared_parameters)
        lap("body, backward by task")
        direction = balancer.method.combine(gradients)
        add_gradient(direction.vector, network.shared_parameters)
        lap("gradients compared and combined")
        step.optimiser.step()
        lap("AdamW")
    return {phase: round(statistics.median(of_one), 1) for phase, of_one in times.items()}


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def some_batch(arguments: argparse.Namespace) -> Scenes:
    """Noise with three boxes an image and floor below."""
    generator = torch.Generator().manual_seed(1)
    height, width = arguments.size
    images = torch.randint(0, 255, (arguments.batch, 3, height, width), generator=generator).float()
    corner = torch.rand(arguments.batch, 3, 2, generator=generator) * torch.tensor([width, height]) * 0.6
    side = 20 + torch.rand(arguments.batch, 3, 2, generator=generator) * torch.tensor([width, height]) * 0.3
    boxes = torch.cat([corner, corner + side], 2).to(arguments.device)
    masks = torch.zeros(arguments.batch, height, width, dtype=torch.uint8, device=arguments.device)
    masks[:, height // 2 :] = 1
    return Scenes(
        images=images.to(arguments.device),
        boxes=tuple(boxes),
        labels=(torch.tensor([1, 2, 1], device=arguments.device),) * arguments.batch,
        crowd_boxes=(torch.zeros(0, 4, device=arguments.device),) * arguments.batch,
        masks=masks,
    )


def print_table(figures: dict[str, Any]) -> None:
    table = Table("method", "equal, ms", "measured on", "ms", *(f": {rival}" for rival in RIVALS))
    for method, row in figures["methods"].items():
        for name, where in (("ours", "body"), ("ours, deep", "deep levels"), ("ours, contiguous", "body, contiguous")):
            if name in row["ms"]:
                ratios = [row["ratios"].get(f"{name} : {rival}") for rival in RIVALS]
                cells = [row["ms"][EQUAL], where, row["ms"][name], *ratios]
                table.add_row(method, *("" if cell is None else str(cell) for cell in cells))
    parts = Table("part of a balanced step", "ms")
    for phase, milliseconds in figures["phases_ms"].items():
        parts.add_row(phase, str(milliseconds))
    Console().print(table, parts)


if __name__ == "__main__":
    main()
