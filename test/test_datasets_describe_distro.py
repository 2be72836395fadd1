"""A leakage check that could read nothing is no clean bill."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets_drives import box_element, image_element, write_cvat, write_drive

from mayhem_train.cli import main


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A drive of ten labelled frames and index.json over it."""
    write_drive(tmp_path / "recordings", "drive", 10)
    labels = [image_element(f"drive-{k:06d}.png", box_element("car", 1, 2, 30, 40)) for k in range(10)]
    path = write_cvat(tmp_path / "a.xml", *labels)
    arguments = [str(path), "--recordings", str(tmp_path / "recordings"), "--out", str(tmp_path / "index.json")]
    assert main(["import-cvat", *arguments]) == 0
    return tmp_path


def test_describe_passes_it_on(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["describe", str(dataset / "index.json"), "--recordings", str(dataset / "recordings"), "--distro"]
    assert main([*arguments, "humble"]) == 0
    capsys.readouterr()
    assert main([*arguments, "atlantis"]) == 2
    assert "atlantis" in capsys.readouterr().err


def test_a_check_that_compared_nothing_never_says_that_nothing_leaks(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the reason that no frame could be read."""
    arguments = ["describe", str(dataset / "index.json"), "--recordings", str(dataset / "recordings")]
    for file in (dataset / "recordings" / "drive").iterdir():
        if file.suffix != ".yaml":
            data = file.read_bytes()
            file.write_bytes(data.replace(b"rgb8", b"rgb9"))
    assert main([*arguments, "--gap", "0", "--fail-on-leakage"]) == 1
    assert "No near-duplicates" not in capsys.readouterr().err
