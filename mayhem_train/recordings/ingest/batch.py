"""Several recordings at once: in processes of this machine, or on a Ray cluster; the result is the same."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.intensity_range import FULL_RANGE
from mayhem_train.recordings.guarding import refuse_within_recordings
from mayhem_train.recordings.ingest.cluster import run_on_cluster
from mayhem_train.recordings.ingest.ingestion import IngestJob
from mayhem_train.recordings.ingest.options import IngestOptions
from mayhem_train.recordings.ingest.outcome import Listener, Outcome
from mayhem_train.recordings.ingest.processes import run_here, run_in_processes
from mayhem_train.recordings.ingest.topics import COLOUR, choose_topics
from mayhem_train.recordings.named_recordings import named_recordings
from mayhem_train.recordings.recording import Recording
from mayhem_train.recordings.sixteen_bits import AUTO, Camera, chosen_range


def ingest_recordings(
    paths: Sequence[Path],
    out: Path,
    options: IngestOptions,
    listener: Listener,
    *,
    find_range: bool = False,
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
        find_range: scale 16-bit cameras by the intensity range that is found in all these recordings.
        workers: cores to use at once, on a cluster recordings at once; all there are if None.
        force: replace what is finished.
        ray_address: of a cluster whose machines see the same files under the same paths.

    Raises:
        UsageError: two recordings have one name, one has a name that its files cannot bear, its results would be
            written into a recording, or no range can be found.
        MayhemError: the cluster cannot be used.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers cannot work: ask for at least 1.")
    if find_range:
        options = replace(options, intensity_range=chosen_range(AUTO, _cameras(paths, options)))
    jobs = [IngestJob(path, out, options, force) for path in named_recordings(paths)]
    for job in jobs:
        refuse_within_recordings(job.folder, paths, "The folder of extracted files,")
    if ray_address is not None:
        return run_on_cluster(jobs, ray_address, listener, at_once=workers)
    cores = workers or os.cpu_count() or 1
    processes = min(cores, len(jobs))
    jobs = [replace(job, threads=cores // processes) for job in jobs]
    return run_here(jobs, listener) if processes == 1 else run_in_processes(jobs, listener, processes)


def _cameras(paths: Sequence[Path], options: IngestOptions) -> Iterator[Camera]:
    """The cameras whose pictures are extracted with a range; of a recording that cannot be, its own job says so."""
    options = replace(options, intensity_range=FULL_RANGE)
    for path in paths:
        with suppress(MayhemError), Recording(path, distro=options.distro) as recording:
            for choice in choose_topics(recording, options):
                if choice.kind == COLOUR and choice.extractor is not None:
                    yield recording, choice.topic.name
