"""What comes of ingesting one recording among several, and who is told about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.ingest.ingestion import IngestedRecording, IngestJob


@dataclass(frozen=True)
class Outcome:
    """What came of one recording, either of the two, and what its user should be told."""

    path: Path
    ingested: IngestedRecording | None = None
    error: MayhemError | None = None
    warnings: tuple[str, ...] = ()


class Listener(Protocol):
    """Is told how far the work is, from several threads."""

    def begun(self, job: IngestJob) -> None:
        """A recording is being worked on."""

    def advanced(self, job: IngestJob, done: int, total: int) -> None:
        """So many of its messages are done."""

    def ended(self, job: IngestJob, outcome: Outcome) -> None:
        """It is finished, or has failed."""
