"""What the perception node adds to its model: from the image callback to the last publish, and the rate it keeps.

example: python benchmarks/node_overhead.py --model model.onnx --out node_overhead.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "test")]
# A domain of its own, and memory for whole images (see docs/node.md); read when the middleware starts.
os.environ |= {"ROS_DOMAIN_ID": str(os.getpid() % 100 + 1)} if "--camera" not in sys.argv else {}
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(ROOT / "config" / "fastdds.xml")

import rclpy  # noqa: E402
from measured import report  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from vision_msgs.msg import Detection2DArray  # noqa: E402

from mayhem_ros.errors import MayhemError  # noqa: E402
from mayhem_ros.health import FrameTiming, Health  # noqa: E402
from mayhem_ros.onnx_model import OnnxModel  # noqa: E402
from mayhem_ros.perception_node import PerceptionNode  # noqa: E402

RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
RESULTS = {
    "detections": Detection2DArray,
    "segmentation/mask": Image,
    "segmentation/confidence": Image,
    "debug/overlay": Image,
}


@dataclass(frozen=True)
class Run:
    """One measurement: which results are listened to, and the pause between images (None: the next after an answer)."""

    title: str
    listens: tuple[str, ...]
    period: float | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="an exported model; without one, a very small one is made")
    parser.add_argument("--frames", type=int, default=300, help="frames of each measurement (300)")
    parser.add_argument("--size", default="640x480", help="the images' size (640x480)")
    parser.add_argument("--provider", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures here too")
    parser.add_argument("--camera", help=argparse.SUPPRESS)  # this process is the camera: a JSON of its orders
    arguments = parser.parse_args()
    width, height = (int(edge) for edge in arguments.size.split("x"))
    if arguments.camera:
        return play_camera(json.loads(arguments.camera), width, height)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.model or make_small_model(Path(folder))
        figures = measure(path, arguments, width, height)
    print_table(figures)
    report(figures, arguments.out)
    return 0


def make_small_model(folder: Path) -> Path:
    from robot_small_model import save_model  # the tests' model, on the path only from here

    return save_model(folder / "small.onnx")


def measure(path: Path, arguments: argparse.Namespace, width: int, height: int) -> dict[str, Any]:
    bare = time_bare_model(path, arguments, width, height)
    masks = ("segmentation/mask", "segmentation/confidence")
    runs = [
        Run("detections, mask, confidence", ("detections", *masks), None),
        Run("detections", ("detections",), None),
        Run("with overlay", ("detections", *masks, "debug/overlay"), None),
        # A camera a quarter faster than the model, so that there is always a newest image waiting.
        Run("saturated", ("detections", *masks), bare["p50_ms"] * 0.8e-3),
    ]
    rclpy.init()
    node = PerceptionNode(
        parameter_overrides=[
            Parameter("model_path", value=str(path)),
            Parameter("provider", value=arguments.provider),
            Parameter("threads", value=arguments.threads),
        ]
    )
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    rows = []
    try:
        if not node.start():
            raise SystemExit(1)
        thread.start()
        for run in runs:
            with recorded_timings() as timings:
                orders = {"listens": run.listens, "period": run.period, "frames": arguments.frames}
                subprocess.run(
                    [sys.executable, __file__, "--camera", json.dumps(orders), "--size", arguments.size], check=True
                )
            rows.append(summarise(run, timings[len(timings) // 10 :]))
    finally:
        executor.shutdown()
        thread.join()
        node.destroy_node()
        rclpy.shutdown()
    rate = next(row["frames_per_s"] for row in rows if row["run"] == "saturated")
    return {
        "model": path.name,
        "size": arguments.size,
        "cpu_cores": os.cpu_count(),
        "bare_model": bare,
        "runs": rows,
        "throughput_ratio": rate / (1e3 / bare["mean_ms"]),
    }


def time_bare_model(path: Path, arguments: argparse.Namespace, width: int, height: int) -> dict[str, float]:
    model = OnnxModel(path, provider=arguments.provider, threads=arguments.threads)
    images = random_image(width, height)[None]
    for _ in range(5):
        model.predict(images)
    times = []
    for _ in range(arguments.frames):
        start = time.perf_counter()
        model.predict(images)
        times.append((time.perf_counter() - start) * 1e3)
    return {
        "p50_ms": float(np.median(times)),
        "mean_ms": float(np.mean(times)),
        "p99_ms": float(np.quantile(times, 0.99)),
    }


@contextlib.contextmanager
def recorded_timings() -> Iterator[list[tuple[float, FrameTiming]]]:
    """Every frame's end and timing, as the node itself notes them for its diagnostics."""
    timings: list[tuple[float, FrameTiming]] = []
    processed = Health.processed

    def note(self: Health, timing: FrameTiming) -> None:
        timings.append((time.perf_counter(), timing))
        processed(self, timing)

    Health.processed = note  # type: ignore[method-assign]
    try:
        yield timings
    finally:
        Health.processed = processed  # type: ignore[method-assign]


def summarise(run: Run, timings: list[tuple[float, FrameTiming]]) -> dict[str, Any]:
    def quantiles(stage: str) -> dict[str, float]:
        values = [getattr(timing, stage) * 1e3 for _, timing in timings]
        return {"p50": float(np.quantile(values, 0.5)), "p99": float(np.quantile(values, 0.99))}

    ends = [end for end, _ in timings]
    return {
        "run": run.title,
        "frames": len(timings),
        "frames_per_s": (len(ends) - 1) / (ends[-1] - ends[0]),
        **{f"{stage}_ms": quantiles(stage) for stage in ("decode", "model", "publish", "overhead", "total")},
    }


def print_table(figures: dict[str, Any]) -> None:
    bare = figures["bare_model"]
    print(f"{figures['model']}, {figures['size']}, {figures['cpu_cores']} cores")
    print(f"bare model: p50 {bare['p50_ms']:.2f} ms, p99 {bare['p99_ms']:.2f} ms, {1e3 / bare['mean_ms']:.1f} passes/s")
    stages = ("decode", "model", "publish", "overhead", "total")
    print(f"{'listened to':<30}{'frames/s':>9}" + "".join(f"{stage + ' p50/p99 ms':>23}" for stage in stages))
    for row in figures["runs"]:
        cells = [f"{row[f'{stage}_ms']['p50']:.2f} / {row[f'{stage}_ms']['p99']:.2f}" for stage in stages]
        print(f"{row['run']:<30}{row['frames_per_s']:>9.1f}" + "".join(f"{cell:>23}" for cell in cells))
    print("In the saturated run an image waits for the model, and its waiting counts as overhead.")
    print(f"throughput, saturated, against the bare model: {figures['throughput_ratio']:.3f}")


def play_camera(orders: dict[str, Any], width: int, height: int) -> int:
    """The other process: sends images, at a fixed period or one after the other's answers."""
    rclpy.init()
    node = rclpy.create_node("camera")
    answered: dict[str, int] = dict.fromkeys(orders["listens"], -1)

    def listen(name: str) -> None:
        def note(message: Any) -> None:
            answered[name] = message.header.stamp.sec

        node.create_subscription(RESULTS[name], f"/perception/{name}", note, RELIABLE)

    for name in answered:
        listen(name)
    publisher = node.create_publisher(Image, "/image", RELIABLE)
    data = array("B", random_image(width, height).tobytes())
    image = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=data)
    for number in range(orders["frames"]):
        image.header.stamp.sec = number
        start = time.perf_counter()
        publisher.publish(image)
        sent = start
        # The first image goes out again and again until everybody has found everybody.
        while (orders["period"] is None or number == 0) and min(answered.values()) < number:
            rclpy.spin_once(node, timeout_sec=0.2)
            if number == 0 and time.perf_counter() > sent + 0.5:
                sent = time.perf_counter()
                publisher.publish(image)
        while orders["period"] is not None and (left := start + orders["period"] - time.perf_counter()) > 0:
            rclpy.spin_once(node, timeout_sec=left)
    node.destroy_node()
    rclpy.shutdown()
    return 0


def random_image(width: int, height: int) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image[0, 0, 2] = 4
    return image


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except MayhemError as error:
        raise SystemExit(f"node_overhead: {error}") from None
