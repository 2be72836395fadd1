"""Recordings in processes of this machine, which end with the one that started them."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import cv2

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.recordings.ingest.ingestion import IngestedRecording, IngestJob, ingest_recording
from mayhem_train.recordings.ingest.options import IngestOptions
from mayhem_train.recordings.ingest.outcome import Listener, Outcome


def run_here(jobs: Sequence[IngestJob], listener: Listener) -> Sequence[Outcome]:
    """One after the other in this process."""
    cv2.setNumThreads(1)  # the threads are ours
    outcomes = []
    for job in jobs:
        listener.begun(job)
        outcomes.append(attempt(job, listener))
        listener.ended(job, outcomes[-1])
    return outcomes


def attempt(job: IngestJob, listener: Listener | None = None) -> Outcome:
    """Does the job; a user's mistake is an outcome."""
    warnings: list[str] = []

    def advanced(done: int, total: int) -> None:
        if listener is not None:
            listener.advanced(job, done, total)

    try:
        ingested = ingest_recording(job, warnings.append, advanced)
    except MayhemError as error:
        return Outcome(job.path, error=error, warnings=tuple(warnings))
    return Outcome(job.path, ingested, warnings=tuple(warnings))


def run_in_processes(jobs: Sequence[IngestJob], listener: Listener, processes: int) -> Sequence[Outcome]:
    """In that many processes, each of which takes the next recording when it is done with one.

    They are started afresh rather than forked, since threads may run here, and not by multiprocessing, whose workers
    outlive a parent that is killed, and would go on writing beside the ones that resume their work.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(jobs)):
        waiting.put(number)
    outcomes: dict[int, Outcome] = {}
    workers: list[_Worker] = []

    def work() -> None:
        worker = _Worker()
        workers.append(worker)
        try:
            while True:
                number = waiting.get_nowait()
                listener.begun(jobs[number])
                outcomes[number] = worker.do(jobs[number], listener)
                listener.ended(jobs[number], outcomes[number])
        except queue.Empty:
            pass
        finally:
            worker.stop()

    pool = ThreadPoolExecutor(processes)
    try:
        for future in [pool.submit(work) for _ in range(processes)]:
            future.result()
    except BaseException:
        while not waiting.empty():
            waiting.get()
        for worker in workers:
            worker.stop()
        raise
    finally:
        pool.shutdown()
    return [outcomes[number] for number in range(len(jobs))]


class _Worker:
    """A process that does one job after the other; it ends when its standard input does."""

    def __init__(self) -> None:
        self._process = self._start()

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        root = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        return subprocess.Popen(
            [sys.executable, "-m", "mayhem_train.recordings.ingest.processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def do(self, job: IngestJob, listener: Listener) -> Outcome:
        """Hands the job over and waits for its outcome."""
        if self._process.poll() is not None:  # it ended over its last job
            self._process = self._start()
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            _send(stdin, {**asdict(job), "path": str(job.path), "out": str(job.out)})
            for line in stdout:
                answer = json.loads(line)
                if "done" in answer:
                    listener.advanced(job, answer["done"], answer["total"])
                else:
                    return _outcome(job.path, answer)
        except BrokenPipeError:
            pass
        code = self._process.wait()
        return Outcome(
            job.path,
            error=MayhemError(
                f"The process that ingested {job.path} ended with code {code}: "
                "the same command goes on where it stopped, and needs less memory with fewer --workers."
            ),
        )

    def stop(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def _outcome(path: Path, answer: dict[str, Any]) -> Outcome:
    """The inverse of what `_Answers.ended` sends."""
    warnings = tuple(answer["warnings"])
    if "error" in answer:
        kind = UsageError if answer["exit_code"] == UsageError.exit_code else MayhemError
        return Outcome(path, error=kind(answer["error"]), warnings=warnings)
    fields = answer["ingested"]
    lists = {name: tuple(fields[name]) for name in ("remarks", "failures")}
    return Outcome(path, IngestedRecording(**{**fields, **lists}), warnings=warnings)


def _send(stream: IO[str], message: dict[str, Any]) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


class _Answers:
    """Tells the parent how far a job is."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def begun(self, job: IngestJob) -> None:
        """The parent knows."""

    def advanced(self, job: IngestJob, done: int, total: int) -> None:
        """Passes it on."""
        _send(self._stream, {"done": done, "total": total})

    def ended(self, job: IngestJob, outcome: Outcome) -> None:
        """Passes it on."""
        answer: dict[str, Any] = {"warnings": outcome.warnings}
        if outcome.error is not None:
            answer.update(error=str(outcome.error), exit_code=outcome.error.exit_code)
        elif outcome.ingested is not None:
            answer.update(ingested=asdict(outcome.ingested))
        _send(self._stream, answer)


def _serve() -> None:
    """Does the jobs that come in as lines, until there are no more."""
    answers = _Answers(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)  # whatever else is printed is no answer
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(1)  # the parent is gone, or has no more need; files appear whole or not at all

    threading.Thread(target=listen, daemon=True).start()
    while True:
        fields = json.loads(lines.get())
        given = fields["options"]
        numbers = given["intensity_range"]
        options = IngestOptions(
            **{
                **given,
                "topics": tuple(given["topics"]),
                "intensity_range": None if numbers is None else IntensityRange.of(numbers),
            }
        )
        job = IngestJob(Path(fields["path"]), Path(fields["out"]), options, fields["force"], fields["threads"])
        run_here([job], answers)


if __name__ == "__main__":
    try:
        _serve()
    except (KeyboardInterrupt, BrokenPipeError):  # the parent says so
        os._exit(130)
