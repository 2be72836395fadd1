"""Several recordings at once: in processes of this machine, or on a Ray cluster; the result is the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mayhem_ros.errors import UsageError
from mayhem_train.recordings.guarding import refuse_within_recordings
from mayhem_train.recordings.ingest.cluster import run_on_cluster
from mayhem_train.recordings.ingest.ingestion import IngestJob
from mayhem_train.recordings.ingest.options import IngestOptions
from mayhem_train.recordings.ingest.outcome import Listener, Outcome
from mayhem_train.recordings.ingest.processes import run_here, run_in_processes
from mayhem_train.recordings.named_recordings import named_recordings


def ingest_recordings(
    paths: Sequence[Path],
    out: Path,
    options: IngestOptions,
    listener: Listener,
    *,
    workers: int | None = None,
    force: bool = False,
    ray_address: str | None = None,
) -> Sequence[Outcome]:
    """Extracts every recording into its folder of `out`; one that fails does not keep the others from it.

    Args:
        paths: the recordings.
        out: made if need be.
        options: what is extracted.
        listener: is told how far it is.
        workers: cores to use at once, on a cluster recordings at once; all there are if None.
        force: replace what is finished.
        ray_address: of a cluster whose machines see the same files under the same paths.

    Raises:
        UsageError: two recordings have one name, one has a name that its files cannot bear, or its results would
            be written into a recording.
        MayhemError: the cluster cannot be used.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers cannot work: ask for at least 1.")
    jobs = [IngestJob(path, out, options, force) for path in named_recordings(paths)]
    for job in jobs:
        refuse_within_recordings(job.folder, paths, "The folder of extracted files,")
    if ray_address is not None:
        return run_on_cluster(jobs, ray_address, listener, at_once=workers)
    cores = workers or os.cpu_count() or 1
    processes = min(cores, len(jobs))
    jobs = [replace(job, threads=cores // processes) for job in jobs]
    return run_here(jobs, listener) if processes == 1 else run_in_processes(jobs, listener, processes)
