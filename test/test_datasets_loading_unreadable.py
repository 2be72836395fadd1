"""A damaged frame does not cost a night's training: it is named, counted and left out, or ends the run if asked to."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from recordings_writing import START_NS, colour_pixels, jpeg, jpeg_bytes, write

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.datamodule import PerceptionDataModule
from mayhem_train.datasets.dataset import FrameDataset
from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex, LabelledImage
from mayhem_train.datasets.samples import Batch, Sample, collate

TOPIC = "/camera/compressed"
FRAMES, DAMAGED = 40, 17


def labelled(stem: str, index: int, number: int, split: str) -> LabelledImage:
    time = START_NS + index * 10**8
    return LabelledImage(number, 80, 60, stem, TOPIC, index, time, time, split, (BoxLabel(1, (10, 10, 40, 40)),))


def write_jpegs(folder: Path, stem: str, count: int, damaged: tuple[int, ...] = ()) -> None:
    messages = []
    for index in range(count):
        data = jpeg_bytes(colour_pixels(index))
        messages.append(jpeg(TOPIC, START_NS + index * 10**8, data[: len(data) // 2] if index in damaged else data))
    write(folder, stem, "mcap", messages)


@pytest.fixture
def drives(tmp_path: Path) -> Path:
    """A drive of 40 JPEG frames to train on, one of them cut off, and a whole one of eight to validate on."""
    write_jpegs(tmp_path, "drive-a", FRAMES, (DAMAGED,))
    write_jpegs(tmp_path, "drive-b", 8)
    images = [labelled("drive-a", index, index + 1, "train") for index in range(FRAMES)]
    images += [labelled("drive-b", index, FRAMES + index + 1, "val") for index in range(8)]
    DatasetIndex((Category(1, "agv", True),), tuple(images)).save(tmp_path / "index.json")
    return tmp_path


def module(drives: Path, **options: object) -> PerceptionDataModule:
    fixed = {"size": (36, 48), "batch_size": 4, "workers": 0}
    return PerceptionDataModule(str(drives / "index.json"), str(drives), **(fixed | options))  # type: ignore[arg-type]


class Learner(pl.LightningModule):
    """Keeps the names it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.trained: list[str] = []
        self.validated: list[str] = []

    def training_step(self, batch: Batch) -> torch.Tensor | None:
        self.trained.extend(batch.names)
        if not len(batch):
            return None
        return self.weight * batch.images.float().mean()

    def validation_step(self, batch: Batch) -> None:
        self.validated.extend(batch.names)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(data: PerceptionDataModule, folder: Path, epochs: int = 1) -> Learner:
    learner = Learner()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    trainer.fit(learner, data)
    return learner


@pytest.mark.parametrize("workers", [0, 2])
def test_an_undecodable_frame_in_the_middle_is_left_out_named_and_counted(
    drives: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    learner = fit(module(drives, workers=workers), drives, epochs=2)
    whole = sorted(f"drive-a-{index:06d}.png" for index in range(FRAMES) if index != DAMAGED)
    assert sorted(learner.trained) == sorted(whole * 2)
    told = capsys.readouterr().err
    assert told.count("Left out: Frame drive-a-000017.png cannot be read: Message 17 on /camera/compressed of ") == 1
    assert "drive-a" in told
    assert "is cut off" in told
    assert "1 frame could not be read and was left out: drive-a-000017.png." in told


def test_asked_to_stop_training_ends_with_a_sentence_about_the_frame(drives: Path) -> None:
    with pytest.raises(MayhemError, match=r"Frame drive-a-000017\.png cannot be read: .*drive-a.*is cut off"):
        fit(module(drives, on_unreadable="stop"), drives)


def test_a_sound_dataset_says_nothing(drives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_jpegs(drives / "sound", "drive-a", FRAMES)
    write_jpegs(drives / "sound", "drive-b", 8)
    shutil.copy(drives / "index.json", drives / "sound")
    assert len(fit(module(drives / "sound"), drives).trained) == FRAMES
    assert "eft out" not in capsys.readouterr().err


def test_validation_leaves_the_frame_out_too(drives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(drives / "drive-b")
    write_jpegs(drives, "drive-b", 8, (5,))
    learner = fit(module(drives), drives)
    assert learner.validated == [f"drive-b-{index:06d}.png" for index in (0, 1, 2, 3, 4, 6, 7)]
    assert "2 frames could not be read and were left out: drive-a-000017.png, drive-b-000005.png." in (
        capsys.readouterr().err
    )


def test_more_than_a_few_unreadable_frames_end_the_run_which_names_them(drives: Path) -> None:
    shutil.rmtree(drives / "drive-a")
    write_jpegs(drives, "drive-a", FRAMES, (0, 8, 17, 30))
    with pytest.raises(MayhemError) as caught:
        fit(module(drives, batch_size=FRAMES), drives)
    names = ", ".join(f"drive-a-{index:06d}.png" for index in (0, 8, 17, 30))
    assert str(caught.value) == (
        f"4 of 48 frames of {drives / 'index.json'} could not be read ({names}): "
        "look at the recordings and the disk they are on."
    )


def test_of_many_unreadable_frames_some_are_named(drives: Path) -> None:
    shutil.rmtree(drives / "drive-a")
    write_jpegs(drives, "drive-a", FRAMES, tuple(range(FRAMES)))
    with pytest.raises(MayhemError, match=r"40 of 48 .*drive-a-000000\.png, .*drive-a-000009\.png and 30 more\)"):
        fit(module(drives, batch_size=FRAMES), drives)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_of_which_nothing_can_be_read_is_passed_over(
    drives: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(drives / "drive-b")
    write_jpegs(drives, "drive-b", 8, (7,))
    learner = fit(module(drives, batch_size=1, workers=workers), drives)
    assert sorted(learner.trained) == [f"drive-a-{index:06d}.png" for index in range(FRAMES) if index != DAMAGED]
    assert learner.validated == [f"drive-b-{index:06d}.png" for index in range(7)]
    told = capsys.readouterr().err
    assert "2 frames could not be read and were left out: drive-a-000017.png, drive-b-000007.png." in told


def test_an_empty_batch_has_the_types_of_others(drives: Path) -> None:
    data = module(drives, batch_size=1)
    data.setup("fit")
    batches = {len(batch): batch for batch in data.train_dataloader()}
    empty, full = batches[0], batches[1]
    assert [frame.name for frame in empty.unreadable] == ["drive-a-000017.png"]
    for batch in (empty, pickle.loads(pickle.dumps(empty)), empty.to("cpu")):
        assert (batch.images.dtype, batch.masks.dtype) == (full.images.dtype, full.masks.dtype)
        assert (batch.images.ndim, batch.masks.ndim) == (full.images.ndim, full.masks.ndim)
        assert batch.names == batch.boxes == batch.labels == batch.crowd_boxes == batch.source_masks == ()


def test_flipped_bytes_that_still_decode_are_no_error_and_others_are(drives: Path) -> None:
    data = bytearray(jpeg_bytes(colour_pixels(0)))
    data[0] ^= 0xFF
    write(drives, "drive-c", "mcap", [jpeg(TOPIC, START_NS, bytes(data))])
    index = DatasetIndex((Category(1, "agv", True),), (labelled("drive-c", 0, 1, "train"),))
    with pytest.raises(MayhemError, match=r"Frame drive-c-000000\.png cannot be read: .*neither JPEG"):
        FrameDataset(index, drives)[0]


def test_a_frame_of_another_size_in_the_middle_is_left_out_like_a_damaged_one(drives: Path) -> None:
    messages = [
        jpeg(TOPIC, START_NS + index * 10**8, jpeg_bytes(colour_pixels(index, *((60, 80) if index != 2 else (30, 40)))))
        for index in range(4)
    ]
    write(drives, "drive-c", "mcap", messages)
    index = DatasetIndex(
        (Category(1, "agv", True),), tuple(labelled("drive-c", place, place + 1, "train") for place in range(4))
    )
    batch = collate([FrameDataset(index, drives, skip_unreadable=True)[place] for place in range(4)])
    assert batch.names == ("drive-c-000000.png", "drive-c-000001.png", "drive-c-000003.png")
    (left_out,) = batch.unreadable
    assert left_out.name == "drive-c-000002.png"
    assert "is 40x30 pixels in " in left_out.reason
    assert "80x60 in the dataset index" in left_out.reason


def test_a_recording_removed_before_it_was_opened_is_named(drives: Path) -> None:
    samples = FrameDataset(DatasetIndex.load(drives / "index.json"), drives)
    shutil.rmtree(drives / "drive-a")
    with pytest.raises(MayhemError, match=r"Frame drive-a-000003\.png cannot be read: .*drive-a"):
        samples[3]
    assert isinstance(samples[FRAMES], Sample)


def test_a_recording_removed_meanwhile_is_read_on_or_named_but_never_a_traceback(drives: Path) -> None:
    samples = FrameDataset(DatasetIndex.load(drives / "index.json"), drives)
    assert isinstance(samples[3], Sample)
    shutil.rmtree(drives / "drive-a")
    try:
        assert isinstance(samples[4], Sample)  # what is open stays readable
    except MayhemError as error:
        assert "drive-a-000004.png" in str(error)


def test_an_image_file_removed_meanwhile_is_named(drives: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((60, 80, 3), np.uint8))
    image = replace(labelled("drive-a", 0, 1, "train"), file_name="a.png")
    samples = FrameDataset(DatasetIndex((Category(1, "agv", True),), (image,)), None, images=folder)
    assert isinstance(samples[0], Sample)
    (folder / "a.png").unlink()
    with pytest.raises(MayhemError, match=r"Frame drive-a-000000\.png cannot be read from .*a\.png"):
        samples[0]
