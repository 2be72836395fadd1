"""Two training processes learn what one learns from their joined batch, and none waits for another in vain."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader
from training_scenes import Scenes, module, weights

from mayhem_ros.errors import MayhemError
from mayhem_train.datasets.datamodule import SeededSampler
from mayhem_train.datasets.samples import Batch, collate
from mayhem_train.models.features import Features
from mayhem_train.models.normaliser import joined_count
from mayhem_train.models.segmentation import SegmentationHead
from mayhem_train.models.targets import Targets
from mayhem_train.training.joined_batch import JoinedBatchStrategy
from mayhem_train.training.optimizers import SGD
from mayhem_train.training.perception_module import PerceptionModule

PAIRS = [
    ("equal", "none"),
    ("uncertainty", "pcgrad"),
    ("dwa", "graddrop-shared"),
    ("auto-lambda", "graddrop"),
    ("famo", "imtl-g"),
    ("rlw", "none"),
    ("equal", "db-mtl"),
]
COUNT, BATCH = 8, 4
Kind = Literal["even", "uneven", "bare"]
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]


class SceneData(pl.LightningDataModule):
    """Scenes, shared out as the product does; the whole validation in every process."""

    def __init__(self, kind: Kind):
        super().__init__()
        self.kind = kind

    def train_dataloader(self) -> DataLoader[Batch]:
        rank, size = self.trainer.global_rank, self.trainer.world_size
        return DataLoader(
            Scenes(COUNT, self.kind), BATCH // size, sampler=SeededSampler(COUNT, 3, rank, size), collate_fn=collate
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(Scenes(3, self.kind), 2, collate_fn=collate)


class Pixels(SegmentationHead):
    """A head that says for every labelled pixel whether it is floor."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Conv2d(1280, 2, 1)

    def forward(self, features: Features) -> Tensor:
        return self.logits(features.c5)

    def losses(self, logits: Tensor, targets: Targets) -> dict[str, Tensor]:
        logits = functional.interpolate(logits, targets.masks.shape[-2:])
        total = functional.cross_entropy(logits, targets.masks.long(), ignore_index=255, reduction="sum")
        return {"entropy": total / joined_count((targets.masks != 255).sum())}


class Corners(nn.Module):
    """A head that says for every box where it is, by guesswork over the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.corners = nn.Linear(1280, 4)

    def forward(self, features: Features) -> Tensor:
        return self.corners(features.c5.mean((2, 3)))

    def losses(self, corners: Tensor, targets: Targets) -> dict[str, Tensor]:
        errors = [(guess - boxes / 100).square().sum() for guess, boxes in zip(corners, targets.boxes, strict=True)]
        count = torch.tensor(sum(len(boxes) for boxes in targets.boxes))
        return {"distance": torch.stack(errors).sum() / joined_count(count)}


def freeze_statistics(trained: PerceptionModule) -> PerceptionModule:
    """Batch normalisation would see half a batch in each of two processes."""
    for layer in trained.modules():
        if isinstance(layer, _BatchNorm):
            layer.train = lambda mode=True, layer=layer: layer  # type: ignore[method-assign]
            layer.training = False
    return trained


def train(trained: PerceptionModule, folder: Path, kind: Kind = "even", **options: Any) -> pl.Trainer:
    options = {"max_epochs": 3, "limit_val_batches": 0, "accumulate_grad_batches": 1, **options}
    several = {"strategy": JoinedBatchStrategy(), "devices": 2} if "WORLD_SIZE" in os.environ else {"devices": 1}
    trainer = pl.Trainer(
        accelerator="cpu",
        precision="32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        **several,
        **options,
    )
    trainer.fit(trained, SceneData(kind))
    return trainer


def learner(weighting: str, gradient: str, **options: Any) -> PerceptionModule:
    """By plain gradient descent, since Adam makes a step of any difference."""
    options |= {"learning_rate": 1e-2, "body_learning_rate_factor": 1.0, "optimizer": SGD()}
    return freeze_statistics(module(weighting, gradient, **options))


def learner_of_counts() -> PerceptionModule:
    """Its heads divide by what the joined batch holds."""
    trained = learner("uncertainty", "pcgrad")
    torch.manual_seed(1)
    trained.network.heads["detection"], trained.network.heads["segmentation"] = Corners(), Pixels()
    return trained


class EmptyInOne(PerceptionModule):
    """The second process, or the only one, can read nothing of its second batch."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        self.skipped = getattr(self, "skipped", [])
        if self.global_rank == self.trainer.world_size - 1 and batch_idx == 1:
            batch = replace(collate([]), names=())
        loss = super().training_step(batch, batch_idx)
        self.skipped.append(loss is not None and not float(loss.detach()))
        return loss


class BrokenInOne(PerceptionModule):
    """The second process gets labels that are no numbers."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        if self.global_rank == 1:
            batch = replace(
                batch,
                boxes=tuple(torch.tensor([[1.0, 2.0, 30.0, torch.inf]]) for _ in batch.boxes),
                labels=tuple(torch.tensor([1]) for _ in batch.boxes),
            )
        return super().training_step(batch, batch_idx)


def _process(rank: int, port: int, folder: Path) -> None:
    """What each of the two does; `folder` gets what came of it."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
    torch.set_num_threads(1)
    pl.utilities.rank_zero_only.rank = rank
    found: dict[str, Any] = {}
    for weighting, gradient in PAIRS:
        trained = learner(weighting, gradient)
        train(trained, folder)
        found[f"{weighting} x {gradient}"] = weights(trained)
    trained = learner("uncertainty", "imtl-g", measured_on="deep")
    train(trained, folder)
    found["deep"] = weights(trained)
    trained = learner_of_counts()
    train(trained, folder, "uneven")
    found["uneven"] = weights(trained)
    trained = learner_of_counts()
    train(trained, folder, "bare")
    found["bare"] = weights(trained)
    trained = learner("uncertainty", "pcgrad")
    train(trained, folder, accumulate_grad_batches=2)
    found["accumulated"] = weights(trained)
    trained = learner("uncertainty", "pcgrad")
    trained.__class__ = EmptyInOne
    train(trained, folder, max_epochs=1)
    found["empty"] = (weights(trained), trained.skipped)
    trained = module("uncertainty", "pcgrad")
    train(trained, folder, max_epochs=1, limit_val_batches=None)
    found["validated"] = (trained.metrics, [b.clone() for b in trained.network.buffers()])
    trained = module("equal", "pcgrad")
    trained.__class__ = BrokenInOne
    try:
        train(trained, folder, max_epochs=1)
    except (MayhemError, SystemExit) as error:
        found["broken"] = (type(error).__name__, str(error))
    torch.save(found, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the two processes had in the end."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (port, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def assert_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(("weighting", "gradient"), PAIRS)
def test_two_processes_end_with_the_weights_of_one_with_the_joined_batch(
    found: list[dict[str, Any]], weighting: str, gradient: str, tmp_path: Path
) -> None:
    one = learner(weighting, gradient)
    before = weights(one)
    train(one, tmp_path)
    assert_close(found[0][f"{weighting} x {gradient}"], weights(one))
    moved = max(float((old - new).abs().max()) for old, new in zip(before, weights(one), strict=True))
    assert moved > 1e-3, "and they have learned something"


@pytest.mark.parametrize(
    "case", [*(f"{weighting} x {gradient}" for weighting, gradient in PAIRS), "deep", "accumulated", "uneven", "bare"]
)
def test_both_processes_hold_the_same_weights(found: list[dict[str, Any]], case: str) -> None:
    for one, other in zip(found[0][case], found[1][case], strict=True):
        assert torch.equal(one, other)


def test_a_mean_is_over_what_both_batches_hold(found: list[dict[str, Any]], tmp_path: Path) -> None:
    """One process has more boxes and more labelled pixels than the other."""
    one = learner_of_counts()
    train(one, tmp_path, "uneven")
    assert_close(found[0]["uneven"], weights(one))


def test_a_task_that_one_or_both_have_no_labels_for_is_that_of_the_joined_batch(
    found: list[dict[str, Any]], tmp_path: Path
) -> None:
    one = learner_of_counts()
    train(one, tmp_path, "bare")
    assert_close(found[0]["bare"], weights(one))


def test_two_processes_that_measure_on_deep_levels_are_one(found: list[dict[str, Any]], tmp_path: Path) -> None:
    one = learner("uncertainty", "imtl-g", measured_on="deep")
    train(one, tmp_path)
    assert_close(found[0]["deep"], weights(one))


def test_accumulated_batches_of_two_processes_are_those_of_one(found: list[dict[str, Any]], tmp_path: Path) -> None:
    one = learner("uncertainty", "pcgrad")
    train(one, tmp_path, accumulate_grad_batches=2)
    assert_close(found[0]["accumulated"], weights(one))


def test_a_batch_that_one_process_cannot_read_is_left_out_by_all(found: list[dict[str, Any]], tmp_path: Path) -> None:
    """And moves nothing, no weight by its momentum either."""
    (ours, skipped), (theirs, skipped_there) = found[0]["empty"], found[1]["empty"]
    assert skipped == skipped_there == [False, True]
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
    alone = learner("uncertainty", "pcgrad")
    alone.__class__ = EmptyInOne
    train(alone, tmp_path, max_epochs=1)
    assert_close(ours, weights(alone))


def test_a_loss_that_is_not_finite_in_one_process_ends_both_and_is_told_once(found: list[dict[str, Any]]) -> None:
    kind, sentence = found[0]["broken"]
    assert kind == "MayhemError"
    order = [place for place, _ in SeededSampler(COUNT, 3, 1, 2)][: BATCH // 2]
    assert all(f"scene-{place:06d}.png" in sentence for place in order), "the other process's frames"
    assert sentence.startswith("The detection loss is ")
    assert found[1]["broken"] == ("SystemExit", "0")


def test_every_process_scores_the_whole_split_with_one_and_the_same_network(found: list[dict[str, Any]]) -> None:
    (metrics, buffers), (theirs, their_buffers) = found[0]["validated"], found[1]["validated"]
    assert metrics == theirs
    assert set(metrics) >= {"map", "iou/floor", "score"}
    for one, other in zip(buffers, their_buffers, strict=True):
        assert torch.equal(one, other), "batch normalisation has the mean of what both have seen"
