"""Frames that were extracted are read from their image files, and nothing outside their folder is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from datasets_drives import TOPIC, picture, write_drive

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.datamodule import PerceptionDataModule
from mayhem_train.datasets.dataset import FrameDataset
from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex, LabelledImage
from mayhem_train.datasets.samples import Sample

HEIGHT, WIDTH = 48, 64


def frame(index: int, file_name: str | None, split: str = "train") -> LabelledImage:
    return LabelledImage(
        index + 1,
        WIDTH,
        HEIGHT,
        "drive-a",
        TOPIC,
        index,
        index,
        index,
        split,
        (BoxLabel(1, (1, 2, 30, 40)),),
        file_name=file_name,
    )


def index_of(*frames: LabelledImage) -> DatasetIndex:
    return DatasetIndex((Category(1, "agv", True),), frames)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with frame 0 as PNG and, in a folder of it, frame 1 as JPEG of the best quality."""
    folder = tmp_path / "images"
    (folder / "drive-a").mkdir(parents=True)
    cv2.imwrite(str(folder / "drive-a-000000.png"), picture("drive-a", 0)[..., ::-1])
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, 100]
    cv2.imwrite(str(folder / "drive-a" / "drive-a-000001.jpg"), picture("drive-a", 1)[..., ::-1], jpeg)
    return folder


def pixels(sample: object) -> np.ndarray:
    assert isinstance(sample, Sample)
    return sample.image.permute(1, 2, 0).numpy()


def test_extracted_images_need_no_recording(images: Path) -> None:
    index = index_of(frame(0, "drive-a-000000.png"), frame(1, "drive-a/drive-a-000001.jpg"))
    samples = FrameDataset(index, None, images=images)
    np.testing.assert_array_equal(pixels(samples[0]), picture("drive-a", 0))
    decoded = cv2.imread(str(images / "drive-a" / "drive-a-000001.jpg"))
    assert decoded is not None
    np.testing.assert_array_equal(pixels(samples[1]), decoded[..., ::-1])


def test_images_and_recordings_are_mixed_and_without_the_folder_all_is_recordings(images: Path, tmp_path: Path) -> None:
    write_drive(tmp_path / "recordings", "drive-a", 3)
    index = index_of(frame(0, "drive-a-000000.png"), frame(2, None))
    (images / "drive-a-000000.png").write_bytes((images / "drive-a" / "drive-a-000001.jpg").read_bytes())
    mixed = FrameDataset(index, tmp_path / "recordings", images=images)
    assert not np.array_equal(pixels(mixed[0]), picture("drive-a", 0)), "the file counts, not the recording"
    np.testing.assert_array_equal(pixels(mixed[1]), picture("drive-a", 2))
    recorded = FrameDataset(index, tmp_path / "recordings")
    np.testing.assert_array_equal(pixels(recorded[0]), picture("drive-a", 0))


def test_the_module_trains_from_images_alone(images: Path, tmp_path: Path) -> None:
    index = index_of(frame(0, "drive-a-000000.png"), frame(1, "drive-a/drive-a-000001.jpg", "val"))
    index.save(tmp_path / "index.json")
    data = PerceptionDataModule(str(tmp_path / "index.json"), size=(36, 48), workers=0, images=str(images))
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert batch.names == ("drive-a-000000.png",)
    assert torch.is_tensor(batch.images)
    assert data.inputs == (tmp_path / "index.json", images)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "..", "a\\..\\secret.png", ""])
def test_a_name_that_leaves_the_folder_is_refused(images: Path, name: str) -> None:
    cv2.imwrite(str(images.parent / "secret.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(MayhemError, match=r"which leaves the folder .*images"):
        FrameDataset(index_of(frame(0, name)), None, images=images)


def test_a_missing_image_is_named_before_anything_is_read(images: Path) -> None:
    index = index_of(frame(0, "drive-a-000000.png"), frame(1, "gone.png"))
    with pytest.raises(MayhemError, match=r"The image 'gone\.png' of the dataset index is not in .*images"):
        FrameDataset(index, None, images=images)


def test_an_image_of_another_size_is_named(images: Path) -> None:
    index = index_of(replace(frame(0, "drive-a-000000.png"), width=32, height=24))
    with pytest.raises(MayhemError, match=r"drive-a-000000\.png is 64x48 pixels in .*images.*32x24"):
        FrameDataset(index, None, images=images)[0]


@pytest.mark.parametrize("damage", [b"", b"GIF89a nothing", b"\xff\xd8\xff\xe0 half"])
def test_a_file_that_is_no_whole_image_is_named(images: Path, damage: bytes) -> None:
    (images / "drive-a-000000.png").write_bytes(damage)
    with pytest.raises(MayhemError, match=r"Frame drive-a-000000\.png cannot be read: .*images/drive-a-000000\.png: "):
        FrameDataset(index_of(frame(0, "drive-a-000000.png")), None, images=images)[0]


def test_without_recordings_a_frame_that_lies_in_one_is_named(images: Path) -> None:
    index = index_of(frame(0, "drive-a-000000.png"), frame(2, None))
    with pytest.raises(MayhemError, match=r"Frame drive-a-000002\.png .* recording 'drive-a': name the folder"):
        FrameDataset(index, None, images=images)
