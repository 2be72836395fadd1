"""What each of the seven networks costs: milliseconds and images a second, in training and in inference.

    python benchmarks/networks.py [--device cuda] [--batch 8] [--precision bf16-mixed] [--out networks.json]

The preset is the fair one, the weights are random, which cost the same time. A training step is forward, losses equally
weighted, backward and AdamW; images and truth are at hand. Inference is complete, from camera pixels to boxes and mask,
in float32, by what `mayhem benchmark` times with: the checkpoint in torch and its export in ONNX Runtime, one image
and a batch. Rounds go through all networks in turn, so that a noisy machine hits all alike; the figures are medians.
"""

from __future__ import annotations

import mayhem_train  # isort: skip  # noqa: F401 - before torch, whose threads it tells how to wait
import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from balancing import Scenes, some_batch, synchronise
from measured import report
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._pytree import tree_map

from mayhem_ros.onnx_model import OnnxModel
from mayhem_train.evaluation.benchmarking.benchmark import Contender, Timing, time_contenders
from mayhem_train.evaluation.provenance import this_machine
from mayhem_train.export.deployable import DeployableNetwork
from mayhem_train.export.eager import EagerModel
from mayhem_train.export.onnx_file import model_card, write_onnx
from mayhem_train.export.parity import generated_images
from mayhem_train.models.network import NETWORKS, MultiTaskNetwork, build_network
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.training.trained_network import CHECKPOINT_KEY, TrainedNetwork

PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
WARM_UP = 3  # steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), help="of the images and the networks' input")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--body", default="mobilenet_v3_large")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16-mixed", help="of training")
    parser.add_argument("--rounds", type=int, default=10, help="training steps and turns of five passes")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0: one a core")
    parser.add_argument("--out", type=Path, help="also write the figures there as JSON")
    arguments = parser.parse_args()
    arguments.threads = arguments.threads or this_machine().cores
    torch.set_num_threads(arguments.threads)
    training = time_training(arguments)
    inference = time_inference(arguments)
    show(training, arguments.batch, inference)
    setting = {key: getattr(arguments, key) for key in ("size", "batch", "body", "device", "precision", "threads")}
    if arguments.device == "cuda":
        setting["accelerator"] = torch.cuda.get_device_name()
    figures = {
        name: {
            "training": rounded(training[name], arguments.batch * 1e3 / training[name]),
            "inference": {
                f"{timing.runtime}, batch {timing.batch}": rounded(timing.milliseconds.p50, timing.images_per_second)
                for timing in inference
                if timing.model == name
            },
        }
        for name in arguments.networks
    }
    report({**setting, "rounds": arguments.rounds, "torch": torch.__version__, "networks": figures}, arguments.out)


class TrainingStep:
    """What one step of training does, on a network of its own."""

    def __init__(self, arguments: argparse.Namespace, name: str):
        self.network = fresh_network(arguments, name).to(memory_format=torch.channels_last).to(arguments.device)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), 1e-4)
        lowered = arguments.precision != "32-true"
        self.autocast = torch.autocast(arguments.device, PRECISIONS[arguments.precision] if lowered else None, lowered)
        self.scaler = torch.amp.GradScaler(arguments.device, enabled=arguments.precision == "16-mixed")

    def __call__(self, batch: Scenes) -> None:
        self.optimiser.zero_grad()
        with self.autocast:
            raw = self.network(batch.images.contiguous(memory_format=torch.channels_last))
            predictions = tree_map(Tensor.float, raw)  # losses need float32's range
            terms = [term for of_task in self.network.losses(predictions, batch).values() for term in of_task.values()]
            loss = torch.stack(terms).sum()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()


def fresh_network(arguments: argparse.Namespace, name: str) -> MultiTaskNetwork:
    torch.manual_seed(0)
    height, width = arguments.size
    specification = NetworkSpecification(name, arguments.body, height, width, ("agv", "person"), ("floor",))
    return build_network(specification, "none").train()


def time_training(arguments: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds of a step by network."""
    batch = some_batch(arguments)
    steps = {name: TrainingStep(arguments, name) for name in arguments.networks}
    for step in steps.values():
        for _ in range(WARM_UP):
            step(batch)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            synchronise(arguments.device)
            start = time.perf_counter()
            step(batch)
            synchronise(arguments.device)
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(of_one) for name, of_one in times.items()}


def time_inference(arguments: argparse.Namespace) -> list[Timing]:
    """Every network's checkpoint in torch and its export in ONNX Runtime, one image and a batch."""
    images = np.stack(generated_images(arguments.batch, *arguments.size))
    provider = "auto" if arguments.device == "cuda" else "cpu"  # an ONNX Runtime without CUDA says so by its name
    contenders = []
    with tempfile.TemporaryDirectory(prefix="mayhem-networks-") as folder:
        for name in arguments.networks:
            checkpoint, exported = write(fresh_network(arguments, name), Path(folder) / name)
            eager = EagerModel(checkpoint, arguments.device)
            onnx = OnnxModel(exported, provider=provider, threads=arguments.threads)
            contenders.append(Contender(name, f"torch {arguments.device}", eager.predict))
            contenders.append(Contender(name, f"onnxruntime {onnx.provider}", onnx.predict))
        return time_contenders(contenders, images, sorted({1, arguments.batch}), arguments.rounds)


def write(network: MultiTaskNetwork, stem: Path) -> tuple[Path, Path]:
    """A checkpoint and its export; the network's normalisation has seen pictures, so that few scores tie."""
    specification = network.specification
    pictures = np.stack(generated_images(2, specification.height, specification.width))
    with torch.no_grad():
        network(torch.from_numpy(pictures).permute(0, 3, 1, 2).float())
    trained = TrainedNetwork(specification, {}, {}, "equal", 0, "0" * 64, "benchmark")
    checkpoint, exported = stem.with_suffix(".ckpt"), stem.with_suffix(".onnx")
    weights = {f"network.{name}": weight for name, weight in network.state_dict().items()}
    torch.save({"state_dict": weights, CHECKPOINT_KEY: trained.to_dict()}, checkpoint)
    write_onnx(DeployableNetwork(network).eval(), model_card(trained, network.tasks), exported)
    return checkpoint, exported


def rounded(milliseconds: float, images_per_second: float) -> dict[str, float]:
    return {"ms": round(milliseconds, 2), "images_per_second": round(images_per_second, 1)}


def show(training: dict[str, float], batch: int, inference: list[Timing]) -> None:
    table = Table("network", "training step, ms", "images/s")
    for name, milliseconds in training.items():
        table.add_row(name, f"{milliseconds:.1f}", f"{batch * 1e3 / milliseconds:.1f}")
    passes = Table("network", "inference by", "batch", "p50 ms", "images/s")
    for timing in inference:
        figures = (f"{timing.milliseconds.p50:.1f}", f"{timing.images_per_second:.1f}")
        passes.add_row(timing.model, timing.runtime, str(timing.batch), *figures)
    Console().print(table, passes)


if __name__ == "__main__":
    main()
