"""Benchmarks: what is counted is exact, everybody has the same turns, and the files say what the terminal says."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from robot_small_model import save_model
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.commands import benchmark as command
from mayhem_train.evaluation.benchmarking import benchmark
from mayhem_train.evaluation.benchmarking.benchmark import PASSES, WARM_UP, Contender, time_contenders
from mayhem_train.evaluation.benchmarking.operations import ModelSize, model_size
from mayhem_train.export.eager import EagerModel
from mayhem_train.models.network import build_network
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.training.trained_network import CHECKPOINT_KEY, TrainedNetwork

HEIGHT, WIDTH = 12, 16
SHAPES = {
    "stem": (8, 3, 3, 3),
    "stem_bias": (8,),
    "depthwise": (8, 1, 3, 3),
    "up": (8, 4, 2, 2),
    "linear": (5, 4),
    "linear_bias": (5,),
    "last": (5, 2),
}
PARAMETERS = 216 + 8 + 72 + 128 + 20 + 5 + 10


def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def every_layer(path: Path) -> Path:
    """A model with each kind of layer that is counted; one weight behind the operator that quantisation puts there."""
    arrays = weights()
    stem = arrays.pop("stem")
    constants = {
        "stem_integers": np.clip(np.round(stem * 40), -127, 127).astype(np.int8),
        "stem_scale": np.array(1 / 40, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["stem_integers", "stem_scale"], ["stem"]),
        helper.make_node("Conv", ["planes", "stem", "stem_bias"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "depthwise"], ["b"], group=8, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["b", "up"], ["c"], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "linear", "linear_bias"], ["f"], transB=1),
        helper.make_node("MatMul", ["f", "last"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "every layer",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(value, name) for name, value in (arrays | constants).items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_operations_are_counted_as_torch_counts_them(tmp_path: Path) -> None:
    tensors = {name: torch.from_numpy(value) for name, value in weights().items()}
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        x = functional.conv2d(torch.zeros(1, 3, HEIGHT, WIDTH), tensors["stem"], tensors["stem_bias"], 2, 1)
        x = functional.conv2d(x, tensors["depthwise"], padding=1, groups=8)
        x = functional.conv_transpose2d(x, tensors["up"], stride=2)
        functional.linear(x.mean((2, 3)), tensors["linear"], tensors["linear_bias"]) @ tensors["last"]
    path = every_layer(tmp_path / "m.onnx")
    size = model_size(path, HEIGHT, WIDTH)
    assert size == ModelSize(PARAMETERS, counter.get_total_flops(), path.stat().st_size / 1e6)
    assert size.flops == 2 * (6 * 8 * 8 * 27 + 6 * 8 * 8 * 9 + 6 * 8 * 8 * 16 + 20 + 10)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(MayhemError, match=r"The operations of .*m\.onnx cannot be counted"):
        model_size(path, HEIGHT, WIDTH)


class Clock:
    """A clock that only contenders advance, so that what is timed is known."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turns: list[tuple[str, int]] = []

    def contender(self, name: str, *seconds: float) -> Contender:
        """Takes these times an image in turn, the first ones while warming up."""
        coming = iter(seconds * 1000)

        def run(images: np.ndarray) -> None:
            self.turns.append((name, len(images)))
            self.now += next(coming) * len(images)

        return Contender(name, "clockwork", run)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: found.now)
    return found


def test_the_time_of_each_batch_is_the_contenders_own_without_its_warm_up(clock: Clock) -> None:
    images = np.zeros((4, 2, 2, 3), np.uint8)
    slow = clock.contender("slow", *[9.0] * WARM_UP, *[0.02] * 500)
    timings = time_contenders([slow, clock.contender("fast", 0.005)], images, [1, 4], rounds=3)
    assert [(t.model, t.batch) for t in timings] == [("slow", 1), ("slow", 4), ("fast", 1), ("fast", 4)]
    assert [t.milliseconds.p50 for t in timings] == pytest.approx([20, 80, 5, 20])
    assert [t.milliseconds.max for t in timings] == pytest.approx([20, 80, 5, 20])
    assert [t.images_per_second for t in timings] == pytest.approx([50, 50, 200, 200])
    assert {t.milliseconds.count for t in timings} == {3 * PASSES}


def test_everybody_has_one_turn_a_round_and_nobody_always_the_first(clock: Clock) -> None:
    contenders = [clock.contender(name, 0.001) for name in "abc"]
    time_contenders(contenders, np.zeros((1, 2, 2, 3), np.uint8), [1], rounds=12)
    names = "".join(name for name, _ in clock.turns)
    assert names[: 3 * WARM_UP] == "a" * WARM_UP + "b" * WARM_UP + "c" * WARM_UP
    turns = names[3 * WARM_UP :: PASSES]
    rounds = [turns[start : start + 3] for start in range(0, len(turns), 3)]
    assert len(rounds) == 12 and all(sorted(found) == ["a", "b", "c"] for found in rounds)
    assert {found[0] for found in rounds} == {"a", "b", "c"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    specification = NetworkSpecification("lraspp-mtl", "mobilenet_v2", 64, 64, ("person",), ("floor",))
    torch.manual_seed(0)
    network = build_network(specification, "none")
    trained = TrainedNetwork(specification, {}, {}, "equal", 0, "0" * 64, "test")
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, CHECKPOINT_KEY: trained.to_dict()}, path)
    return path


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_the_table_the_csv_the_json_and_the_plot_tell_one_story(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mayhem_train.console.console._width", 200)
    threads = torch.get_num_threads()
    model, out = save_model(tmp_path / "small.onnx"), tmp_path / "out"
    options = ("--batch", 1, 2, "--size", "64x48", "--rounds", 2, "--threads", 1, "--out", out)
    try:
        assert run(model, checkpoint, model, *options) == 0
    finally:
        torch.set_num_threads(threads)
    with (out / "benchmark.csv").open() as file:
        rows = list(csv.DictReader(file))
    cases = [("small.onnx", "onnxruntime cpu"), ("best.ckpt", "torch cpu")]
    assert [(r["model"], r["runtime"], r["batch"]) for r in rows] == [(*c, b) for c in cases for b in "12"]
    document = json.loads((out / "benchmark.json").read_text())
    assert document["threads"] == 1 and document["image"] == {"width": 64, "height": 48}
    assert document["machine"]["cpu"] and "multiply-adds" in document["flops"]
    printed = capsys.readouterr().out
    for row, timing in zip(rows, document["timings"], strict=True):
        found = timing["milliseconds"]
        assert float(row["p50_ms"]) == found["p50"] <= float(row["p90_ms"]) <= float(row["p99_ms"]) == found["p99"]
        assert float(row["images_per_second"]) == pytest.approx(int(row["batch"]) * 1e3 / found["p50"])
        assert int(row["passes"]) == 2 * PASSES
        assert f"{found['p50']:.1f}" in printed
        assert int(row["parameters"]) == document["models"][row["model"]]["parameters"]
    assert document["models"]["small.onnx"]["parameters"] == 0  # it has no layers
    plot = cv2.imread(str(out / "benchmark.png"))
    assert plot is not None and plot.std() > 5


def test_torch_runs_the_whole_network_that_export_writes(checkpoint: Path) -> None:
    eager = EagerModel(checkpoint, "cpu")
    outputs = eager.predict(np.zeros((2, 48, 64, 3), np.uint8))
    assert [output.dtype.name for output in outputs] == ["float32", "float32", "int64", "int64", "uint8", "uint8"]
    assert outputs[0].shape[0] == 2 and outputs[4].shape == (2, 48, 64)
    specification = NetworkSpecification("lraspp-mtl", "mobilenet_v2", 64, 64, ("person",), ("floor",))
    parameters = sum(p.numel() for p in build_network(specification, "none").parameters())
    size = eager.size(48, 64)
    assert size.parameters == parameters
    assert 2 * 1e6 < size.flops < 2 * 1e9


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--size", "640"), "--size 640 is no WIDTHxHEIGHT"),
        (("--size", "0x480"), "--size 0x480 is no WIDTHxHEIGHT"),
        (("--batch", "1", "0"), "--batch 0: a pass has one image at least"),
        (("--rounds", "0"), "--rounds 0"),
        (("--threads", "-1"), "--threads -1"),
        (("--providers", "gpu"), "The provider 'gpu' is none of"),
    ],
)
def test_wrong_usage_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        run(save_model(tmp_path / "m.onnx"), *arguments)


def test_a_provider_that_is_not_there_is_one_sentence_before_anything_is_timed(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "time_contenders", lambda *_: pytest.fail("timed"))
    with pytest.raises(MayhemError, match="The provider openvino cannot be had here"):
        run(save_model(tmp_path / "m.onnx"), "--providers", "cpu", "openvino")
    with pytest.raises(UsageError, match="A checkpoint runs in torch on cpu or cuda, not on openvino"):
        run(checkpoint, "--providers", "openvino")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MayhemError, match="torch finds no CUDA device here"):
        run(checkpoint, "--providers", "cuda")


def test_a_folder_that_holds_something_is_kept_unless_forced(tmp_path: Path) -> None:
    model, out = save_model(tmp_path / "m.onnx"), tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        run(model, "--out", out)
    with pytest.raises(UsageError, match="would be deleted"):
        run(model, "--out", tmp_path, "--force")
    with pytest.raises(UsageError, match="holds mine, which is nothing that --force may replace"):
        run(model, "--out", out, "--force")
    (out / "mine").unlink()
    for _ in range(2):
        assert run(model, "--rounds", 1, "--size", "32x24", "--out", out, "--force") == 0
    files = [".mayhem-benchmark", "benchmark.csv", "benchmark.json", "benchmark.png"]
    assert sorted(path.name for path in out.iterdir()) == files


def test_two_files_of_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_model(tmp_path / folder / "m.onnx")
    paths = [tmp_path / "a" / "m.onnx", tmp_path / "b" / "m.onnx"]
    assert list(command._names(paths)) == [str(path) for path in paths]
