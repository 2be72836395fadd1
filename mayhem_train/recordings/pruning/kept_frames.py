"""kept.json: which frames were kept, and an audit row for each frame that was looked at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mayhem_ros.errors import MayhemError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.outputs import whole_file
from mayhem_train.recordings.frame import Frame, one_spelling, parse_frame_name


@dataclass(frozen=True, slots=True)  # there is one a frame
class AuditRow:
    """What was decided about one frame.

    Attributes:
        name: `<recording>-<index:06d>.png`.
        recording, topic, index, log_time_ns, stamp_ns: as in `Frame`; no stamp where it could not be read.
        score: its similarity to the reference, None where there is none or it cannot be computed.
        reference: name of the frame it was compared with.
        kept: whether it was kept, and so is the next frame's reference.
        reason: why there is no score.
        flaw: what the decoder complained of, though it gave a picture: JPEG files with flipped bytes.
    """

    name: str
    recording: str
    topic: str
    index: int
    log_time_ns: int
    stamp_ns: int | None
    score: float | None
    reference: str | None
    kept: bool
    reason: str | None
    flaw: str | None = None

    @property
    def frame(self) -> Frame:
        """The frame."""
        return Frame(self.recording, self.topic, self.index, self.log_time_ns, self.stamp_ns)

    def to_json(self) -> str:
        """One line; a score reads back exactly."""
        return json.dumps({name: getattr(self, name) for name in _TYPES}, allow_nan=False)

    @classmethod
    def from_json(cls, fields: object) -> AuditRow:
        """A row out of parsed JSON; fields that are not known are left out.

        Raises:
            MayhemError: a field is missing or of another type, or the name is that of another frame.
        """
        if not isinstance(fields, dict):
            raise MayhemError("a row is not an object")
        fields = {"flaw": None, **fields}  # which rows of old have not
        for name, types in _TYPES.items():
            value = fields.get(name, _MISSING)
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                raise MayhemError(f"{name!r} of a row is {'missing' if value is _MISSING else repr(value)}")
        names = {name: one_spelling(fields[name]) for name in ("name", "recording")}
        row = cls(**{name: fields[name] for name in _TYPES} | names)
        if parse_frame_name(row.name) != (row.recording, row.index):
            raise MayhemError(f"{row.name!r} is not frame {row.index} of {row.recording!r}")
        return row


def read_kept_frames(path: Path) -> tuple[Frame, ...]:
    """The kept frames in the order of kept.json, which people may have shortened.

    Raises:
        MayhemError: the file cannot be read, is no kept.json, or keeps a frame twice or one that it has no row of.
    """
    document = read_document(path)
    kept, frames = document.get("kept"), document.get("frames")
    if not isinstance(kept, list) or not isinstance(frames, list):
        raise MayhemError(f"{path} has no lists 'kept' and 'frames': name the file that `mayhem prune` wrote.")
    rows: dict[str, AuditRow] = {}
    chosen: list[Frame] = []
    try:
        for row in map(AuditRow.from_json, frames):
            if row.name in rows:
                raise MayhemError(f"it has two rows of {row.name!r}")
            rows[row.name] = row
        for name in kept:
            found = rows.get(one_spelling(name)) if isinstance(name, str) else None
            if found is None:
                raise MayhemError(f"it keeps {name!r}, of which it has no row")
            chosen.append(found.frame)
        if len(set(kept)) < len(kept):
            raise MayhemError("it keeps a frame twice")
    except MayhemError as error:
        raise MayhemError(
            f"{path} is damaged ({str(error).rstrip('.')}): write it again with `mayhem prune`."
        ) from error
    return tuple(chosen)


def read_intensity_range(path: Path) -> IntensityRange:
    """By which the frames were scaled that were pruned to kept.json.

    Raises:
        MayhemError: the file cannot be read, is no kept.json, or has no range.
    """
    numbers = read_document(path).get("intensity_range")
    if numbers is None:
        raise MayhemError(f"{path} has no intensity range: name LOW HIGH, or auto, in its place.")
    try:
        return IntensityRange.of(numbers)
    except ValueError as error:
        raise MayhemError(f"{path} is damaged ({error}): write it again with `mayhem prune`.") from error


def read_document(path: Path) -> dict[str, Any]:
    """The parsed file.

    Raises:
        MayhemError: it cannot be read or is no JSON object.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        remedy = "check its permissions" if isinstance(error, PermissionError) else "name the file `mayhem prune` wrote"
        raise MayhemError(f"Cannot read {path} ({error.strerror}): {remedy}.") from error
    except (ValueError, RecursionError) as error:
        raise MayhemError(f"{path} is no JSON ({error}): name the file that `mayhem prune` wrote.") from error
    if not isinstance(document, dict):
        raise MayhemError(f"{path} holds no JSON object: name the file that `mayhem prune` wrote.")
    return document


def write_kept_frames(path: Path, made_with: Mapping[str, object], rows: Sequence[AuditRow], *, force: bool) -> None:
    """Writes kept.json, whole or not at all; the same arguments give the same bytes.

    Raises:
        UsageError: it exists already and `force` is not set.
        MayhemError: it cannot be written.
    """
    with whole_file(path, force=force) as partial, partial.open("w", encoding="ascii") as stream:
        stream.write("{\n")
        for key, value in made_with.items():
            stream.write(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)},\n")
        _write_list(stream, "kept", (json.dumps(row.name) for row in rows if row.kept))
        stream.write(",\n")
        _write_list(stream, "frames", (row.to_json() for row in rows))
        stream.write("\n}\n")


_MISSING = object()
_NONE = type(None)
_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "recording": (str,),
    "topic": (str,),
    "index": (int,),
    "log_time_ns": (int,),
    "stamp_ns": (int, _NONE),
    "score": (float, int, _NONE),
    "reference": (str, _NONE),
    "kept": (bool,),
    "reason": (str, _NONE),
    "flaw": (str, _NONE),
}


def _write_list(stream: TextIO, key: str, items: Iterable[str]) -> None:
    """A JSON list with one item a line, for people and for diffs."""
    stream.write(f'"{key}": [')
    for number, item in enumerate(items):
        stream.write(",\n" if number else "\n")
        stream.write(item)
    stream.write("\n]")
