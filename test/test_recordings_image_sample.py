"""What `inspect` finds of a camera without reading all of it: one image of each topic is decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recordings_writing import COLOUR, DEPTH, START_NS, Written, image, imu, jpeg, jpeg_bytes, write

from mayhem_train.cli import main
from mayhem_train.recordings.image_sample import ImageSample, sample_image
from mayhem_train.recordings.inspection import inspect_recording
from mayhem_train.recordings.recording import Recording

PIXELS = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
JPEG = jpeg_bytes(np.full((60, 80, 3), 128, np.uint8))


def frames(encoding: str, count: int = 3) -> list[Written]:
    return [image(COLOUR, START_NS + n, START_NS + n, PIXELS, encoding) for n in range(count)]


def sample(path: Path, topic: str = COLOUR) -> ImageSample:
    with Recording(path) as recording:
        return sample_image(recording, recording.topic(topic))


def test_the_first_image_is_decoded(tmp_path: Path) -> None:
    found = sample(write(tmp_path, "drive", "mcap", frames("rgb8")))
    assert (found.width, found.height, found.encoding, found.problems) == (80, 60, "rgb8", ())
    assert found.pixels is not None
    assert np.array_equal(found.pixels, PIXELS)


def test_depth_is_decoded_as_depth(tmp_path: Path) -> None:
    pixels = np.full((6, 8), 4000, np.uint16)
    found = sample(write(tmp_path, "drive", "mcap", [image(DEPTH, START_NS, START_NS, pixels, "16UC1")]), DEPTH)
    assert found.pixels is not None
    assert np.array_equal(found.pixels, pixels)


def test_a_topic_that_cannot_be_decoded_is_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "drive", "mcap", frames("xyz12"))
    assert main(["inspect", str(path)]) == 0
    (problem,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Problem:")]
    assert problem.startswith(
        f"Problem: The images on {COLOUR} of {path} cannot be decoded: Message 0 on {COLOUR} of {path} cannot be read: "
    )
    assert "'xyz12'" in problem
    found = sample(path)
    assert (found.width, found.height, found.encoding, found.pixels) == (80, 60, "xyz12", None)


def test_of_a_topic_whose_first_image_is_damaged_the_last_is_decoded(tmp_path: Path) -> None:
    data = [JPEG[: len(JPEG) // 2], JPEG, JPEG]
    path = write(tmp_path, "drive", "mcap", [jpeg(COLOUR, START_NS + n, one) for n, one in enumerate(data)])
    found = sample(path)
    assert (found.width, found.height, found.encoding) == (80, 60, "jpeg")
    (problem,) = found.problems
    assert problem.startswith(f"Message 0 on {COLOUR} of {path} cannot be read: ")


def test_other_topics_are_only_read(tmp_path: Path) -> None:
    with Recording(write(tmp_path, "drive", "mcap", [imu(START_NS)])) as recording:
        (topic,) = inspect_recording(recording).topics
    assert (topic.width, topic.height, topic.encoding) == (None, None, None)


def test_a_size_that_changes_on_the_way_is_told(tmp_path: Path) -> None:
    small = jpeg_bytes(np.full((30, 40, 3), 128, np.uint8))
    path = write(tmp_path, "drive", "mcap", [jpeg(COLOUR, START_NS + n, one) for n, one in enumerate((JPEG, small))])
    found = sample(path)
    assert (found.width, found.height) == (80, 60)
    assert found.problems == (
        f"The size on {COLOUR} of {path} changes from 80x60 to 40x30: --verify counts the images of each.",
    )


def test_an_image_that_is_flawed_but_decoded_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "drive", "mcap", [jpeg(COLOUR, START_NS, JPEG[:-2])])
    assert sample(path).problems == (
        f"Message 0 on {COLOUR} of {path} is flawed, but was decoded: its end marker is missing.",
    )


def test_verifying_says_what_it_found_once(tmp_path: Path) -> None:
    path = write(tmp_path, "drive", "mcap", [jpeg(COLOUR, START_NS + n, JPEG[:-2]) for n in range(2)])
    with Recording(path) as recording:
        assert inspect_recording(recording, verify=True).problems == (
            f"2 images on {COLOUR} of {path} are flawed, but were decoded: 0 (its end marker is missing), 1.",
        )
