"""Pictures of a video that are asked for again and again are decoded once, whatever the order, and kept on the disk."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import video_recordings as video
from video_recordings import HEIGHT, TOPIC, WIDTH, encode, error, record, scene

from mayhem_ros.errors import MayhemError
from mayhem_ros.video_decoder import VideoDecoder
from mayhem_train.datasets.datamodule import PerceptionDataModule
from mayhem_train.datasets.index import BoxLabel, Category, DatasetIndex, LabelledImage
from mayhem_train.recordings.recording import Recording
from mayhem_train.recordings.video import kept_pictures


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAYHEM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The packets that are decoded, by their places."""
    numbers: list[int] = []
    decode = VideoDecoder.decode

    def noted(self: VideoDecoder, number: int, data: bytes) -> object:
        numbers.append(number)
        return decode(self, number, data)

    monkeypatch.setattr(VideoDecoder, "decode", noted)
    return numbers


def test_no_order_decodes_a_packet_twice(tmp_path: Path, decoded: list[int]) -> None:
    path = video.recorded(tmp_path / "drive", frames=30, key_distance=10)
    wanted = range(0, 30, 3)
    for _ in range(2):
        with Recording(path) as recording:
            recording.keep_pictures(TOPIC, wanted)
            for index in np.random.default_rng(0).permutation(wanted).tolist():
                assert error(recording.read_image(TOPIC, index), scene(index)) < 3
    assert sorted(decoded) == [*range(10), *range(10, 19), *range(20, 28)]  # up to the last wanted of each key frame


def test_kept_pictures_are_those_that_were_decoded_with_their_flaws(tmp_path: Path) -> None:
    packets = [data for _, data in encode(frames=10, key_distance=10)]
    path = record(tmp_path / "drive", [*packets[:4], *packets[5:]])
    with Recording(path) as plain, Recording(path) as keeping:
        keeping.keep_pictures(TOPIC, range(9))
        for _ in range(2):
            for index in (8, 2, 5):
                expected, found = plain.read_with_flaws(TOPIC, index), keeping.read_with_flaws(TOPIC, index)
                assert np.array_equal(found.pixels, expected.pixels)
                assert (found.flaws, found.is_damaged) == (expected.flaws, expected.is_damaged)


def test_a_picture_that_cannot_be_decoded_is_tried_once(tmp_path: Path, decoded: list[int]) -> None:
    packets = [data for _, data in encode(frames=6, key_distance=6)]
    packets[4] = b"rubbish"
    path = record(tmp_path / "drive", packets)
    for _ in range(2):
        with Recording(path) as recording:
            recording.keep_pictures(TOPIC, range(6))
            with pytest.raises(MayhemError, match=r"Message 4 .* holds no picture\."):
                recording.read_image(TOPIC, 4)
            assert recording.read_with_flaws(TOPIC, 5).flaws
    assert len(decoded) == len(set(decoded))


def test_another_file_in_its_place_is_decoded_anew(tmp_path: Path) -> None:
    for shift in (0, 4):
        pictures = [scene(index + shift) for index in range(6)]
        path = record(tmp_path / f"drive-{shift}", [data for _, data in encode(pictures=pictures)])
        (tmp_path / "drive.mcap").unlink(missing_ok=True)
        next(path.glob("*.mcap")).rename(tmp_path / "drive.mcap")
        with Recording(tmp_path / "drive.mcap") as recording:
            recording.keep_pictures(TOPIC, range(6))
            assert error(recording.read_image(TOPIC, 3), scene(3 + shift)) < 3


def test_what_nobody_used_lately_makes_way_and_what_does_not_fit_is_decoded_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture_bytes = HEIGHT * WIDTH * 3
    for name in ("unused", "used"):
        with Recording(video.recorded(tmp_path / name, frames=5)) as recording:
            recording.keep_pictures(TOPIC, range(5))
            recording.read_image(TOPIC, 0)
    (unused,) = (cache / "pictures").glob("unused-*")
    os.utime(unused, (time.time() - 7200,) * 2)
    monkeypatch.setattr(kept_pictures, "LIMIT", 8.5 * picture_bytes)
    monkeypatch.setattr(kept_pictures, "_COUNTED_EVERY", 2 * picture_bytes)
    with Recording(video.recorded(tmp_path / "third", frames=5)) as recording:
        recording.keep_pictures(TOPIC, range(5))
        for index in range(5):
            assert error(recording.read_image(TOPIC, index), scene(index)) < 3
    assert sorted(folder.name.partition("-")[0] for folder in (cache / "pictures").iterdir()) == ["third", "used"]
    size = sum(file.stat().st_size for file in (cache / "pictures").rglob("*.npy"))
    assert 7 * picture_bytes < size < 8.5 * picture_bytes


def test_where_nothing_can_be_written_pictures_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = video.recorded(tmp_path / "drive")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MAYHEM_CACHE", str(tmp_path / "file"))
    with Recording(path) as recording:
        recording.keep_pictures(TOPIC, range(12))
        for index in (7, 3):
            assert error(recording.read_image(TOPIC, index), scene(index)) < 3
    assert capsys.readouterr().err.count("the pictures of videos cannot be kept in") == 1


def test_loader_workers_share_what_is_kept(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "recordings").mkdir()
    video.recorded(tmp_path / "recordings" / "drive", frames=12, key_distance=6)
    images = [
        LabelledImage(
            index + 1,
            WIDTH,
            HEIGHT,
            "drive",
            TOPIC,
            index,
            index,
            index,
            "val" if index >= 8 else "train",
            (BoxLabel(1, (4, 4, 40, 40)),),
            (),
        )
        for index in range(12)
    ]
    DatasetIndex((Category(1, "box", True),), (*images,)).save(tmp_path / "index.json")
    data = PerceptionDataModule(str(tmp_path / "index.json"), str(tmp_path / "recordings"), batch_size=4, workers=2)
    data.setup("fit")
    names = [name for batch in data.train_dataloader() for name in batch.names]
    assert sorted(names) == [image.name for image in images[:8]]
    assert sorted(file.name for file in cache.rglob("*.npy")) == [f"{index}.npy" for index in range(8)]


def test_a_recording_that_keeps_pictures_pickles(tmp_path: Path) -> None:
    with Recording(video.recorded(tmp_path / "drive")) as recording:
        recording.keep_pictures(TOPIC, range(12))
        expected = recording.read_image(TOPIC, 3)
        assert np.array_equal(pickle.loads(pickle.dumps(recording)).read_image(TOPIC, 3), expected)
