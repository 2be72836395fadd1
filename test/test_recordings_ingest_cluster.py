"""The same ingest on a Ray cluster: a real one, of this machine alone."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from ingest_messages import COLOUR, IMU, all_bytes, imu_message
from recordings_writing import START_NS, colour_pixels, image, write

from mayhem_train.cli import main

ROOT = Path(__file__).resolve().parents[1]

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")

_HEAD = """
import ray, sys
ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80_000_000, _temp_dir=sys.argv[1]
)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Cluster:
    """A Ray head's address, and the environment of those that may use it."""

    address: str
    environment: Mapping[str, str]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Its processes end with the one that starts it, and its files are removed.

    Its token is its own, since Ray would make one for the user; its folder has a short name, since that of a socket in
    it can have about a hundred bytes.
    """
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment["RAY_USAGE_STATS_ENABLED"] = "0"
    head = subprocess.Popen(
        [sys.executable, "-c", _HEAD, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path_factory.mktemp("head"),
        env=environment,
    )
    assert head.stdin is not None and head.stdout is not None
    try:
        yield Cluster(head.stdout.readline().strip(), environment)
    finally:
        head.stdin.close()
        head.wait(timeout=30)
        head.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def drives(tmp_path: Path) -> list[Path]:
    paths = []
    for k in range(3):
        times = [START_NS + j * 10**8 for j in range(4)]
        messages = [image(COLOUR, t, t, colour_pixels(k + j, 6, 8), "rgb8") for j, t in enumerate(times)]
        messages += [imu_message(IMU, t, t, (k, 1, 2), (0, 0, 9.8)) for t in times]
        paths.append(write(tmp_path, f"drive-{k}", "mcap", messages))
    return paths


def ingest(cluster: Cluster, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the command in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "mayhem_train.cli", "ingest", *map(str, arguments), "--ray", cluster.address],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env={**cluster.environment, "PYTHONPATH": str(ROOT)},
    )


@needs_ray
def test_a_cluster_gives_the_same_result(cluster: Cluster, drives: list[Path], tmp_path: Path) -> None:
    broken, absent = tmp_path / "broken.bag", tmp_path / "absent.mcap"
    broken.write_bytes(b"no recording")
    arguments = [*drives, broken, absent, "--out", tmp_path / "cluster", "--workers", "2"]
    result = ingest(cluster, tmp_path, *arguments)
    assert result.stdout.splitlines() == [
        f"{tmp_path}/cluster/drive-{k}: 4 colour, 4 imu, 4 rows in the table" for k in range(3)
    ]
    assert result.stderr.splitlines() == [
        f"mayhem ingest: {broken} is no recording (it begins with b'no recor'): name a .mcap, .db3 or .bag file.",
        f"mayhem ingest: There is no recording at {absent}: check the path.",
    ]
    assert result.returncode == 1
    assert main(["ingest", *map(str, drives), "--out", str(tmp_path / "here")]) == 0
    assert all_bytes(tmp_path / "cluster") == all_bytes(tmp_path / "here")


_EVENTS = """
import sys
from pathlib import Path
from mayhem_train.recordings.ingest.batch import ingest_recordings
from mayhem_train.recordings.ingest.options import IngestOptions

class Listener:
    def begun(self, job): print("begun")
    def advanced(self, job, done, total): pass
    def ended(self, job, outcome): print("ended" if outcome.error is None else outcome.error)

address, workers, out, *paths = sys.argv[1:]
ingest_recordings(
    [Path(p) for p in paths], Path(out), IngestOptions(), Listener(), workers=int(workers), ray_address=address
)
"""


@needs_ray
@pytest.mark.parametrize(("workers", "at_once"), [(1, 1), (2, 2), (9, 3)])
def test_no_more_recordings_are_worked_on_at_a_time_than_asked_for(
    cluster: Cluster, drives: list[Path], tmp_path: Path, workers: int, at_once: int
) -> None:
    events = subprocess.check_output(
        [sys.executable, "-c", _EVENTS, cluster.address, str(workers), str(tmp_path / "out"), *map(str, drives)],
        text=True,
        env={**cluster.environment, "PYTHONPATH": str(ROOT)},
    ).split()
    assert sorted(events) == ["begun"] * 3 + ["ended"] * 3
    running = [events[: k + 1].count("begun") - events[: k + 1].count("ended") for k in range(len(events))]
    assert max(running) == at_once


@needs_ray
def test_machines_that_see_other_files_are_named(cluster: Cluster, drives: list[Path], tmp_path: Path) -> None:
    """A path by way of a process's own working folder means something else to every other process."""
    asked: dict[str, list[str | Path]] = {
        "/proc/self/cwd/out": [drives[0], "--out", "/proc/self/cwd/out"],
        "/proc/self/cwd/drive-1": ["/proc/self/cwd/drive-1", "--out", tmp_path / "out"],
    }
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda arguments: ingest(cluster, tmp_path, *arguments), asked.values())
    for unseen, result in zip(asked, results, strict=True):
        assert result.returncode == 1
        assert result.stderr.count("\n") == 1
        assert f"a machine of the Ray cluster, does not see {unseen} as this one does" in result.stderr
    assert all_bytes(tmp_path / "out") == {}


def test_without_ray_one_sentence_says_what_is_missing(drives: list[Path], tmp_path: Path) -> None:
    code = "import sys; sys.modules['ray'] = None; from mayhem_train.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["ingest", str(drives[0]), "--out", str(tmp_path / "out"), "--ray", "auto"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("mayhem ingest: --ray needs the Python package ray: install it")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@needs_ray
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_without_a_cluster_is_named(
    drives: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], scheme: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{unused.getsockname()[1]}"
        assert main(["ingest", str(drives[0]), "--out", str(tmp_path / "out"), "--ray", address]) == 1
    assert f"There is no Ray cluster to work with at {address} (Connection refused)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
