"""An output folder appears whole in place of what it replaces, however its place is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from mayhem_ros.errors import UsageError
from mayhem_train.outputs import whole_folder


def write(path: Path, *, force: bool = True) -> None:
    with whole_folder(path, force=force) as partial:
        (partial / "new").touch()


def test_a_file_is_replaced_by_a_folder_only_when_forced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("old")
    with pytest.raises(UsageError, match="exists already"):
        write(out, force=False)
    write(out)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["out", "out/new"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").touch()
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link")
    assert (tmp_path / "link").readlink() == Path("real")
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["new"]


def test_the_working_folder_may_be_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    write(Path(), force=False)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["here", "here/new"]
