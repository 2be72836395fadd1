"""Recordings on the machines of a Ray cluster, which must see the same files under the same paths."""

from __future__ import annotations

import json
import logging
import socket
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.ingest.claim import recording_key
from mayhem_train.recordings.ingest.ingestion import IngestJob
from mayhem_train.recordings.ingest.outcome import Listener, Outcome
from mayhem_train.recordings.ingest.processes import attempt

_PROBE = ".ingest-probe"


def run_on_cluster(
    jobs: Sequence[IngestJob], address: str, listener: Listener, *, at_once: int | None
) -> Sequence[Outcome]:
    """A task for each recording, on one core; `at_once` limits how many there are at a time.

    Raises:
        MayhemError: ray is not installed, there is no cluster at `address`, or it fails.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MayhemError(
            "--ray needs the Python package ray: install it (pip install 'mayhem_ros[train,cluster]'), "
            "or leave --ray out to work on this machine."
        ) from error
    jobs = [replace(job, path=job.path.absolute(), out=job.out.absolute(), threads=1) for job in jobs]
    try:
        _knock(address)
        ray.init(address=address, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise MayhemError(
            f"There is no Ray cluster to work with at {address} ({reason}): start one with `ray start --head`, "
            "or leave --ray out to work on this machine."
        ) from error
    try:
        return _run(ray, jobs, listener, at_once or len(jobs))
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())
        raise MayhemError(
            f"The Ray cluster at {address} failed ({reason}): see that mayhem_train is installed on all of its "
            "machines; the same command goes on where it stopped."
        ) from error
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError when nobody listens there; Ray would find out after minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _run(ray: Any, jobs: Sequence[IngestJob], listener: Listener, at_once: int) -> Sequence[Outcome]:
    task = ray.remote(num_cpus=1)(_work)
    out = jobs[0].out
    token = uuid.uuid4().hex
    probe = out / _PROBE
    outcomes: dict[int, Outcome] = {}
    running: dict[Any, int] = {}
    try:
        try:
            out.mkdir(parents=True, exist_ok=True)
            probe.write_text(token)
        except OSError as error:
            raise MayhemError(f"Cannot write {out} ({error.strerror}): choose another place.") from error
        waiting = list(enumerate(jobs))[::-1]
        while waiting or running:
            while waiting and len(running) < at_once:
                number, job = waiting.pop()
                listener.begun(job)
                key = _key(job.path)
                if key is None:  # what is wrong with it shows here as well
                    outcomes[number] = attempt(job)
                    listener.ended(job, outcomes[number])
                else:
                    running[task.remote(job, token, key)] = number
            for done in ray.wait(list(running))[0] if running else []:
                number = running.pop(done)
                outcomes[number] = ray.get(done)
                listener.ended(jobs[number], outcomes[number])
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return [outcomes[number] for number in range(len(jobs))]


def _work(job: IngestJob, token: str, key: str) -> Outcome:
    """Does the job on a machine of the cluster, if that sees what the one that asks for it sees."""
    unseen = None
    if not _holds(job.out / _PROBE, token):
        unseen = job.out
    if _key(job.path) != key:
        unseen = job.path
    if unseen is None:
        return attempt(job)
    sentence = (
        f"{socket.gethostname()}, a machine of the Ray cluster, does not see {unseen} as this one does: "
        "put recordings and --out on a file system that all share, under the same path."
    )
    return Outcome(job.path, error=MayhemError(sentence))


def _key(path: Path) -> str | None:
    try:
        return json.dumps(recording_key(path))
    except (MayhemError, OSError):
        return None


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except OSError:
        return False
