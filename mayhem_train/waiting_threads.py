"""How the threads of an operation wait for one another: awake for a moment only, so that they share busy cores."""

from __future__ import annotations

import os

# What people set themselves, in the environment of the process: of libgomp, of LLVM's and Intel's OpenMP.
CHOSEN_BY_THE_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
# libgomp's own 300,000 turns (a few milliseconds) are a core's whole share on busy ones; these are some ten
# microseconds, the time between two operations of a network. benchmarks/busy_cores.py measures others.
SPINS = "3000"


def let_waiting_threads_sleep() -> None:
    """Bounds how long the threads that torch computes with wait awake, here and in the processes started from here.

    It counts only before torch is loaded, since libgomp reads its settings once; what the user has set stays.
    """
    if not any(name in os.environ for name in CHOSEN_BY_THE_USER):
        os.environ["GOMP_SPINCOUNT"] = SPINS
