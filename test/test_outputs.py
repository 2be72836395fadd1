"""An output appears whole in place of what it replaces, and replaces nothing but its own kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.outputs import refuse_existing, whole_file, whole_folder


def write(path: Path, *, force: bool = True, of: str = "test") -> None:
    with whole_folder(path, of=of, force=force) as partial:
        (partial / "new").touch()


def write_file(path: Path, content: bytes, *, force: bool = True) -> None:
    with whole_file(path, force=force) as partial:
        partial.write_bytes(content)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# Folders


def test_a_folder_that_was_written_is_replaced_only_when_forced(tmp_path: Path) -> None:
    write(tmp_path / "out", force=False)
    (tmp_path / "out" / "new").write_text("old")
    with pytest.raises(UsageError, match="exists already"):
        write(tmp_path / "out", force=False)
    write(tmp_path / "out")
    assert names(tmp_path) == ["out", "out/.mayhem-test", "out/new"]
    assert (tmp_path / "out" / "new").read_text() == ""


@pytest.mark.parametrize("foreign", ["notes.txt", "sub/notes.txt", "link"])
def test_a_folder_that_holds_more_than_was_written_is_never_replaced(tmp_path: Path, foreign: str) -> None:
    write(tmp_path / "out")
    path = tmp_path / "out" / foreign
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(tmp_path) if foreign == "link" else path.touch()
    before = names(tmp_path)
    with pytest.raises(UsageError, match=f"holds {foreign}, which is nothing that --force may replace there"):
        write(tmp_path / "out")
    assert names(tmp_path) == before


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    write(tmp_path / "out", of="other")
    with pytest.raises(UsageError, match="nothing that --force may replace"):
        write(tmp_path / "out")
    assert names(tmp_path / "out") == [".mayhem-other", "new"]


@pytest.mark.parametrize("content", [b"", b"\xff", b"3", b'{"new": 1}', b"["])
def test_a_list_that_is_none_names_nothing(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "out")
    (tmp_path / "out" / ".mayhem-test").write_bytes(content)
    with pytest.raises(UsageError, match="nothing that --force may replace"):
        write(tmp_path / "out")


def test_a_file_is_never_replaced_by_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    with pytest.raises(UsageError, match="exists already"):
        write(out, force=False)
    with pytest.raises(UsageError, match="is a file: name a folder"):
        write(out)
    assert out.read_text() == "old"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "real")
    (tmp_path / "real" / "new").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link")
    assert (tmp_path / "link").readlink() == Path("real")
    assert (tmp_path / "real" / "new").read_text() == ""


def test_the_working_folder_may_be_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    write(Path(), force=False)
    assert names(tmp_path) == ["here", "here/.mayhem-test", "here/new"]


# Files

BAG = b"#ROSBAG V2.0\n\x45\0\0\0"
SQLITE = b"SQLite format 3\0\x10\0"
MCAP = b"\x89MCAP0\r\n\x01"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
ZIP = b"PK\x03\x04"


@pytest.mark.parametrize("new", [b'{"a": 1}', b"<?xml"])
@pytest.mark.parametrize("old", [BAG, SQLITE, MCAP, PNG, ZIP, "ü\0".encode(), b"\x80abc"])
def test_a_binary_file_is_never_replaced_by_a_text(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(old)
    with pytest.raises(UsageError, match="is a file of another kind, which --force does not replace"):
        write_file(path, new)
    with pytest.raises(UsageError, match="is a file of another kind, which --force does not replace"):
        refuse_existing(path, force=True, begins=new[:1])
    assert path.read_bytes() == old
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(("old", "new"), [(b"<?xml", b"{}"), (b"{}", b"<?xml"), (b"{}", BAG), (BAG, SQLITE)])
def test_a_file_is_not_replaced_by_one_of_another_kind(tmp_path: Path, old: bytes, new: bytes) -> None:
    (tmp_path / "out").write_bytes(old)
    with pytest.raises(UsageError, match="is a file of another kind"):
        write_file(tmp_path / "out", new)
    assert (tmp_path / "out").read_bytes() == old


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"{}", b'{"a": 1}'),
        (b"\xef\xbb\xbf \n{}", b"{}"),
        (b"<a/>", b"<?xml"),
        (BAG, BAG + b"more"),
        (b"\x08\x08\x12", b"\x08\x0a\x12"),  # ONNX of another version
        (b"", b"{}"),
        (b"\0" * 9000, b"{}"),  # what a power cut leaves
        (b"version https://git-lfs.github.com/spec/v1", b"\x08\x0a\x12"),
        (("{" + "x" * 4094 + "ü").encode(), b"{}"),  # the head ends within a character
    ],
)
def test_a_file_is_replaced_by_one_of_its_kind_when_forced(tmp_path: Path, old: bytes, new: bytes) -> None:
    (tmp_path / "out").write_bytes(old)
    with pytest.raises(UsageError, match="pass --force to replace it"):
        write_file(tmp_path / "out", new, force=False)
    write_file(tmp_path / "out", new)
    assert (tmp_path / "out").read_bytes() == new


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    for force in (False, True):
        with pytest.raises(UsageError, match="is a folder: name a file"):
            write_file(tmp_path, b"", force=force)
        with pytest.raises(UsageError, match="is a folder: name a file"):
            refuse_existing(tmp_path, force=force, begins=b"{")


def test_a_device_or_a_pipe_is_no_output(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/null"), tmp_path / "pipe"):
        for force in (False, True):
            with pytest.raises(UsageError, match="is neither a file nor a folder"):
                write_file(path, b"", force=force)
            with pytest.raises(UsageError, match="is neither a file nor a folder"):
                write(path, force=force)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (PermissionError(13, "Permission denied"), "check its permissions"),
        (NotADirectoryError(20, "Not a directory"), "choose another place"),
        (OSError(28, "No space left on device"), "free the disk or choose another place"),
    ],
)
def test_what_the_system_says_comes_with_what_helps(tmp_path: Path, error: OSError, remedy: str) -> None:
    sentence = f"Cannot write {tmp_path / 'out'} ({error.strerror}): {remedy}."
    for writing in (whole_file, whole_folder):
        with pytest.raises(MayhemError) as caught, writing(tmp_path / "out"):
            raise error
        assert str(caught.value) == sentence
