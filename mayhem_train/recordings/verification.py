"""Reads all of a recording to find out what of it is damaged."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mayhem_ros.errors import MayhemError
from mayhem_ros.image_decoding import DecodedImage
from mayhem_train.console import progress_bar, track, warn
from mayhem_train.recordings.cache import FileVersion
from mayhem_train.recordings.depth import DepthImage, decode_depth, is_depth_message, is_image_message
from mayhem_train.recordings.flawed_images import flawed_images, listed_flaws
from mayhem_train.recordings.index_cache import forget, load_content_hash, save_content_hash
from mayhem_train.recordings.recording import Recording

NAMED = 3
"""Damaged messages of a topic that are named one by one; of all of them there is the count."""

_PIECE = 2**22


@dataclass(frozen=True)
class Verification:
    """What came of reading everything.

    Attributes:
        sha256: of each file, by its name, hexadecimal.
        messages: how many were read, and of known types deserialised.
        images: how many of them were decoded.
        damaged: by topic how many messages could not be read or decoded, only topics that have such.
        flawed: by topic how many images were decoded though something is wrong with them: JPEG files with flipped bytes
            or without an end, raw images whose `step` cannot be true, a video's pictures that build on damaged ones.
        wrong_files: how often a file contradicts its own checksums or structure, or its hash when last verified.
        problems: one sentence each: what is wrong with the files, the first damaged messages of a topic, images of
            another size than most of their topic.
    """

    sha256: dict[str, str]
    messages: int
    images: int
    damaged: dict[str, int]
    flawed: dict[str, int]
    wrong_files: int
    problems: tuple[str, ...]


def verify_recording(recording: Recording) -> Verification:
    """Reads every message, decodes every image, and compares checksums and hashes where there are any."""
    problems: list[str] = []
    sha256 = {file.name: _hash(file, problems) for file in recording.files}
    problems.extend(recording.check_files())
    wrong_files = len(problems)
    damaged: Counter[str] = Counter()
    flaws: dict[str, list[tuple[str, str]]] = {}
    sizes: dict[str, Counter[tuple[int, int]]] = {topic.name: Counter() for topic in recording.image_topics}
    unknown: Counter[str] = Counter()
    total = sum(topic.count for topic in recording.topics)
    read = 0
    for topic, index in track(_places(recording), f"Verifying {recording.stem}", total):
        try:
            if not recording.knows_type(topic, index):
                recording.read_serialised(topic, index)
                unknown[topic] += 1
            elif topic in sizes:
                decoded = _decoded(recording, topic, index)
                if decoded is not None:
                    sizes[topic][decoded.pixels.shape[1], decoded.pixels.shape[0]] += 1
                    if decoded.flaws:
                        flaws.setdefault(topic, []).append((str(index), decoded.flaws[0]))
            else:
                recording.read_message(topic, index)
            read += 1
        except MayhemError as error:
            damaged[topic] += 1
            if damaged[topic] <= NAMED:
                problems.append(str(error))
    problems.extend(
        f"{count} messages on {topic} of {recording.path} are damaged; the first {NAMED} are named."
        for topic, count in damaged.items()
        if count > NAMED
    )
    problems.extend(
        f"{count} messages on {topic} of {recording.path} are of an unknown type: not checked."
        for topic, count in unknown.items()
    )
    problems.extend(
        f"{flawed_images(len(found), f' on {topic} of {recording.path}')}: {listed_flaws(found, NAMED)}."
        for topic, found in flaws.items()
    )
    for topic, counts in sizes.items():
        (usual, _), *others = counts.most_common() or [((0, 0), 0)]
        problems.extend(
            f"{count} of {counts.total()} images on {topic} of {recording.path} are {width}x{height}, most are "
            f"{usual[0]}x{usual[1]}."
            for (width, height), count in others
        )
    images = sum(counts.total() for counts in sizes.values())
    flawed = {topic: len(found) for topic, found in flaws.items()}
    return Verification(sha256, read, images, dict(damaged), flawed, wrong_files, tuple(problems))


def _places(recording: Recording) -> Iterator[tuple[str, int]]:
    return recording.places([topic.name for topic in recording.topics])


def _decoded(recording: Recording, topic: str, index: int) -> DecodedImage | DepthImage | None:
    """An image decoded as what it says it is; None for a message of another type that strayed among the images."""
    message = recording.read_message(topic, index)
    if not is_image_message(message):
        return None
    if not is_depth_message(message, topic):
        return recording.read_with_flaws(topic, index)
    with recording.naming(topic, index):
        return decode_depth(message)


def _hash(path: Path, problems: list[str]) -> str:
    """The file's SHA-256; a problem where the same version of the file once had another one."""
    digest = hashlib.sha256()
    try:
        version = FileVersion.of(path)
        with path.open("rb") as stream, progress_bar() as progress:
            task = progress.add_task(f"Hashing {path.name}, MB", total=version.size // 10**6)
            while piece := stream.read(_PIECE):
                digest.update(piece)
                progress.update(task, completed=stream.tell() // 10**6)
    except OSError as error:
        raise MayhemError(f"Cannot read {path} ({error.strerror}): copy it from its source.") from error
    kept = load_content_hash(version)
    if kept is not None and kept != digest.hexdigest():
        problems.append(
            f"{path} has changed since it was last verified although its size and times have not: copy it from its "
            "source."
        )
        forget(version)
    warn(*filter(None, [save_content_hash(path, version, digest.hexdigest())]))
    return digest.hexdigest()
