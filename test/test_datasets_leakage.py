"""What stands on both sides of a split is found: the same picture, almost the same, and the next moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mayhem_train.datasets.description import leakage
from mayhem_train.datasets.description.leakage import (
    NearDuplicate,
    TimeNeighbours,
    find_near_duplicates,
    find_time_neighbours,
    thumbnail,
    upper_bounds,
)
from mayhem_train.datasets.frame_reader import FrameReader
from mayhem_train.datasets.index import Category, DatasetIndex, LabelledImage
from mayhem_train.recordings.pruning.similarity import similarity, to_grey

HEIGHT, WIDTH = 120, 160


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """uint8 [height, width, 3] RGB: a smooth pattern of its own."""
    noise = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


class Frames:
    """Writes pictures as image files and lists them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: list[LabelledImage] = []

    def add(self, split: str, pixels: NDArray[np.uint8], recording: str = "") -> str:
        number = len(self.images)
        name = f"{number}.png"
        cv2.imwrite(str(self.folder / name), pixels[..., ::-1])
        height, width = pixels.shape[:2]
        self.images.append(
            LabelledImage(
                number + 1,
                width,
                height,
                recording or f"drive-{split}",
                "/t",
                number,
                0,
                0,
                split,
                file_name=name,
            )
        )
        return self.images[-1].name

    @property
    def index(self) -> DatasetIndex:
        return DatasetIndex((Category(1, "agv", True),), tuple(self.images))

    def duplicates(self, limit: float) -> leakage.NearDuplicates:
        return find_near_duplicates(self.index, FrameReader(self.images, None, self.folder), limit)


@pytest.fixture
def frames(tmp_path: Path) -> Frames:
    return Frames(tmp_path)


def brighter(pixels: NDArray[np.uint8], levels: int) -> NDArray[np.uint8]:
    return np.asarray(np.clip(pixels.astype(int) + levels, 0, 255), np.uint8)


def grey_similarity(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return similarity(to_grey(a), to_grey(b))


def test_planted_duplicates_are_found_most_alike_first(frames: Frames) -> None:
    training = [frames.add("train", picture(number)) for number in range(12)]
    same = frames.add("val", picture(3))
    near = frames.add("val", brighter(picture(7), 12))
    for number in range(20, 26):
        frames.add("val", picture(number))
    assert frames.duplicates(0.9).pairs == (
        NearDuplicate(same, "val", training[3], "train", pytest.approx(1.0, abs=1e-12)),
        NearDuplicate(near, "val", training[7], "train", grey_similarity(brighter(picture(7), 12), picture(7))),
    )
    assert frames.duplicates(0.9).frames == 20
    assert [pair.frame for pair in frames.duplicates(0.9999).pairs] == [same]


def test_the_same_picture_in_two_recordings_of_different_names_is_found(frames: Frames) -> None:
    original = frames.add("train", picture(1), "tuesday")
    frames.add("train", picture(2), "tuesday")
    copy = frames.add("test", picture(1), "a copy of tuesday")
    (pair,) = frames.duplicates(0.99).pairs
    assert (pair.frame, pair.split, pair.other, pair.other_split) == (copy, "test", original, "train")
    assert pair.similarity == pytest.approx(1.0, abs=1e-12)


def test_within_one_split_alike_is_no_leak_and_unused_frames_do_not_count(frames: Frames) -> None:
    for split in ("train", "train", "unused"):
        frames.add(split, picture(1))
    frames.add("val", picture(2))
    frames.add("val", picture(2))
    assert frames.duplicates(0.5).pairs == ()


def test_validation_and_test_are_compared_too(frames: Frames) -> None:
    frames.add("train", picture(1))
    validating = frames.add("val", picture(2))
    testing = frames.add("test", picture(2))
    assert [(pair.frame, pair.other) for pair in frames.duplicates(0.9).pairs] == [(testing, validating)]


def test_every_frame_is_paired_with_the_one_most_like_it_as_comparing_all_pairs_would(frames: Frames) -> None:
    generator = np.random.default_rng(0)
    training = [picture(number % 7) for number in range(14)]
    training = [brighter(pixels, int(generator.integers(-40, 40))) for pixels in training]
    validating = [brighter(picture(number), int(generator.integers(-40, 40))) for number in range(9)]
    names = [frames.add("train", pixels) for pixels in training]
    held_out = [frames.add("val", pixels) for pixels in validating]
    for limit in (0.3, 0.7, 0.9):
        found = {pair.frame: (pair.other, pair.similarity) for pair in frames.duplicates(limit).pairs}
        for name, pixels in zip(held_out, validating, strict=True):
            all_pairs = [grey_similarity(pixels, other) for other in training]
            best = int(np.argmax(all_pairs))
            if all_pairs[best] >= limit:
                assert found[name] == (names[best], all_pairs[best])
            else:
                assert name not in found


def test_most_pairs_are_told_apart_by_their_thumbnails(frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        frames.add("train", picture(number))
        frames.add("val", picture(number if number == 4 else 100 + number))
    compared = []
    original = leakage._similarity
    monkeypatch.setattr(leakage, "_similarity", lambda *greys: compared.append(1) or original(*greys))
    assert len(frames.duplicates(0.9).pairs) == 1
    assert len(compared) < 30, "of 900 pairs"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(111, 150), st.integers(111, 170), st.floats(0, 3), st.booleans())
def test_no_frame_is_more_similar_than_its_thumbnails_bound(
    seed: int, height: int, width: int, blur: float, dark: bool
) -> None:
    generator = np.random.default_rng(seed)
    reference = generator.integers(0, 40 if dark else 256, (height, width)).astype(np.uint8)
    if blur > 0.5:
        reference = np.asarray(cv2.GaussianBlur(reference, (0, 0), blur), np.uint8)
    strength = generator.uniform(0, 60)
    change = generator.normal(generator.uniform(-strength, strength), strength, (height, width))
    image = np.clip(reference + change, 0, 255).astype(np.uint8)
    power = float((reference.astype(float) ** 2).mean())
    (bound,) = upper_bounds(thumbnail(reference).ravel(), power, thumbnail(image).ravel()[None])
    assert similarity(reference, image) <= bound + 1e-9


def test_a_thumbnail_is_the_mean_over_equal_cells() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (48, 96), np.uint8)
    cells = grey.reshape(24, 2, 32, 3).mean((1, 3))
    np.testing.assert_allclose(thumbnail(grey), cells, rtol=1e-5)
    np.testing.assert_allclose(thumbnail(np.full((37, 53), 200, np.uint8)), 200, rtol=1e-5)
    odd = np.random.default_rng(1).integers(0, 256, (37, 53), np.uint8)
    assert thumbnail(odd).mean() == pytest.approx(odd.mean(), rel=1e-5)
    tiny = np.array([[0, 100]], np.uint8)
    assert thumbnail(tiny)[0].tolist() == [0] * 16 + [100] * 16


def test_the_same_scene_at_another_size_is_found(frames: Frames) -> None:
    large = frames.add("train", picture(5, 240, 320))
    frames.add("train", picture(6, 240, 320))
    small = frames.add("val", picture(5))
    (pair,) = frames.duplicates(0.9).pairs
    assert (pair.frame, pair.other) == (small, large)


@pytest.mark.parametrize("size", [(48, 64), (20, 10)])
def test_frames_smaller_than_the_window_are_compared_too(frames: Frames, size: tuple[int, int]) -> None:
    original = frames.add("train", picture(5, *size))
    frames.add("train", picture(6, *size))
    copy = frames.add("val", picture(5, *size))
    (pair,) = frames.duplicates(0.95).pairs
    assert (pair.frame, pair.other, pair.similarity) == (copy, original, pytest.approx(1.0))


def test_black_frames_are_alike(frames: Frames) -> None:
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frames.add("train", picture(1))
    frames.add("train", black)
    frames.add("val", black)
    (pair,) = frames.duplicates(0.9).pairs
    assert pair.similarity == 1.0


def test_memory_for_greys_is_bounded_and_does_not_change_the_result(
    frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        frames.add("train", picture(number))
        frames.add("val", brighter(picture(number), 9))
    expected = frames.duplicates(0.8)
    monkeypatch.setattr(leakage, "_GREYS_BYTES", 3 * HEIGHT * WIDTH)
    assert frames.duplicates(0.8) == expected
    assert len(expected.pairs) == 6


def test_a_frame_that_cannot_be_read_is_named_and_the_others_compared(frames: Frames) -> None:
    broken = frames.add("train", picture(1))
    frames.add("train", picture(2))
    frames.add("val", picture(2))
    (frames.folder / "0.png").write_bytes(b"nothing")
    found = frames.duplicates(0.9)
    assert len(found.pairs) == 1
    assert [frame.name for frame in found.unreadable] == [broken]
    assert "0.png" in found.unreadable[0].reason
    assert found.frames == 2


def moment(recording: str, seconds: float, split: str, number: int) -> LabelledImage:
    time = round(seconds * 1e9)
    return LabelledImage(number + 1, 8, 8, recording, "/t", number, time, time, split)


def test_neighbours_in_time_are_counted_recording_by_recording_closest_first() -> None:
    images = [moment("a", 0.5 * number, "val" if number >= 8 else "train", number) for number in range(10)]
    images += [moment("b", 0.1 * number, "test" if number >= 5 else "train", number) for number in range(10)]
    images += [moment("c", 3.0 * number, "val" if number >= 5 else "train", number) for number in range(10)]
    index = DatasetIndex((), tuple(replace(image, id=place) for place, image in enumerate(images)))
    assert find_time_neighbours(index, 1.0) == (
        TimeNeighbours("b", "test", "train", 5, "b-000005.png", "b-000004.png", 0.1),
        TimeNeighbours("a", "val", "train", 1, "a-000008.png", "a-000007.png", 0.5),
    )
    assert find_time_neighbours(index, 0.0) == ()
    assert [n.recording for n in find_time_neighbours(index, 3.5)] == ["b", "a", "c"]


def test_frames_left_out_as_a_gap_are_no_neighbours() -> None:
    splits = ["train"] * 4 + ["unused"] * 3 + ["val"] * 3
    images = tuple(moment("a", 0.5 * number, split, number) for number, split in enumerate(splits))
    assert find_time_neighbours(DatasetIndex((), images), 2.0) == ()
    (found,) = find_time_neighbours(DatasetIndex((), images), 2.1)
    assert (found.frames, found.seconds) == (1, 2.0)
