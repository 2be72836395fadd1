"""The same work on several recordings, in processes of their own, none of which outlives this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TypeVar

from mayhem_ros.errors import MayhemError

Job = TypeVar("Job")
Result = TypeVar("Result")


def each(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    """`work` of every job, in their order; here where one worker is asked for or there is one job.

    Raises:
        MayhemError: a process was killed, or as `work` does.
    """
    if min(workers, len(jobs)) <= 1:
        yield from map(work, jobs)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy this process's threads in the middle of a step
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(min(workers, len(jobs)), context, _start) as pool:
        try:
            with _deaf_to_interrupts():  # which the workers inherit: it is for this process to end them
                results = pool.map(work, jobs)
            yield from results
        except BrokenProcessPool as error:
            raise MayhemError(
                "A worker process was killed, for want of memory perhaps: run the same again, with fewer --workers."
            ) from error
        except BaseException:
            for process in multiprocessing.active_children():
                if process not in others:
                    process.terminate()
            raise


def _start() -> None:
    """Ends this worker when the process that started it is gone, however it ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows only the main thread to choose
        return
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heard)
