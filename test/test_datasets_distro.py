"""Training reads recordings with the definitions of the distribution it was told."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets_drives import box_element, image_element, write_cvat, write_drive

from mayhem_ros.errors import UsageError
from mayhem_train.cli import main
from mayhem_train.datasets.datamodule import PerceptionDataModule


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A drive of ten labelled frames and index.json over it."""
    write_drive(tmp_path / "recordings", "drive", 10)
    labels = [image_element(f"drive-{k:06d}.png", box_element("car", 1, 2, 30, 40)) for k in range(10)]
    path = write_cvat(tmp_path / "a.xml", *labels)
    arguments = [str(path), "--recordings", str(tmp_path / "recordings"), "--out", str(tmp_path / "index.json")]
    assert main(["import-cvat", *arguments]) == 0
    return tmp_path


def test_training_passes_it_on(dataset: Path) -> None:
    def first_batch(distro: str) -> int:
        data = PerceptionDataModule(
            str(dataset / "index.json"), str(dataset / "recordings"), size=(48, 64), workers=0, distro=distro
        )
        data.setup("fit")
        return len(next(iter(data.train_dataloader())))

    assert first_batch("humble") == 8
    with pytest.raises(UsageError, match="atlantis"):
        first_batch("atlantis")
