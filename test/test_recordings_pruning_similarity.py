"""The similarity that prunes is scikit-image's, to the ninth digit, for any two images that can be compared."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.metrics import normalized_root_mse, structural_similarity

from mayhem_ros.errors import MayhemError
from mayhem_train.recordings.pruning import ssim
from mayhem_train.recordings.pruning.similarity import Reference, similarity, to_grey
from mayhem_train.recordings.pruning.window import WINDOW

Image = NDArray[np.uint8]


def oracle(reference: Image, image: Image) -> float:
    """What the measure is defined as, by scikit-image's defaults."""
    ssim = structural_similarity(reference, image, win_size=111)
    return float(0.4 * ssim + 0.6 * (1 - normalized_root_mse(reference, image)))


def noise(seed: int, height: int, width: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def drawn(kind: str, seed: int, height: int, width: int) -> Image:
    """An image with the statistics of its kind."""
    generator = np.random.default_rng(seed)
    if kind == "noise":
        return noise(seed, height, width)
    if kind == "smooth":
        return np.asarray(cv2.GaussianBlur(noise(seed, height, width), (0, 0), 5), np.uint8)
    if kind == "extremes":
        return np.asarray(generator.integers(0, 2, (height, width)) * 255, np.uint8)
    if kind == "nearly white":
        return np.asarray(generator.integers(254, 256, (height, width)), np.uint8)
    return np.full((height, width), generator.integers(1, 256), np.uint8)


KINDS = st.sampled_from(["noise", "smooth", "extremes", "nearly white", "constant"])
SIDES = st.integers(WINDOW, 140)


@given(KINDS, KINDS, st.integers(0, 2**32 - 1), SIDES, SIDES)
@settings(max_examples=150, deadline=None)
def test_any_two_images_score_as_in_scikit_image(one: str, other: str, seed: int, height: int, width: int) -> None:
    reference, image = drawn(one, seed, height, width), drawn(other, seed + 1, height, width)
    assert similarity(reference, image) == pytest.approx(oracle(reference, image), rel=0, abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
@settings(max_examples=50, deadline=None)
def test_near_duplicates_score_as_in_scikit_image(seed: int, change: int) -> None:
    reference = drawn("smooth", seed, 120, 131)
    image = np.clip(reference.astype(np.int64) + (noise(seed, 120, 131) % (change + 1)), 0, 255).astype(np.uint8)
    assert similarity(reference, image) == pytest.approx(oracle(reference, image), rel=0, abs=1e-9)


@pytest.mark.parametrize(("height", "width"), [(111, 111), (111, 640), (480, 111), (480, 640), (113, 1921)])
def test_every_size_from_one_window_on_scores_as_in_scikit_image(height: int, width: int) -> None:
    reference, image = drawn("smooth", 1, height, width), drawn("smooth", 2, height, width)
    assert similarity(reference, image) == pytest.approx(oracle(reference, image), rel=0, abs=1e-9)


def test_the_largest_sums_do_not_overflow() -> None:
    white = np.full((300, 4000), 255, np.uint8)
    image = white.copy()
    image[::2] = 0
    assert similarity(white, image) == pytest.approx(oracle(white, image), rel=0, abs=1e-9)


def test_the_same_image_scores_exactly_one() -> None:
    for kind in ("noise", "smooth", "extremes", "constant"):
        image = drawn(kind, 3, 120, 150)
        assert similarity(image, image.copy()) == 1.0


def test_the_reference_is_the_one_whose_norm_counts() -> None:
    dark, bright = np.full((111, 111), 50, np.uint8), np.full((111, 111), 100, np.uint8)
    assert similarity(dark, bright) == pytest.approx(oracle(dark, bright), abs=1e-12)
    assert similarity(bright, dark) == pytest.approx(oracle(bright, dark), abs=1e-12)
    assert similarity(bright, dark) - similarity(dark, bright) == pytest.approx(0.6 * 0.5)


def test_one_reference_compares_many_images() -> None:
    reference = Reference(drawn("smooth", 1, 120, 160))
    for seed in range(2, 6):
        image = drawn("smooth", seed, 120, 160)
        assert reference.similarity(image) == pytest.approx(oracle(reference.image, image), rel=0, abs=1e-9)


def test_views_of_larger_images_score_as_their_copies() -> None:
    large, other = noise(1, 260, 300), noise(2, 260, 300)
    score = similarity(large[::2, ::2], other[::2, ::2])
    assert score == similarity(large[::2, ::2].copy(), other[::2, ::2].copy())


def test_images_that_cannot_be_written_to_score_alike() -> None:
    reference, image = noise(1, 111, 111), noise(2, 111, 111)
    score = similarity(reference, image)
    image.flags.writeable = False
    assert similarity(reference, image) == score


def test_a_black_reference_is_like_black_only() -> None:
    black, dark = np.zeros((111, 111), np.uint8), np.zeros((111, 111), np.uint8)
    dark[0, 0] = 1
    assert Reference(black).is_black
    assert not Reference(dark).is_black
    assert similarity(black, black.copy()) == 1.0
    assert similarity(black, dark) == -math.inf
    with np.errstate(divide="ignore"):
        assert oracle(black, dark) == -math.inf


@pytest.mark.parametrize(("height", "width"), [(110, 640), (480, 110)])
def test_an_image_smaller_than_the_window_is_refused(height: int, width: int) -> None:
    with pytest.raises(MayhemError, match=f"{width}x{height} is smaller than the window of 111 pixels"):
        Reference(np.zeros((height, width), np.uint8))


def test_images_of_two_sizes_are_refused() -> None:
    with pytest.raises(MayhemError, match="An image of 120x111 cannot be compared with one of 111x120"):
        similarity(np.zeros((120, 111), np.uint8), np.zeros((111, 120), np.uint8))


def test_grey_is_opencvs() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    assert np.array_equal(to_grey(rgb), cv2.cvtColor(rgb[..., ::-1].copy(), cv2.COLOR_BGR2GRAY))
    red, green, blue = (int(to_grey(np.eye(3, dtype=np.uint8)[None, [channel]] * 255)[0, 0]) for channel in range(3))
    assert (red, green, blue) == (76, 150, 29)
    view = rgb.copy()
    view.flags.writeable = False
    assert np.array_equal(to_grey(view), to_grey(rgb))


def in_a_new_process(code: str, *arguments: object, **environment: object) -> str:
    """What Python prints; no file that it writes may grow beyond a kilobyte."""
    code = "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n" + code
    command = [sys.executable, "-c", code, *map(str, arguments)]
    variables = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_works_where_compiled_code_does_not_fit_on_the_disk(tmp_path: Path) -> None:
    code = (
        "import numpy as np\n"
        "from mayhem_train.recordings.pruning.similarity import similarity\n"
        "grey = np.full((111, 111), 50, np.uint8)\n"
        "print(similarity(grey, grey))"
    )
    assert in_a_new_process(code, NUMBA_CACHE_DIR=tmp_path) == "1.0\n"
    assert list(tmp_path.rglob("*.nbc")) == []


def test_it_works_where_compiled_code_has_no_place_at_all(tmp_path: Path) -> None:
    copy = tmp_path / "ssim.py"
    copy.write_bytes(Path(ssim.__file__).read_bytes())
    (tmp_path / "__pycache__").touch()  # a file where the folder would be, for root can write everywhere
    code = (
        "import importlib.util, sys\n"
        "import numpy as np\n"
        "spec = importlib.util.spec_from_file_location('copy', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "grey = np.full((111, 111), 50, np.uint8)\n"
        "print(module.mean_ssim(grey, grey))"
    )
    below_a_file = tmp_path / "__pycache__" / "below"
    assert in_a_new_process(code, copy, HOME=below_a_file, XDG_CACHE_HOME=below_a_file) == "1.0\n"
