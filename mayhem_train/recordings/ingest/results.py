"""What is written once all messages are extracted: tables, calibrations, and what the manifest says of every topic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mayhem_train.recordings.clocks import count_jumps, tell_time
from mayhem_train.recordings.depth import MILLIMETRES
from mayhem_train.recordings.flawed_images import flawed_images
from mayhem_train.recordings.ingest.camera_info import calibration_bytes
from mayhem_train.recordings.ingest.claim import place_whole, write_whole
from mayhem_train.recordings.ingest.extraction_pass import ExtractionPass
from mayhem_train.recordings.ingest.frame_table import Partner, Track, common_clock, difference_ns, frame_blocks
from mayhem_train.recordings.ingest.imu import (
    ANGULAR_VELOCITY,
    LINEAR_ACCELERATION,
    ORIENTATION,
    interpolate_acceleration,
    pair_sensors,
)
from mayhem_train.recordings.ingest.options import NONE, IngestOptions
from mayhem_train.recordings.ingest.places import merged_place
from mayhem_train.recordings.ingest.poses import pose_block
from mayhem_train.recordings.ingest.spool import BLOCK, Spool
from mayhem_train.recordings.ingest.tables import Block, write_table
from mayhem_train.recordings.ingest.topics import (
    CAMERA_INFO,
    COLOUR,
    DEPTH,
    FILE_KINDS,
    IMU,
    PARTNERS,
    POSES,
    TRANSFORM,
    ChosenTopic,
)

_NAMED = 1000  # messages whose reasons the manifest names, a topic


@dataclass(frozen=True)
class Results:
    """The manifest's part about topics and tables, the extracted messages by kind, and what a person should know."""

    manifest: dict[str, Any]
    counts: dict[str, int]
    remarks: tuple[str, ...]


def write_results(extraction: ExtractionPass, options: IngestOptions) -> Results:
    """Writes all tables and calibrations; the same ones however often it is interrupted and called again.

    Raises:
        OSError: a file cannot be written.
    """
    return _Results(extraction, options).write()


class _Results:
    def __init__(self, extraction: ExtractionPass, options: IngestOptions) -> None:
        self._extraction = extraction
        self._options = options
        self._topics = extraction.topics
        self._spools = {chosen.topic.name: spool for chosen, spool in zip(self._topics, extraction.spools, strict=True)}
        self._remarks: list[str] = []

    def write(self) -> Results:
        entries = [self._entry(number, chosen) for number, chosen in enumerate(self._topics)]
        for entry, chosen in zip(entries, self._topics, strict=True):
            if chosen.extractor is None:
                continue
            if chosen.kind == CAMERA_INFO:
                entry["calibrations"] = self._write_calibrations(chosen)
            elif chosen.kind == IMU:
                entry["file"] = self._write_imu(chosen)
            elif chosen.kind in (POSES, TRANSFORM):
                entry["file"] = self._write_poses(chosen)
            elif entry["extracted"]:
                entry["folder"] = f"{chosen.kind}/{chosen.place}"
        merged = self._write_merged()
        manifest: dict[str, Any] = {"topics": entries, "merged_imu": list(merged.values())}
        table = self._write_frame_table(merged)
        if table is not None:
            manifest["table"] = table
        counts: dict[str, int] = {}
        for entry in entries:
            if "extracted" in entry:
                counts[entry["kind"]] = counts.get(entry["kind"], 0) + entry["extracted"]
        if table is not None:
            counts["rows in the table"] = sum(len(self._spools[c.topic.name]) for c in self._topics if c.kind == COLOUR)
        return Results(manifest, counts, tuple(self._remarks))

    def _entry(self, number: int, chosen: ChosenTopic) -> dict[str, Any]:
        """What the manifest says of a topic."""
        spool = self._extraction.spools[number]
        usable = spool.column("usable")
        indices = spool.column("index")
        skipped = np.unique(indices[~usable])
        name, count = chosen.topic.name, chosen.topic.count
        entry: dict[str, Any] = {
            "topic": name,
            "type": chosen.topic.type,
            "kind": chosen.kind,
            "form": chosen.form,
            "messages": count,
        }
        if chosen.extractor is not None:
            entry["extracted"] = count - len(skipped)
            frames = np.unique(spool.column("frame_id")[usable])
            entry["frame_ids"] = sorted(filter(None, (self._extraction.names[number] for number in frames.tolist())))
        if len(skipped):
            self._remarks.append(
                f"{len(skipped)} of {count} messages on {name} could not be extracted: ingest.json names them."
            )
            entry["skipped"] = [
                {"index": index, "reason": self._extraction.reason(number, index)}
                for index in skipped[:_NAMED].tolist()
            ]
        if chosen.kind != TRANSFORM:
            entry.update(self._stamps(chosen, spool))
        if chosen.kind in FILE_KINDS and chosen.extractor is not None and usable.any():
            entry.update(self._sizes(chosen, spool, usable))
            entry.update(self._flaws(number, name, indices[usable & spool.column("flawed")].tolist()))
        return entry

    def _flaws(self, number: int, topic: str, flawed: list[int]) -> dict[str, Any]:
        """The images that were decoded although something is wrong with them, and what that is of the first of them."""
        if not flawed:
            return {}
        self._remarks.append(f"{flawed_images(len(flawed), f' on {topic}')}: ingest.json says why.")
        flaws = [{"index": index, "reason": self._extraction.flaw(number, index)} for index in flawed[:_NAMED]]
        return {"flawed": len(flawed), "flaws": flaws}

    def _stamps(self, chosen: ChosenTopic, spool: Spool) -> dict[str, Any]:
        stamps = spool.column("stamp_ns")
        if not tell_time(stamps):
            what = f"the same stamp on all of {len(stamps)} messages" if stamps.any() else "no stamps"
            self._remarks.append(f"{chosen.topic.name} has {what}: its log times stand in for them.")
            return {"clock": "log_time"}
        stampless = int((stamps[spool.column("usable")] == 0).sum())
        if stampless:
            self._remarks.append(
                f"{stampless} of {chosen.topic.count} messages on {chosen.topic.name} have no stamp: they are paired "
                "with nothing."
            )
        given = stamps != 0
        jumps = count_jumps(stamps[given], spool.column("log_time_ns")[given])
        if jumps:
            self._remarks.append(f"The stamps on {chosen.topic.name} jump {jumps} times by more than 10 s.")
        steps = np.diff(stamps[given])
        return {
            "clock": "stamp",
            "without_stamp": int((stamps == 0).sum()),
            "duplicated_stamps": int((steps == 0).sum()),
            "backward_stamps": int((steps < 0).sum()),
            "stamp_jumps": jumps,
        }

    def _sizes(self, chosen: ChosenTopic, spool: Spool, usable: NDArray[np.bool_]) -> dict[str, Any]:
        """The first one's size; clouds have any."""
        if chosen.kind not in (COLOUR, DEPTH):
            return {}
        widths, heights = spool.column("width")[usable], spool.column("height")[usable]
        others = int(((widths != widths[0]) | (heights != heights[0])).sum())
        if others:
            self._remarks.append(
                f"{others} images on {chosen.topic.name} are not {widths[0]}x{heights[0]} as the first one is."
            )
        sizes = {"width": int(widths[0]), "height": int(heights[0]), "other_sizes": others}
        return sizes if chosen.kind == COLOUR else {**sizes, **self._unit(chosen, spool)}

    def _unit(self, chosen: ChosenTopic, spool: Spool) -> dict[str, Any]:
        """What one unit of integers stands for, where the recording says that they are not millimetres."""
        unit = self._extraction.recording.depth_unit(chosen.topic.name)
        if unit is None or unit == MILLIMETRES:
            return {}
        suffixes = {self._extraction.names[number] for number in np.unique(spool.column("suffix")).tolist()}
        if ".png" in suffixes:
            self._remarks.append(
                f"The PNG files of {chosen.topic.name} hold depth as recorded, in units of {unit:g} m; --depth tiff "
                "writes metres."
            )
        return {"metres_per_unit": unit}

    def _write_calibrations(self, chosen: ChosenTopic) -> list[dict[str, Any]]:
        """One file for each that differs, those after the first one with the index at which they begin."""
        spool = self._spools[chosen.topic.name]
        usable = spool.column("usable")
        numbers, indices = spool.column("calibration")[usable], spool.column("index")[usable]
        _, firsts, counts = np.unique(numbers, return_index=True, return_counts=True)
        entries: list[dict[str, Any]] = []
        for first, count in sorted(zip(firsts.tolist(), counts.tolist(), strict=True)):
            index = int(indices[first])
            changed = f".{index:06d}" if entries else ""
            file = f"{CAMERA_INFO}/{chosen.place}{changed}.{chosen.form}"
            data = calibration_bytes(self._extraction.names[int(numbers[first])], chosen.form)
            write_whole(self._extraction.folder / file, data, self._extraction.scratch / "partial")
            entries.append({"file": file, "first_index": index, "messages": count})
        if len(entries) > 1:
            self._remarks.append(f"The calibration on {chosen.topic.name} changes: there are {len(entries)} of it.")
        return entries

    def _write_imu(self, chosen: ChosenTopic) -> str:
        spool = self._spools[chosen.topic.name]

        def block(positions: NDArray[np.int64]) -> Block:
            rows = spool.take(positions)
            return {
                "index": rows["index"],
                "log_time_ns": rows["log_time_ns"],
                "stamp_ns": np.ma.masked_equal(rows["stamp_ns"], 0),
                **{name: rows[name] for name in (*ANGULAR_VELOCITY, *LINEAR_ACCELERATION, *ORIENTATION)},
            }

        return self._write(f"{IMU}/{chosen.place}.{chosen.form}", map(block, _blocks(_by_stamp(spool))))

    def _write_poses(self, chosen: ChosenTopic) -> str:
        spool, names = self._spools[chosen.topic.name], self._extraction.names
        blocks = (pose_block(spool, positions, names) for positions in _blocks(_by_stamp(spool)))
        return self._write(f"{chosen.kind}/{chosen.place}.{chosen.form}", blocks)

    def _write_merged(self) -> dict[str, dict[str, Any]]:
        """The merged tables' manifest entries, by gyroscope."""
        chosen = {c.topic.name: c for c in self._topics if c.kind == IMU and c.extractor is not None}
        entries = {}
        for gyroscope, accelerometer in pair_sensors({name: self._spools[name] for name in chosen}).items():
            file = f"{IMU}/{merged_place(gyroscope, accelerometer)}.{self._options.imu}"
            turning, pushing = self._spools[gyroscope], self._spools[accelerometer]
            clock = common_clock(turning, pushing)
            empty = self._write_one_merged(file, turning, pushing, clock)
            entries[gyroscope] = {
                "gyroscope": gyroscope,
                "accelerometer": accelerometer,
                "clock": clock.removesuffix("_ns"),
                "file": file,
                "rows_without_acceleration": empty,
            }
        return entries

    def _write_one_merged(self, file: str, gyroscope: Spool, accelerometer: Spool, clock: str) -> int:
        times = accelerometer.column(clock)
        usable = accelerometer.column("usable") & (times != 0)
        times = times[usable]
        samples = np.stack([accelerometer.column(name)[usable] for name in LINEAR_ACCELERATION], axis=1)
        empty = 0

        def block(positions: NDArray[np.int64]) -> Block:
            nonlocal empty
            rows = gyroscope.take(positions)
            acceleration = interpolate_acceleration(rows[clock], times, samples, self._options.max_offset_ns)
            missing = acceleration.before < 0
            empty += int(missing.sum())
            bounds = {
                name: np.ma.masked_array(times[positions] if len(times) else positions, missing)
                for name, positions in (
                    ("acceleration_before_ns", acceleration.before),
                    ("acceleration_after_ns", acceleration.after),
                )
            }
            return {
                "index": rows["index"],
                "log_time_ns": rows["log_time_ns"],
                "stamp_ns": np.ma.masked_equal(rows["stamp_ns"], 0),
                **{name: rows[name] for name in ANGULAR_VELOCITY},
                **{name: acceleration.values[:, axis] for axis, name in enumerate(LINEAR_ACCELERATION)},
                **bounds,
            }

        self._write(file, map(block, _blocks(_by_stamp(gyroscope))))
        return empty

    def _write_frame_table(self, merged: dict[str, dict[str, Any]]) -> str | None:
        """Where gyroscope and accelerometer are merged, the gyroscope stands for both."""
        colours = [chosen for chosen in self._topics if chosen.kind == COLOUR]
        if self._options.table == NONE or not colours:
            return None
        accelerometers = {entry["accelerometer"] for entry in merged.values()}
        partners = []
        for kind, prefix in PARTNERS.items():
            topics = [c for c in self._topics if c.kind == kind and c.topic.name not in accelerometers]
            for number, chosen in enumerate(topics, start=1):
                file = merged.get(chosen.topic.name, {}).get("file")
                partners.append(Partner(prefix if number == 1 else f"{prefix}_{number}", self._track(chosen, file)))
        self._remark_on_clocks(colours, partners)
        blocks = frame_blocks(
            self._extraction.recording.stem,
            [self._track(chosen, None) for chosen in colours],
            partners,
            self._options.max_offset_ns,
            self._extraction.names,
        )
        return self._write(f"frames.{self._options.table}", blocks)

    def _remark_on_clocks(self, colours: list[ChosenTopic], partners: list[Partner]) -> None:
        """Says which topics are paired by log time since their stamps are of two clocks."""
        for chosen in colours:
            for partner in partners:
                frames, others = self._spools[chosen.topic.name], partner.track.spool
                if not all(tell_time(spool.column("stamp_ns")) for spool in (frames, others)):
                    continue  # said of the topic
                difference = difference_ns(frames, others) / 1e9
                if difference:
                    self._remarks.append(
                        f"{partner.track.topic} is stamped by another clock than {chosen.topic.name} "
                        f"({difference:+.1f} s): they are paired by log time."
                    )

    def _track(self, chosen: ChosenTopic, merged_file: str | None) -> Track:
        name, kind = chosen.topic.name, chosen.kind
        own_file = "" if chosen.extractor is None else f"{kind}/{chosen.place}.{chosen.form}"
        return Track(name, kind, self._spools[name], merged_file or own_file)

    def _write(self, file: str, blocks: Iterable[Block]) -> str:
        partial = self._extraction.scratch / "partial"
        write_table(partial, file.rpartition(".")[2], blocks)
        place_whole(self._extraction.folder / file, partial)
        return file


def _by_stamp(spool: Spool) -> NDArray[np.int64]:
    """Positions of the usable rows in the order of their stamps, those of one stamp as recorded."""
    usable = np.flatnonzero(spool.column("usable"))
    return usable[np.argsort(spool.column("stamp_ns")[usable], kind="stable")]


def _blocks(positions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """At least one, so that an empty table has its columns too."""
    for start in range(0, max(len(positions), 1), BLOCK):
        yield positions[start : start + BLOCK]
