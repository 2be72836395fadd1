"""Samples come from the recordings as labelled, batch after batch the same for one seed, however many workers read."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from datasets_drives import (
    box_element,
    image_element,
    picture,
    polygon_element,
    write_cvat,
    write_drive,
)
from jsonargparse import ArgumentParser
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.datasets.annotations.cvat.reading import read_cvat
from mayhem_train.datasets.annotations.importing import import_annotations
from mayhem_train.datasets.datamodule import PerceptionDataModule, SeededSampler
from mayhem_train.datasets.dataset import FrameDataset
from mayhem_train.datasets.index import DatasetIndex, dataset_hash
from mayhem_train.datasets.samples import Batch, Sample
from mayhem_train.datasets.splits.splitting import SplitPlan
from mayhem_train.datasets.transforms.transforms import EvaluationTransform, TrainTransform

SIZE = (36, 48)


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two drives of ten and three frames, all labelled, and index.json over them."""
    folder = tmp_path_factory.mktemp("drives")
    images = []
    for stem, count in (("drive-a", 10), ("drive-b", 3)):
        write_drive(folder, stem, count)
        for i in range(count):
            boxes = [box_element("agv", 2 + k, 3, 20 + k, 30) for k in range(i % 3)]
            person = box_element("person", 30, 10 + i, 50, 40)
            road = polygon_element("road", f"0,{20 + i};64,{20 + i};64,48;0,48")
            images.append(image_element(f"{stem}-{i:06d}.png", *boxes, person, road))
    path = write_cvat(folder / "a.xml", *images, labels=["agv", "person", "road"])
    import_annotations([read_cvat(path)], folder, plan=SplitPlan(validation=("drive-b",))).index.save(
        folder / "index.json"
    )
    return folder


def module(drives: Path, index: str = "index.json", **options: object) -> PerceptionDataModule:
    fixed = {"size": SIZE, "batch_size": 4, "workers": 0}
    return PerceptionDataModule(str(drives / index), str(drives), **(fixed | options))  # type: ignore[arg-type]


def save_index(drives: Path, name: str, index: DatasetIndex) -> str:
    index.save(drives / name, force=True)
    return name


def dataset(drives: Path) -> FrameDataset:
    return FrameDataset(DatasetIndex.load(drives / "index.json"), drives)


def tensors(batch: Batch) -> tuple[torch.Tensor, ...]:
    return (batch.images, batch.masks, *batch.boxes, *batch.labels, *batch.crowd_boxes, *batch.crowd_labels)


def same(a: Batch, b: Batch) -> bool:
    pairs = zip(tensors(a), tensors(b), strict=True)
    return a.names == b.names and all(torch.equal(x, y) for x, y in pairs)


def two_epochs(data: PerceptionDataModule) -> list[Batch]:
    data.setup("fit")
    loader = data.train_dataloader()
    return [batch for _ in range(2) for batch in loader]


def test_a_sample_is_the_recorded_frame_with_its_labels(drives: Path) -> None:
    samples = dataset(drives)
    assert len(samples) == 13
    sample = samples[5]
    assert (sample.name, sample.image_id, sample.source_size) == ("drive-a-000005.png", 6, (48, 64))
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0).numpy(), picture("drive-a", 5))
    assert sample.boxes.tolist() == [[2, 3, 20, 30], [3, 3, 21, 30], [30, 15, 50, 40]]
    assert sample.labels.tolist() == [1, 1, 2]
    assert torch.equal(sample.mask, (torch.arange(48) >= 25).to(torch.uint8)[:, None].expand(48, 64))
    kinds = (sample.image.dtype, sample.boxes.dtype, sample.labels.dtype, sample.mask.dtype)
    assert kinds == (torch.uint8, torch.float32, torch.int64, torch.uint8)


def test_a_dataset_without_surfaces_has_unlabelled_masks_and_without_boxes_empty_ones(drives: Path) -> None:
    index = DatasetIndex.load(drives / "index.json")
    boxes_only = replace(
        index, categories=index.things, images=tuple(replace(image, surfaces=()) for image in index.images)
    )
    assert FrameDataset(boxes_only, drives)[0].mask.unique().tolist() == [255]
    no_boxes = replace(index, images=tuple(replace(image, boxes=()) for image in index.images))
    sample = FrameDataset(no_boxes, drives)[0]
    assert (sample.boxes.shape, sample.labels.shape) == ((0, 4), (0,))


def test_a_dataset_in_use_survives_pickling(drives: Path) -> None:
    samples = dataset(drives)
    first = samples[2]
    assert torch.equal(pickle.loads(pickle.dumps(samples))[2].image, first.image)


def test_a_seeded_sample_leaves_the_callers_random_state_alone(drives: Path) -> None:
    def noise(sample: Sample) -> Sample:
        return replace(sample, image=torch.randint(0, 256, sample.image.shape, dtype=torch.uint8))

    samples = FrameDataset(DatasetIndex.load(drives / "index.json"), drives, noise)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first, again, other = samples[0, 11], samples[0, 11], samples[0, 12]
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)


@pytest.mark.parametrize("read_first", [False, True])
def test_training_batches_are_the_same_with_and_without_workers(drives: Path, read_first: bool) -> None:
    alone = two_epochs(module(drives, workers=0, seed=5))
    shared = module(drives, workers=2, seed=5)
    if read_first:  # then the workers are forked from a process that has the recordings open
        shared.setup("fit")
        assert shared._train[0].name == "drive-a-000000.png"
    together = two_epochs(shared)
    assert len(alone) == len(together) == 4
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))


class Noise(torch.nn.Module):
    """Adds noise from the generators that other people's transforms may ask: Python's, NumPy's and torch's."""

    def forward(self, fields: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        image = fields["image"]
        noise = torch.randint(0, 50, image.shape) + int(np.random.randint(50)) + random.randrange(50)  # noqa: NPY002
        return {**fields, "image": tv_tensors.Image((image // 2 + noise).clamp(max=255).to(torch.uint8))}


def everything(drives: Path, **options: object) -> PerceptionDataModule:
    """Every variation at once."""
    transforms = [v2.RandomAffine(10, (0.1, 0.1)), v2.RandomApply([v2.GaussianBlur(3)]), Noise()]
    return module(drives, seed=5, rotation=15.0, mosaic=0.5, transforms=transforms, **options)


def loaded(data: PerceptionDataModule, workers: int, context: str | None) -> list[Batch]:
    """Two epochs by that many workers, started in that way."""
    data.setup("fit")
    loader = data.train_dataloader()
    again = DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        sampler=loader.sampler,
        drop_last=loader.drop_last,
        collate_fn=loader.collate_fn,
        num_workers=workers,
        multiprocessing_context=context,
        persistent_workers=workers > 0,
    )
    return [batch for _ in range(2) for batch in again]


@pytest.mark.parametrize(("workers", "context"), [(1, "fork"), (3, "fork"), (1, "spawn")])
def test_every_variation_is_the_same_in_every_worker_forked_or_spawned(
    drives: Path, workers: int, context: str
) -> None:
    alone = loaded(everything(drives), 0, None)
    random.seed(99)  # what the workers inherit does not count
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    together = loaded(everything(drives), workers, context)
    assert len(alone) == len(together) == 4
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))
    assert not same(alone[0], loaded(everything(drives, flip=0.0), 0, None)[0])


@pytest.mark.timeout(60)
def test_workers_do_not_wait_for_threads_that_opencv_had_before_they_were_forked(drives: Path) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(4)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (0, 0), 3)  # OpenCV's threads are running now
    try:
        data = module(drives, workers=2, seed=5, rotation=15.0)
        data.setup("fit")
        assert [len(batch) for batch in data.train_dataloader()] == [4, 4]
    finally:
        cv2.setNumThreads(before)


def test_torchvision_transforms_are_named_by_class_path_and_written_down_as_they_were_given(drives: Path) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(PerceptionDataModule, "data")
    paths = ["--data.index", str(drives / "index.json"), "--data.recordings", str(drives)]
    rotation = ["--data.transforms+=torchvision.transforms.v2.RandomRotation", "--data.transforms.degrees=10"]
    flip = ["--data.transforms+=torchvision.transforms.v2.RandomVerticalFlip", "--data.transforms.p=1.0"]
    settings = parser.parse_args([*paths, *rotation, *flip])
    data = parser.instantiate(settings).data
    assert [type(transform) for transform in data.train_transform.transforms] == [
        v2.RandomRotation,
        v2.RandomVerticalFlip,
    ]
    assert data.train_transform.transforms[0].degrees == [-10.0, 10.0]
    written = yaml.safe_load(parser.dump(settings))["data"]["transforms"]
    assert [entry["init_args"].get("degrees") for entry in written] == [10, None]


def test_mosaics_show_other_frames_of_the_training_split_only(drives: Path) -> None:
    data = module(drives, seed=5, mosaic=1.0, photometric=None, flip=0.0, batch_size=10)
    data.setup("fit")
    plain = module(drives, seed=5, photometric=None, flip=0.0, batch_size=10)
    plain.setup("fit")
    (mosaics,), (singles,) = data.train_dataloader(), plain.train_dataloader()
    assert mosaics.names == singles.names, "a mosaic bears its first frame's name"
    assert sum(map(len, mosaics.boxes)) > 2 * sum(map(len, singles.boxes))
    assert {image.recording for image in data._train.index.images} == {"drive-a"}


def test_the_defaults_vary_as_they_did_before_there_were_more(drives: Path) -> None:
    plain = two_epochs(module(drives, seed=5))
    written_out = two_epochs(module(drives, seed=5, rotation=0.0, mosaic=0.0, transforms=[]))
    assert all(same(a, b) for a, b in zip(plain, written_out, strict=True))
    samples = FrameDataset(DatasetIndex.load(drives / "index.json").split("train"), drives)
    position, seed = next(iter(SeededSampler(10, 5)))
    torch.manual_seed(seed)
    expected = TrainTransform(SIZE)(samples[position])
    assert torch.equal(plain[0].images[0], expected.image)
    assert torch.equal(plain[0].boxes[0], expected.boxes)


def test_crowds_stand_apart_from_objects_in_every_batch(drives: Path) -> None:
    index = DatasetIndex.load(drives / "index.json")
    images = [
        replace(image, boxes=(*image.boxes[:-1], replace(image.boxes[-1], is_crowd=True))) for image in index.images
    ]
    name = save_index(drives, "crowds.json", replace(index, images=tuple(images)))
    data = module(drives, name, batch_size=3)
    data.setup("fit")
    sample = FrameDataset(DatasetIndex.load(drives / name), drives)[5]
    assert sample.labels.tolist() == [1, 1, 2]
    assert sample.crowd.tolist() == [False, False, True]
    (batch,) = data.val_dataloader()
    assert [labels.tolist() for labels in batch.labels] == [[], [1], [1, 1]]
    assert [labels.tolist() for labels in batch.crowd_labels] == [[2]] * 3
    assert [len(boxes) for boxes in batch.boxes] == [0, 1, 2]
    assert batch.crowd_boxes[1].tolist() == [[22.5, 8.25, 37.5, 30]]  # (30, 11, 50, 40) of 64x48 at 48x36
    moved = batch.to("meta")
    assert {tensor.device.type for tensor in tensors(moved)} == {"meta"}


def test_epochs_differ_in_order_and_variation_and_so_do_seeds(drives: Path) -> None:
    batches = two_epochs(module(drives, seed=5))
    assert batches[0].names + batches[1].names != batches[2].names + batches[3].names
    assert not same(batches[0], two_epochs(module(drives, seed=6))[0])
    assert not torch.equal(batches[0].images, batches[2].images)


def test_the_sampler_gives_every_position_once_an_epoch() -> None:
    sampler = SeededSampler(10, 5)
    epochs = [list(sampler) for _ in range(3)]
    assert all(sorted(position for position, _ in epoch) == list(range(10)) for epoch in epochs)
    assert len({seed for epoch in epochs for _, seed in epoch}) == 30
    sampler.set_epoch(1)
    assert list(sampler) == epochs[1]


class Listener(pl.LightningModule):
    """Learns nothing, but keeps the batches it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches: list[Batch] = []

    def training_step(self, batch: Batch) -> torch.Tensor:
        self.batches.append(batch)
        return self.weight * batch.images.float().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_resumed_run_sees_the_batches_an_uninterrupted_one_would(drives: Path, tmp_path: Path) -> None:
    def fit(epochs: int, checkpoint: Path | None = None) -> tuple[list[Batch], pl.Trainer]:
        listener = Listener()
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(listener, module(drives, seed=5), ckpt_path=checkpoint)
        return listener.batches, trainer

    uninterrupted, _ = fit(3)
    _, trainer = fit(2)
    trainer.save_checkpoint(tmp_path / "two.ckpt", weights_only=False)
    resumed, _ = fit(3, tmp_path / "two.ckpt")
    assert len(uninterrupted) == 6
    assert len(resumed) == 2
    assert all(same(a, b) for a, b in zip(uninterrupted[4:], resumed, strict=True))


def test_training_leaves_out_a_partial_batch_only_beside_a_whole_one(drives: Path) -> None:
    for batch_size, sizes in ((4, [4, 4]), (10, [10]), (64, [10])):
        data = module(drives, batch_size=batch_size)
        data.setup("fit")
        assert [len(batch) for batch in data.train_dataloader()] == sizes


def test_validation_shows_every_image_once_in_order(drives: Path) -> None:
    data = module(drives, batch_size=2)
    data.setup("fit")
    batches = list(data.val_dataloader())
    assert [batch.names for batch in batches] == [
        ("drive-b-000000.png", "drive-b-000001.png"),
        ("drive-b-000002.png",),
    ]
    expected = EvaluationTransform(SIZE)(dataset(drives)[10])
    assert torch.equal(batches[0].images[0], expected.image)
    assert torch.equal(batches[0].masks[0], expected.mask)
    assert torch.equal(batches[0].boxes[0], expected.boxes)


def test_testing_takes_the_test_split_and_without_one_validation(drives: Path) -> None:
    index = DatasetIndex.load(drives / "index.json")
    fallback = module(drives)
    fallback.setup("test")
    names = [name for batch in fallback.test_dataloader() for name in batch.names]
    assert names == [f"drive-b-00000{i}.png" for i in range(3)]
    first = replace(index.images[0], split="test")
    name = save_index(drives, "with-test.json", replace(index, images=(first, *index.images[1:])))
    data = module(drives, name)
    data.setup("test")
    assert [batch.names for batch in data.test_dataloader()] == [("drive-a-000000.png",)]
    data.setup("predict")
    assert [batch.names for batch in data.predict_dataloader()] == [("drive-a-000000.png",)]


def test_the_module_says_what_the_network_must_know(drives: Path) -> None:
    data = module(drives, size=[64, 96])
    assert data.size == (64, 96)
    assert data.thing_names == ("agv", "person")
    assert data.surface_names == ("road",)
    assert data.dataset_hash == dataset_hash(drives / "index.json")


def test_an_index_without_images_is_refused(drives: Path) -> None:
    name = save_index(drives, "empty.json", replace(DatasetIndex.load(drives / "index.json"), images=()))
    with pytest.raises(MayhemError, match=r"empty\.json has no images in the split 'train' \(it lists no images"):
        module(drives, name).setup("fit")


@pytest.mark.parametrize("missing", ["train", "val"])
def test_an_index_without_a_split_to_fit_on_is_refused(drives: Path, missing: str) -> None:
    index = DatasetIndex.load(drives / "index.json")
    kept = tuple(image for image in index.images if image.split != missing)
    name = save_index(drives, f"no-{missing}.json", replace(index, images=kept))
    with pytest.raises(MayhemError, match=f"{name} has no images in the split '{missing}'"):
        module(drives, name).setup("fit")


def test_an_index_without_a_label_to_learn_from_is_refused(drives: Path) -> None:
    index = DatasetIndex.load(drives / "index.json")
    bare = tuple(replace(image, boxes=(), surfaces=()) if image.split == "train" else image for image in index.images)
    name = save_index(drives, "bare.json", replace(index, images=bare))
    with pytest.raises(MayhemError, match=r"bare\.json has no label on any image of its split 'train'"):
        module(drives, name).setup("fit")


def test_a_recording_that_is_missing_is_named(drives: Path, tmp_path: Path) -> None:
    write_drive(tmp_path, "drive-b", 1)
    data = PerceptionDataModule(str(drives / "index.json"), str(tmp_path), SIZE)
    with pytest.raises(MayhemError, match=f"'drive-a'.*{tmp_path}"):
        data.setup("fit")


def test_a_frame_of_another_size_than_the_index_says_is_named(drives: Path, tmp_path: Path) -> None:
    write_drive(tmp_path, "drive-a", 2, width=32, height=24)
    index = DatasetIndex.load(drives / "index.json")
    samples = FrameDataset(replace(index, images=index.images[:2]), tmp_path)
    with pytest.raises(MayhemError, match=r"drive-a-000001\.png is 32x24.*64x48"):
        samples[1]


def test_a_missing_index_is_named(drives: Path) -> None:
    with pytest.raises(MayhemError, match=r"absent\.json"):
        module(drives, "absent.json").setup("fit")


def test_impossible_options_are_wrong_usage(drives: Path) -> None:
    with pytest.raises(UsageError, match="batch_size is 0"):
        module(drives, batch_size=0)
    with pytest.raises(UsageError, match="size"):
        module(drives, size=[64])
