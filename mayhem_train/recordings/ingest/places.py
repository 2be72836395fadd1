"""Where in a recording's folder everything goes; names out of recordings never lead outside of it."""

from __future__ import annotations

import hashlib
import re

from mayhem_train.recordings.frame import frame_name

MANIFEST = "ingest.json"
SCRATCH = ".ingest"

_LONGEST = 120  # characters, well below what file systems allow, since suffixes are added


def topic_place(topic: str) -> str:
    """A topic's name as a file name: "/camera/image_raw" is "camera-image_raw".

    Whatever is neither a letter, a digit nor `_` is written as its bytes (`%2E`), so that no two topics share a place,
    but for "/a" and "a"; a very long name ends in its hash.
    """
    parts = topic.removeprefix("/").split("/")
    place = "-".join(re.sub(r"[^A-Za-z0-9_]", lambda m: _quoted(m[0]), part) for part in parts) or "%"
    return _shortened(place, topic)


def merged_place(gyroscope: str, accelerometer: str) -> str:
    """What the table of both topics together is called: no longer than that of one."""
    places = f"{topic_place(gyroscope)}+{topic_place(accelerometer)}"
    return _shortened(places, f"{gyroscope}+{accelerometer}")


def image_file(kind: str, topic: str, stem: str, index: int, suffix: str) -> str:
    """Where one message of a topic goes, relative to the recording's folder; `suffix` with its dot."""
    return f"{kind}/{topic_place(topic)}/{frame_name(stem, index).removesuffix('.png')}{suffix}"


def _shortened(place: str, topic: str) -> str:
    if len(place) <= _LONGEST:
        return place
    return f"{place[:_LONGEST]}.{hashlib.sha256(topic.encode(errors='surrogatepass')).hexdigest()[:16]}"


def _quoted(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode(errors="surrogatepass"))
