"""The frame behind an image's name, whatever labelling tools and stores of files have made of that name."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import parse_qsl, unquote, urlsplit

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.frame import parse_frame_name

# How CVAT names the frames of a video, which have no names, where its task is exported as images.
_VIDEO_FRAME = re.compile(r"^frame_([0-9]{6,12})(?:\.[a-z]{3,4})?$", re.IGNORECASE)

_IMAGE = r"\.(?:png|jpe?g|bmp|webp|tiff?)"
_EXTENSION = re.compile(rf"{_IMAGE}$", re.IGNORECASE)
# Roboflow: the extension becomes part of the name, and a hash follows.
_ROBOFLOW = re.compile(r"_(?:png|jpe?g|bmp|webp|tiff?)\.rf\.[0-9A-Za-z_-]+$", re.IGNORECASE)
# CVAT numbers the images of a project's tasks that share a name, a_1.png, a_1_1.png; people and browsers copy files.
_COPY = re.compile(r"(?<=[0-9])(?:(?:_[0-9]{1,3})+| ?\([0-9]{1,3}\)|[ _-]+copy)$", re.IGNORECASE)
# Label Studio: a hash or a whole UUID of the upload and a dash; of a download, a hash and two underscores.
# Eight digits that are a date are none.
_UPLOAD = re.compile(
    r"^(?!(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[-_])"
    r"(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{6}(?=__)|[0-9a-f]{8})(?:__|[-_])",
    re.IGNORECASE,
)


def video_frame(name: str) -> int | None:
    """The number in a name that CVAT gives a video's frame, `frame_000012.png`; None where it is no such name."""
    match = _VIDEO_FRAME.match(last_part(name))
    return None if match is None else int(match[1])


def last_part(path: str) -> str:
    """What follows the last slash or backslash."""
    return re.split(r"[/\\]", path)[-1]


def possible_frames(name: str) -> list[tuple[str, int]]:
    """The frames, (recording, index), that an image's name, path or web address may stand for, the likeliest first.

    First what the name says as it stands, with any image's extension or none; then what it says without what tools add.
    """
    found: dict[tuple[str, int], None] = {}
    for part in _last_parts(name):
        for stem in _without_additions(part):
            try:
                found[parse_frame_name(f"{stem}.png")] = None
            except MayhemError:
                continue
    return list(found)


def _last_parts(name: str) -> Iterator[str]:
    """What may be the file's name in a path or an address: also in a query (`?d=`), percent-encoded or in base 64."""
    if "?" in name or "://" in name:
        yield from _parts_of_address(name)
    yield last_part(name)
    yield last_part(unquote(name))


def _parts_of_address(address: str) -> Iterator[str]:
    try:
        _, _, path, query, _ = urlsplit(address)
    except ValueError:
        return
    yield last_part(unquote(path))
    for _, value in parse_qsl(query):
        yield last_part(unquote(value))
        with suppress(binascii.Error, ValueError):
            yield last_part(base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode())


def _without_additions(name: str) -> Iterator[str]:
    """The name without its extension, and then without more and more of what tools put behind and before it."""
    stem = _EXTENSION.sub("", name)
    behind = [stem]
    for pattern in (_ROBOFLOW, _EXTENSION, _COPY):
        behind.append(pattern.sub("", behind[-1]))
    yield from behind
    yield from (_UPLOAD.sub("", shorter) for shorter in behind)
