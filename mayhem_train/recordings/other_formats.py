"""Files that people take for recordings, by their first bytes: what each is, and what to do instead."""

from __future__ import annotations

_UNPACK = "unpack it first; only zstd archives are read as they are"
_REPLAY = "play it with the camera's ROS driver, and record the topics that this publishes"
_BEGINNINGS = {
    b"\x1f\x8b": ("a gzip archive", _UNPACK),
    b"BZh": ("a bzip2 archive", _UNPACK),
    b"\xfd7zXZ\0": ("an xz archive", _UNPACK),
    b"\x04\x22\x4d\x18": ("an lz4 archive", _UNPACK),
    b"PK\3\4": ("a zip archive", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", _UNPACK),
    b"\x1aE\xdf\xa3": ("a Matroska file, as Azure Kinect's and Orbbec's recorders write", _REPLAY),
    b"NI10": ("an OpenNI recording", _REPLAY),
    b"RIFF": ("an AVI video", "publish it as images with ROS, and record these"),
    b"version https://git-lfs": ("a pointer of Git LFS", "fetch the file itself with `git lfs pull`"),
    b"<!DOCTYPE": ("a web page", "download the file itself, which may ask for a login"),
    b"<html": ("a web page", "download the file itself, which may ask for a login"),
    b"\x89HDF": ("an HDF5 file", "name a .mcap, .db3 or .bag file"),
}
_MP4 = ("an MP4 video", "publish it as images with ROS, and record these")

LONGEST = max(map(len, _BEGINNINGS))
"""First bytes that are needed to know."""


def other_format(head: bytes) -> tuple[str, str] | None:
    """(what a file that begins so is, what to do instead), None where that is not known."""
    if head[4:8] == b"ftyp":
        return _MP4
    return next((said for beginning, said in _BEGINNINGS.items() if head.startswith(beginning)), None)
