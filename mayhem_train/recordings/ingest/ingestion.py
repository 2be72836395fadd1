"""One recording extracted into its folder, and after any interruption from there on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.ingest.claim import claimed, finish, is_finished, read_manifest, recording_key
from mayhem_train.recordings.ingest.extraction_pass import ExtractionPass, Progress
from mayhem_train.recordings.ingest.options import IngestOptions
from mayhem_train.recordings.ingest.results import write_results
from mayhem_train.recordings.ingest.topics import COLOUR, ChosenTopic, choose_topics, topics_left_out
from mayhem_train.recordings.ingest.written import left_out_notes, topic_notes
from mayhem_train.recordings.locating import recording_stem
from mayhem_train.recordings.recording import Recording, Topic
from mayhem_train.recordings.sixteen_bits import few_levels

FORMAT = 1
"""Of the manifest and the folder's layout."""

_NAMED = 8  # topics that are left out


@dataclass(frozen=True)
class IngestJob:
    """One recording to extract into `out`/<its stem>.

    Attributes:
        force: replaces what an ingest wrote there before.
        threads: that encode its images, beside the one that reads; they change nothing in the result.
    """

    path: Path
    out: Path
    options: IngestOptions
    force: bool = False
    threads: int = 1

    @property
    def folder(self) -> Path:
        """Where its result goes."""
        return self.out / recording_stem(self.path)


@dataclass(frozen=True)
class IngestedRecording:
    """What came of a job.

    Attributes:
        folder: where it is.
        was_finished: nothing had to be done.
        counts: messages extracted, by kind ("colour", "depth", ...), and the rows of the frame table.
        remarks: what could not be extracted, or differs from what one expects; a sentence each.
        few_levels: a sentence for each topic whose 16-bit pictures keep few grey levels.
        failures: a sentence for each topic of which nothing could be extracted.
    """

    folder: str
    was_finished: bool
    counts: dict[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    few_levels: dict[str, str] = field(default_factory=dict)
    failures: tuple[str, ...] = ()


def ingest_recording(
    job: IngestJob, warn: Callable[[str], None], progress: Progress = lambda _done, _total: None
) -> IngestedRecording:
    """Extracts a recording, or what an interrupted ingest has left of it; a finished one is left as it is.

    Args:
        warn: is given what is wrong with the recording, or with what was extracted before; also where an error is
            raised.

    Raises:
        UsageError: the options ask for what the recording has not, or the folder holds something else.
        MayhemError: the recording cannot be opened, or the folder cannot be written.
    """
    folder = job.folder
    try:
        key = {"format": FORMAT, "parameters": job.options.to_json(), "recording": recording_key(job.path)}
        if is_finished(folder, key, force=job.force):
            return _finished(folder)
        with _opened(job, warn) as recording:
            topics = choose_topics(recording, job.options)
            levels = _few_levels(recording, topics) if job.options.intensity_range is None else {}
            left_out = topics_left_out(recording, job.options)
            with claimed(folder, key, topic_notes(topics), warn, force=job.force) as scratch:
                if scratch is None:
                    return _finished(folder)
                with ExtractionPass(recording, folder, scratch, topics) as extraction:
                    extraction.run(job.threads, progress)
                    results = write_results(extraction, job.options)
                manifest = {"left_out": left_out_notes(left_out), **results.manifest}
                finish(folder, {**key, "problems": list(recording.problems), **manifest})
    except OSError as error:
        raise MayhemError(
            f"Cannot ingest {job.path} into {folder} ({error.strerror or error}): {_remedy(error)}."
        ) from error
    remarks = (*_left_out(left_out), *results.remarks)
    return IngestedRecording(
        str(folder), False, results.counts, remarks, levels, failures=_failures(folder, results.manifest)
    )


def _few_levels(recording: Recording, topics: Sequence[ChosenTopic]) -> dict[str, str]:
    cameras = [choice.topic.name for choice in topics if choice.kind == COLOUR and choice.extractor is not None]
    said = {topic: few_levels(recording, topic) for topic in cameras}
    return {topic: sentence for topic, sentence in said.items() if sentence is not None}


@contextmanager
def _opened(job: IngestJob, warn: Callable[[str], None]) -> Iterator[Recording]:
    """The recording, with what it warns of told at the end, since reading may come upon more."""
    with Recording(job.path, distro=job.options.distro) as recording:
        try:
            yield recording
        finally:
            for sentence in recording.warnings:
                warn(sentence)


def _finished(folder: Path) -> IngestedRecording:
    failures = _failures(folder, read_manifest(folder) or {})
    told = tuple(f"{failure.rstrip('.')} (as ingested before; --force tries again)." for failure in failures)
    return IngestedRecording(str(folder), was_finished=True, failures=told)


def _failures(folder: Path, manifest: dict[str, Any]) -> tuple[str, ...]:
    """A sentence for each topic of which nothing could be extracted."""
    return tuple(
        f"None of {entry['messages']} messages on {entry['topic']} could be extracted into {folder}; the first: "
        f"{entry['skipped'][0]['reason']}"
        for entry in manifest.get("topics", ())
        if entry.get("extracted") == 0 and entry.get("skipped")
    )


def _left_out(topics: Sequence[Topic]) -> Iterator[str]:
    if topics:
        named = [f"{topic.name} ({topic.type or 'no type'}, {topic.count} messages)" for topic in topics[:_NAMED]]
        more = f" and {len(topics) - _NAMED} more, which ingest.json names" if len(topics) > _NAMED else ""
        yield f"Left out, since their types are not extracted: {', '.join(named)}{more}."


def _remedy(error: OSError) -> str:
    if isinstance(error, (NotADirectoryError, IsADirectoryError, FileExistsError)):
        return "something else is where a folder would be, choose another --out"
    if isinstance(error, PermissionError):
        return "check its permissions"
    if isinstance(error, FileNotFoundError):
        return "choose another --out"
    return "see to the disk; the same command goes on where this one stopped"
