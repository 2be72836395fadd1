"""A file's version is told by where it lies, its size and its times."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mayhem_train.recordings.cache import FileVersion


def test_a_version_says_what_the_file_system_does(tmp_path: Path) -> None:
    path, link = tmp_path / "drive.mcap", tmp_path / "link.mcap"
    path.write_bytes(b"12345")
    link.symlink_to(path)
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    version = FileVersion.of(link)
    assert version == FileVersion(os.path.realpath(path), 5, 1_700_000_000_123_456_789, path.stat().st_ctime_ns)
    assert version == FileVersion.of(path)
    assert version.name == f"5-1700000000123456789-{path.stat().st_ctime_ns}"


def test_a_file_of_another_size_time_or_place_is_another_version(tmp_path: Path) -> None:
    path, copy = tmp_path / "drive.mcap", tmp_path / "copy.mcap"
    path.write_bytes(b"12345")
    versions = [FileVersion.of(path)]
    os.utime(path, ns=(1, versions[0].modified_ns + 1))
    versions.append(FileVersion.of(path))
    path.write_bytes(b"123456")
    os.utime(path, ns=(1, versions[0].modified_ns))
    versions.append(FileVersion.of(path))
    copy.write_bytes(b"54321")  # put in the place of the first one, with its size and time
    os.utime(copy, ns=(1, versions[0].modified_ns))
    copy.replace(path)
    versions.append(FileVersion.of(path))
    assert [(v.size, v.modified_ns - versions[0].modified_ns) for v in versions] == [(5, 0), (5, 1), (6, 0), (5, 0)]
    assert len(set(versions)) == len({version.name for version in versions}) == 4
    assert len({version.place for version in versions}) == 1
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "drive.mcap").write_bytes(b"12345")
    assert FileVersion.of(tmp_path / "below" / "drive.mcap").place != versions[0].place


def test_of_a_file_that_is_not_there_there_is_no_version(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileVersion.of(tmp_path / "drive.mcap")
