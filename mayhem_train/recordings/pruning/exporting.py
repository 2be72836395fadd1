"""Kept frames as image files for annotators."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_ros.intensity_range import IntensityRange
from mayhem_train.outputs import cannot_write, whole_file
from mayhem_train.recordings.frame import Frame, frame_name, parse_frame_name
from mayhem_train.recordings.recording import Recording

FORMATS = ("png", "jpg")

_SUFFIXES = tuple(f".{image_format}" for image_format in FORMATS)
_MARK = b"mayhem frame "
_MARK_WITHIN = 8192  # bytes from the start; the comment ends there too
_PNG_HEAD = 33  # the signature and the IHDR chunk
_ENDS = {"png": b"\0\0\0\0IEND\xaeB`\x82", "jpg": b"\xff\xd9"}


def export_frames(
    recording: Recording,
    frames: Iterable[Frame],
    folder: Path,
    *,
    image_format: str = "png",
    intensity_range: IntensityRange | None = None,
    force: bool = False,
) -> int:
    """Writes each frame as `<frame name>`, as .jpg where that is the format, and returns how many it wrote.

    Every image says in a comment which frame it shows, and the intensity range where there is one. What is there
    already, says the same and has its end is left.

    Raises:
        UsageError: an image of that name shows something else, and `force` is not set.
        MayhemError: a frame cannot be read, or its image not be written.
    """
    written = 0
    for frame in frames:
        path = folder / Path(frame.name).with_suffix(f".{image_format}")
        comment = _comment(frame, intensity_range)
        if not force and path.exists():
            if not _shows(path, comment, image_format):
                raise UsageError(
                    f"{path} exists already and was not exported as that frame: choose another folder or pass --force."
                )
            continue
        image = recording.read_image(frame.topic, frame.index, intensity_range)
        data = _encode(image, image_format, comment)
        with whole_file(path, force=True) as partial:
            partial.write_bytes(data)
        written += 1
    return written


def stale_images(folder: Path, kept: Mapping[str, Sequence[Frame]], image_format: str) -> list[Path]:
    """The images in `folder` that exports of these recordings wrote, but one of the `kept` frames would not.

    Only those count that are called as the frame that their comment names; `kept` has the frames by recording.

    Raises:
        MayhemError: an image cannot be read.
    """
    names = {Path(frame.name).with_suffix(f".{image_format}").name for frames in kept.values() for frame in frames}
    stale = []
    for path in sorted(folder.glob("*")):
        if path.name in names or path.suffix not in _SUFFIXES or not path.is_file():
            continue
        try:
            recording, _ = parse_frame_name(f"{path.stem}.png")
        except MayhemError:
            continue  # somebody's image
        if recording in kept and _shown(path) == f"{path.stem}.png":
            stale.append(path)
    return stale


def exported_range(path: Path) -> tuple[bool, IntensityRange | None]:
    """Whether an export wrote an image, and by which intensity range it was scaled then.

    Raises:
        MayhemError: it cannot be read.
    """
    fields = _said(path)
    if "recording" not in fields:
        return False, None
    numbers = fields.get("intensity_range")
    return True, None if numbers is None else IntensityRange.of(numbers)


def remove_images(paths: Iterable[Path]) -> None:
    """Removes exported images.

    Raises:
        MayhemError: one cannot be removed.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error


def _comment(frame: Frame, intensity_range: IntensityRange | None) -> bytes:
    """The frame's identity, of which the name lacks the topic and the times, and the range where there is one."""
    scaled = {} if intensity_range is None else {"intensity_range": list(intensity_range)}
    return _MARK + json.dumps({**vars(frame), **scaled}).encode()


def _shown(path: Path) -> str:
    """The name of the frame that an exported image says it shows; empty for any other file."""
    fields = _said(path)
    try:
        return frame_name(fields["recording"], fields["index"])
    except (ValueError, KeyError, TypeError):
        return ""


def _said(path: Path) -> dict[str, Any]:
    """What the comment in an image says; nothing where no export wrote one."""
    try:
        with path.open("rb") as stream:
            _, _, comment = stream.read(_MARK_WITHIN).partition(_MARK)
    except OSError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror}): check its permissions.") from error
    try:
        fields, _ = json.JSONDecoder().raw_decode(comment.decode(errors="replace"))
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _encode(rgb: NDArray[np.uint8], image_format: str, comment: bytes) -> bytes:
    """The image file's bytes with the comment in its head."""
    try:
        encoded, data = cv2.imencode(f".{image_format}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise MayhemError(
            f"OpenCV cannot write an image of {rgb.shape[1]}x{rgb.shape[0]} as {image_format}."
        ) from error
    assert encoded
    content = data.tobytes()
    if image_format == "png":
        chunk = b"tEXtComment\0" + comment
        head, part = _PNG_HEAD, struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    else:  # after JFIF's segment, which must come first
        head = 4 + int.from_bytes(content[4:6], "big")
        part = b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
    return content[:head] + part + content[head:]


def _shows(path: Path, comment: bytes, image_format: str) -> bool:
    """Whether a file is an image of that comment that was not cut off."""
    try:
        with path.open("rb") as stream:
            head = stream.read(4096 + len(comment))
            end = _ENDS[image_format]
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - len(end)))
            return comment in head and stream.read() == end
    except OSError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror}): choose another folder.") from error
