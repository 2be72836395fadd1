"""Recordings to kept.json: finished work is skipped, work that was stopped goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.console import track, warn
from mayhem_train.outputs import cannot_write, refuse_existing
from mayhem_train.recordings.exclusive import exclusive
from mayhem_train.recordings.frame import Frame
from mayhem_train.recordings.guarding import refuse_within_ingested, refuse_within_recordings
from mayhem_train.recordings.locating import recording_files
from mayhem_train.recordings.named_recordings import named_recordings
from mayhem_train.recordings.opening import opened_recording
from mayhem_train.recordings.pruning.exporting import export_frames, remove_images, stale_images
from mayhem_train.recordings.pruning.journal import Journal
from mayhem_train.recordings.pruning.kept_frames import AuditRow, read_document, read_kept_frames, write_kept_frames
from mayhem_train.recordings.pruning.selection import PruneSettings, frame_indices, select_frames
from mayhem_train.recordings.pruning.workers import each
from mayhem_train.recordings.recording import Recording
from mayhem_train.recordings.sixteen_bits import AskedRange, chosen_range


@dataclass(frozen=True)
class Pruned:
    """What `prune` did.

    Attributes:
        rows: one a frame that was looked at, recording after recording.
        kept: the frames' names that kept.json lists; fewer than the rows where people shortened the list.
        was_there: kept.json had been finished before and was left as it is.
        resumed: how many of the rows an earlier, stopped run had decided.
        exported: how many images were written now.
        stale: how many images of an earlier export lie among them that show what is not kept, or in another format.
        failures: one sentence for each recording that could not be pruned.
    """

    rows: tuple[AuditRow, ...]
    kept: tuple[str, ...]
    was_there: bool
    resumed: int
    exported: int
    stale: int
    failures: tuple[str, ...]


def prune(
    recordings: Sequence[Path],
    out: Path,
    settings: PruneSettings,
    *,
    intensity_range: AskedRange = None,
    topic: str | None = None,
    distro: str | None = None,
    export: Path | None = None,
    image_format: str = "png",
    workers: int = 1,
    force: bool = False,
) -> Pruned:
    """Writes `out`, then the kept images to the folder `export`.

    Rows are noted beside `out` in `.<name>.partial/` until it is written: called again with the same arguments, a
    stopped run goes on after the last of them. A finished `out` of the same settings and recordings is left as it is
    unless `force` is set, and only images that are missing are exported; `force` also removes those of these
    recordings that an earlier export wrote and that are not kept. The result does not depend on `workers`.

    Args:
        recordings: files or folders of different names.
        out: kept.json.
        settings: what is kept.
        intensity_range: what 16-bit cameras show, "auto" for what is found in these recordings.
        topic: the image topic, where recordings have several.
        distro: whose message definitions to take where a recording has none.
        export: the folder of images; None writes none.
        image_format: "png" or "jpg".
        workers: recordings at a time.
        force: replace what is there.

    Raises:
        UsageError: two recordings have the same name, a topic is missing, or `out` exists with something else.
        MayhemError: no recording can be pruned, one changes meanwhile, or something cannot be written.
    """
    recordings = named_recordings(recordings)
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder: name a file in it, such as {out / 'kept.json'}.")
    refuse_within_recordings(out, recordings)
    refuse_within_ingested(out)
    refuse_existing(out, force=True, begins=b"{")  # without force it may be finished
    if export is not None:
        if export.exists() and not export.is_dir():
            raise UsageError(f"--export {export} is a file: name a folder for the images.")
        refuse_within_recordings(export, recordings, "--export", replaced=False)
    sources, failures = _open_all(recordings, topic, distro, settings)
    if not sources:
        raise MayhemError(" ".join(failures))
    found = chosen_range(intensity_range, [(source.recording, source.topic) for source in sources])
    made_with = {
        **asdict(settings),
        "intensity_range": None if found is None else list(found),
        "distro": distro,
        "recordings": [source.to_json() for source in sources],
    }
    finished = None if force else _finished(out, made_with, sources)
    resumed, exported, stale = 0, 0, 0
    if finished is not None:
        rows, kept = finished
        failures += _undecodable(sources, rows)
    else:
        with _working_beside(out):
            finished = None if force else _finished(out, made_with, sources)  # by the process that was waited for
            rows, resumed = (
                (finished[0], 0) if finished else _prune_all(sources, out, made_with, settings, found, workers)
            )
            kept = finished[1] if finished else tuple(row.name for row in rows if row.kept)
            failures += _undecodable(sources, rows)
            if finished is None and len(failures) < len(recordings):
                write_kept_frames(out, made_with, rows, force=force)
            shutil.rmtree(_journals(out), ignore_errors=True)
    if len(failures) == len(recordings):
        raise MayhemError(" ".join(failures))
    if export is not None:
        exported, stale = _export_all(sources, rows, frozenset(kept), export, image_format, found, workers, force)
    return Pruned(rows, kept, finished is not None, resumed, exported, stale, tuple(failures))


@dataclass(frozen=True)
class _Source:
    """A recording and what its rows depend on: its topic, and when the newest of its files was last changed."""

    recording: Recording
    topic: str
    changed_ns: int

    def to_json(self) -> dict[str, object]:
        """What is the same for every copy of the recording."""
        return {
            "recording": self.recording.stem,
            "topic": self.topic,
            "frames": self.recording.topic(self.topic).count,
            "size_bytes": self.recording.size,
            "start_ns": self.recording.start_ns,
            "end_ns": self.recording.end_ns,
        }


@dataclass(frozen=True)
class _Selection:
    """One recording to prune; `alone` in this process, so that its progress can be shown."""

    source: _Source
    settings: PruneSettings
    intensity_range: IntensityRange | None
    journal: Path
    made_with: Mapping[str, object]
    alone: bool


@dataclass(frozen=True)
class _Export:
    """One recording's kept frames to write as images."""

    source: _Source
    frames: tuple[Frame, ...]
    folder: Path
    image_format: str
    intensity_range: IntensityRange | None
    force: bool
    alone: bool


@dataclass(frozen=True)
class _Selected:
    """All rows of a recording, how many of them its journal had, and what its user should be told."""

    rows: list[AuditRow]
    resumed: int
    warnings: tuple[str, ...]


def _select(job: _Selection) -> _Selected:
    """Decides about the frames that the journal does not have yet."""
    source, recording = job.source, job.source.recording
    with recording, Journal(job.journal, job.made_with) as journal:
        resumed = len(journal.rows)
        rows = select_frames(recording, source.topic, job.settings, tuple(journal.rows), job.intensity_range)
        total = len(frame_indices(recording, source.topic, job.settings)) - resumed
        for row in track(rows, f"Pruning {recording.stem}", total) if job.alone else rows:
            journal.append(row)
        if _changed_ns(recording.path) != source.changed_ns:
            raise MayhemError(f"{recording.path} changed while it was read: run again when it is complete.")
        return _Selected(journal.rows, resumed, recording.warnings)


def _export(job: _Export) -> int:
    frames = track(job.frames, f"Exporting {job.source.recording.stem}") if job.alone else job.frames
    with job.source.recording as recording:
        return export_frames(
            recording,
            frames,
            job.folder,
            image_format=job.image_format,
            intensity_range=job.intensity_range,
            force=job.force,
        )


def _prune_all(
    sources: Sequence[_Source],
    out: Path,
    made_with: Mapping[str, object],
    settings: PruneSettings,
    intensity_range: IntensityRange | None,
    workers: int,
) -> tuple[tuple[AuditRow, ...], int]:
    """All rows, and how many of them journals of a stopped run had."""
    alone = min(workers, len(sources)) <= 1
    jobs = [
        _Selection(
            source,
            settings,
            intensity_range,
            _journals(out) / f"{source.recording.stem}.jsonl",
            {**made_with, "recordings": [source.to_json()], "changed_ns": source.changed_ns},
            alone,
        )
        for source in sources
    ]
    results = each(_select, jobs, workers)
    parts = list(results if alone else track(results, "Pruning", len(jobs)))
    warn(*(sentence for part in parts for sentence in part.warnings))
    return tuple(row for part in parts for row in part.rows), sum(part.resumed for part in parts)


def _export_all(
    sources: Sequence[_Source],
    rows: Sequence[AuditRow],
    kept: frozenset[str],
    folder: Path,
    image_format: str,
    intensity_range: IntensityRange | None,
    workers: int,
    force: bool,
) -> tuple[int, int]:
    """How many images were written, and how many are left that show something else."""
    alone = min(workers, len(sources)) <= 1
    frames: dict[str, list[Frame]] = {source.recording.stem: [] for source in sources}
    for row in rows:
        if row.name in kept:
            frames[row.recording].append(row.frame)
    jobs = [
        _Export(source, tuple(frames[source.recording.stem]), folder, image_format, intensity_range, force, alone)
        for source in sources
    ]
    with _alone_in(folder):
        counts = each(_export, jobs, workers)
        written = sum(counts if alone else track(counts, "Exporting", len(jobs)))
        stale = stale_images(folder, frames, image_format)
        if force:
            remove_images(stale)
        return written, 0 if force else len(stale)


def _open_all(
    paths: Sequence[Path], topic: str | None, distro: str | None, settings: PruneSettings
) -> tuple[list[_Source], list[str]]:
    """Those that can be pruned, and what is wrong with the others."""
    sources, failures = [], []
    for path in paths:
        try:
            changed_ns = _changed_ns(path)
            with opened_recording(path, distro=distro) as recording:
                source = _Source(recording, recording.image_topic(topic).name, changed_ns)
                if not frame_indices(recording, source.topic, settings):
                    seconds = (recording.end_ns - recording.start_ns) / 1e9
                    raise MayhemError(f"{path} has no image on {source.topic} to look at: it lasts {seconds:.3f} s.")
                sources.append(source)
        except UsageError:
            raise  # before hours of work
        except MayhemError as error:
            failures.append(str(error))
    return sources, failures


def _undecodable(sources: Sequence[_Source], rows: Sequence[AuditRow]) -> list[str]:
    """A sentence for each recording without a frame that can be decoded."""
    sentences = []
    for source in sources:
        own = [row for row in rows if row.recording == source.recording.stem]
        if not any(row.kept for row in own):
            place = f"{source.topic} of {source.recording.path}"
            sentences.append(f"None of {len(own)} images on {place} can be used, the first {own[0].reason}")
    return sentences


def _finished(
    out: Path, made_with: Mapping[str, Any], sources: Sequence[_Source]
) -> tuple[tuple[AuditRow, ...], tuple[str, ...]] | None:
    """The rows and the kept names of an `out` that has nothing left to do, None where there is no file.

    Raises:
        UsageError: it is something else, or was made with other settings or from other recordings.
    """
    if not out.exists() and not out.is_symlink():
        return None
    try:
        document = read_document(out)
        same = {key: document.get(key) for key in made_with} == made_with
        if same and all(source.changed_ns <= out.stat().st_mtime_ns for source in sources):
            kept = tuple(frame.name for frame in read_kept_frames(out))
            return tuple(map(AuditRow.from_json, document["frames"])), kept
    except (MayhemError, OSError, KeyError, TypeError):
        pass  # no kept.json
    raise UsageError(
        f"{out} exists already and was not made from these recordings as they are now with these settings: "
        "choose another place or pass --force to replace it."
    )


@contextmanager
def _working_beside(out: Path) -> Iterator[None]:
    """Nobody else prunes to `out` within the block; an error of the disk is one of the journals."""
    try:
        with exclusive(_journals(out) / "lock", f"prunes to {out}"):
            yield
    except OSError as error:
        raise cannot_write(f"beside {out}", error) from error


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Nobody else exports to the folder within the block, where something can be written at all."""
    lock = folder / ".exporting"
    with ExitStack() as held:
        with suppress(OSError):  # of which the first image to be written tells more
            held.enter_context(exclusive(lock, f"exports to {folder}"))
            held.callback(lock.unlink, missing_ok=True)
        yield


def _changed_ns(path: Path) -> int:
    """When the newest of a recording's files was last changed."""
    try:
        return max(file.stat().st_mtime_ns for file in recording_files(path).paths)
    except OSError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror}): check the path and its permissions.") from error


def _journals(out: Path) -> Path:
    """The folder of the rows decided so far; beside a file without a suffix its own partial file has that name."""
    return out.with_name(f".{out.name}.partial" if out.suffix else f".{out.name}.partial.rows")
