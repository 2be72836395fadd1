"""Panels: every few epochs the same validation frames, truth beside what the network says by now."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, Dataset

from mayhem_ros.errors import UsageError
from mayhem_train.balancing.balancer import Balancer
from mayhem_train.datasets.frame_reader import UnreadableFrame
from mayhem_train.datasets.samples import Sample, collate
from mayhem_train.evaluation.reporting.comparison import WIDTH
from mayhem_train.training.panels import ValidationPanels
from mayhem_train.training.perception_module import PerceptionModule

SIZE = (64, 96)
SOURCE_SIZE = (128, 144)


class Scenes(Dataset):
    """A white box at the left of a dark frame whose lower half is floor; frame 0 may be unreadable."""

    def __init__(self, count: int, unreadable: bool = False):
        self.count = count
        self.unreadable = unreadable

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> Sample | UnreadableFrame:
        if self.unreadable and place == 0:
            return UnreadableFrame("scene-000000.png", "the disk is gone")
        image = torch.full((3, *SIZE), 40, dtype=torch.uint8)
        image[:, 16:48, 8:40] = 255
        mask = torch.zeros(SIZE, dtype=torch.uint8)
        mask[32:] = 1
        source_mask = torch.zeros(SOURCE_SIZE, dtype=torch.uint8)
        source_mask[64:] = 1
        boxes = torch.tensor([[8.0, 16.0, 40.0, 48.0]])
        crowd, name = torch.tensor([False]), f"scene-{place:06d}.png"
        return Sample(image, boxes, torch.tensor([1]), crowd, mask, name, place, SOURCE_SIZE, source_mask)


def fit(folder: Path, *callbacks: Callback, validation: Dataset | None = None, **options: object) -> PerceptionModule:
    pl.seed_everything(0, verbose=False)
    module = PerceptionModule(
        SIZE, ("box",), ("floor",), "0" * 64, Balancer(), body="mobilenet_v2", weights="none", warmup_steps=0
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        precision="32-true",
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **{"logger": False, "max_epochs": 1, **options},
        callbacks=list(callbacks),
    )
    loaders = (DataLoader(scenes, 2, collate_fn=collate) for scenes in (Scenes(2), validation or Scenes(5)))
    trainer.fit(module, *loaders)
    return module


def panel(folder: Path, epoch: int) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(folder / "panels" / f"epoch-{epoch:04d}.png")), cv2.COLOR_BGR2RGB)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "panels").iterdir())


def test_a_panel_is_drawn_every_few_epochs_and_after_the_last(tmp_path):
    fit(tmp_path, ValidationPanels(every_n_epochs=2, frames=1), max_epochs=3)
    assert names(tmp_path) == ["epoch-0002.png", "epoch-0003.png"]


def test_where_validation_is_rarer_the_first_one_that_is_due_is_drawn(tmp_path):
    fit(tmp_path, ValidationPanels(every_n_epochs=1, frames=1), max_epochs=3, check_val_every_n_epoch=2)
    assert names(tmp_path) == ["epoch-0002.png"]


def test_no_panel_is_drawn_where_none_is_asked_for_and_none_of_the_sanity_check(tmp_path):
    fit(tmp_path, ValidationPanels(every_n_epochs=0), num_sanity_val_steps=2)
    assert not (tmp_path / "panels").exists()
    fit(tmp_path, ValidationPanels(every_n_epochs=2), max_epochs=1, limit_val_batches=0)
    assert not (tmp_path / "panels").exists()


def test_a_panel_has_a_row_a_frame_in_the_cameras_aspect_and_two_columns(tmp_path):
    fit(tmp_path, ValidationPanels(every_n_epochs=1, frames=3))
    height, width = panel(tmp_path, 1).shape[:2]
    frame_height = round(WIDTH * SOURCE_SIZE[0] / SOURCE_SIZE[1])
    assert 2 * WIDTH < width < 2.05 * WIDTH
    assert height % 3 == 0 and frame_height < height // 3 < frame_height + 40


def test_the_left_column_shows_the_labels_where_they_are(tmp_path):
    fit(tmp_path, ValidationPanels(every_n_epochs=1, frames=1))
    picture = panel(tmp_path, 1)
    frame = picture[-round(WIDTH * SOURCE_SIZE[0] / SOURCE_SIZE[1]) :, :WIDTH].astype(int)
    height = len(frame)
    upper, lower = frame[round(0.4 * height), round(0.8 * WIDTH)], frame[round(0.9 * height), round(0.6 * WIDTH)]
    assert np.ptp(upper) <= 2, "background stays grey"
    assert lower[1] - lower[0] > 50, "floor is tinted green"
    # The box spans 8 to 40 of 96 columns and 16 to 48 of 64 rows: its outline is orange there.
    left = frame[round(0.6 * height), round(8 / 96 * WIDTH) + 1]
    assert left[0] > 200 and left[2] < 100, left


def test_the_same_frames_go_to_tensorboard(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="tensorboard", version="")
    fit(tmp_path, ValidationPanels(every_n_epochs=1, frames=2), max_epochs=2, logger=logger)
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    images = events.Images("validation/frames")
    assert [image.step for image in images] == [1, 2]
    shown = cv2.imdecode(np.frombuffer(images[1].encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(cv2.cvtColor(shown, cv2.COLOR_BGR2RGB), panel(tmp_path, 2))


def test_drawing_changes_nothing_about_the_training(tmp_path):
    without = fit(tmp_path / "without", max_epochs=2)
    panels = fit(tmp_path / "with", ValidationPanels(every_n_epochs=1), max_epochs=2)
    for ours, theirs in zip(without.state_dict().values(), panels.state_dict().values(), strict=True):
        assert ours is theirs is None or torch.equal(ours, theirs)  # what the balancer has not seen yet is None


class Seen(Callback):
    """Keeps what a weight is while validation runs."""

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0) -> None:
        self.weight = next(pl_module.network.parameters()).detach().clone()


class SeenByThePanels(ValidationPanels):
    def on_validation_batch_end(self, trainer, pl_module, *arguments, **more) -> None:
        super().on_validation_batch_end(trainer, pl_module, *arguments, **more)
        if self._predictions is not None:
            self.weight = next(pl_module.network.parameters()).detach().clone()


@pytest.mark.parametrize("averaging_first", [True, False])
def test_averaged_weights_are_what_is_shown(tmp_path, averaging_first):
    panels, seen, averaging = SeenByThePanels(1), Seen(), EMAWeightAveraging(decay=0.5)
    order = [averaging, panels, seen] if averaging_first else [panels, seen, averaging]
    module = fit(tmp_path, *order, max_epochs=1)
    assert torch.equal(panels.weight, seen.weight)
    assert torch.equal(panels.weight, next(module.network.parameters())), "Lightning leaves the averaged ones"


def test_a_frame_that_cannot_be_read_is_left_out(tmp_path):
    fit(tmp_path, ValidationPanels(every_n_epochs=1, frames=2), validation=Scenes(3, unreadable=True))
    one = fit_height(tmp_path)
    fit(tmp_path, ValidationPanels(every_n_epochs=1, frames=2), validation=Scenes(3))
    assert fit_height(tmp_path) == 2 * one


def fit_height(folder: Path) -> int:
    return len(panel(folder, 1))


def test_panels_go_where_they_are_asked_to(tmp_path):
    fit(tmp_path, ValidationPanels(every_n_epochs=1, frames=1, folder=str(tmp_path / "elsewhere")))
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["epoch-0001.png"]


@pytest.mark.parametrize(("epochs", "frames"), [(-1, 1), (1, 0)])
def test_impossible_panels_are_refused(epochs, frames):
    with pytest.raises(UsageError, match=f"every_n_epochs is {epochs} and frames is {frames}"):
        ValidationPanels(epochs, frames)
