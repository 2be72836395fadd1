"""The range of a 16-bit camera: which level each sample becomes, and what is found where none is given."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mayhem_ros.errors import MayhemError
from mayhem_ros.image_decoding import decode_image, sixteen_bit_samples
from mayhem_ros.intensity_range import IntensityRange, SampleCounts

THERMAL = IntensityRange(7000, 9000)
SAMPLES = np.array([[0, 6999, 7000, 7004, 7031], [8000, 8500, 9000, 9001, 65535]], np.uint16)
LEVELS = np.array([[0, 0, 0, 1, 4], [128, 191, 255, 255, 255]], np.uint8)  # (sample - 7000) * 255 / 2000


def raw(samples: np.ndarray, encoding: str, *, big_endian: bool = False) -> SimpleNamespace:
    height, width = samples.shape[:2]
    data = np.frombuffer(samples.astype(">u2" if big_endian else "<u2").tobytes(), np.uint8)
    return SimpleNamespace(
        height=height, width=width, encoding=encoding, is_bigendian=int(big_endian), step=len(data) // height, data=data
    )


def png(samples: np.ndarray, said: str = "mono16; png compressed ") -> SimpleNamespace:
    return SimpleNamespace(format=said, data=cv2.imencode(".png", samples)[1].ravel())


@pytest.mark.parametrize(
    "message",
    [raw(SAMPLES, "mono16"), raw(SAMPLES, "mono16", big_endian=True), png(SAMPLES), png(SAMPLES, "png")],
    ids=["raw", "big-endian", "png", "png of any name"],
)
def test_the_range_s_ends_become_black_and_white_and_what_lies_beyond_is_clipped(message: SimpleNamespace) -> None:
    np.testing.assert_array_equal(decode_image(message, THERMAL), np.dstack([LEVELS] * 3))


@pytest.mark.parametrize("message", [raw(SAMPLES, "16UC1"), png(SAMPLES, "16UC1; png compressed ")], ids=["raw", "png"])
def test_16uc1_is_grey_beside_a_range_and_depth_without_one(message: SimpleNamespace) -> None:
    np.testing.assert_array_equal(decode_image(message, THERMAL), np.dstack([LEVELS] * 3))
    with pytest.raises(MayhemError, match="depth, not colour: choose a colour topic, or give an intensity range if"):
        decode_image(message)


def test_compressed_depth_is_depth_beside_a_range_too() -> None:
    message = SimpleNamespace(format="16UC1; compressedDepth png", data=bytes(12) + png(SAMPLES).data.tobytes())
    with pytest.raises(MayhemError, match="which is depth, not colour"):
        decode_image(message, THERMAL)


@pytest.mark.parametrize("limits", [(0, 1), (0, 255), (100, 1123), (0, 4095), (7000, 9000), (1, 65535), (0, 65535)])
def test_every_sample_becomes_the_nearest_level(limits: tuple[int, int]) -> None:
    low, high = limits
    samples = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    exact = np.clip((samples - float(low)) * 255 / (high - low), 0, 255)
    decoded = decode_image(raw(samples, "mono16"), IntensityRange(low, high))[..., 0]
    assert np.abs(decoded - exact).max() <= 0.5
    np.testing.assert_array_equal(decoded[exact % 1 == 0.5] % 2, 0)  # of two equally near ones the even one


@pytest.mark.parametrize("encoding", ["mono16", "bayer_rggb16", "bayer_grbg16"])
def test_the_full_range_is_what_is_shown_without_one(encoding: str) -> None:
    message = raw(np.random.default_rng(0).integers(0, 65536, (8, 10), np.uint16), encoding)
    np.testing.assert_array_equal(decode_image(message, IntensityRange(0, 65535)), decode_image(message))


def test_a_bayer_camera_of_twelve_bits_keeps_its_colours() -> None:
    colour = np.array([200, 120, 40])
    mosaic = np.zeros((8, 10), np.uint16)
    for place, name in enumerate("rggb"):
        mosaic[place // 2 :: 2, place % 2 :: 2] = colour["rgb".index(name)] * 16
    decoded = decode_image(raw(mosaic, "bayer_rggb16"), IntensityRange(0, 255 * 16))
    np.testing.assert_array_equal(decoded, np.broadcast_to(colour, decoded.shape))


@pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16"])
def test_colour_of_sixteen_bits_has_no_range(encoding: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (6, 5, 4 if "a" in encoding else 3), np.uint16)
    np.testing.assert_array_equal(decode_image(raw(pixels, encoding), THERMAL), decode_image(raw(pixels, encoding)))
    assert sixteen_bit_samples(raw(pixels, encoding)) is None


def test_images_of_eight_bits_have_no_range() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    mono = SimpleNamespace(height=16, width=16, encoding="mono8", is_bigendian=0, step=16, data=grey.ravel())
    for message in (mono, png(grey), png(np.dstack([grey] * 3).astype(np.uint16) * 257)):
        np.testing.assert_array_equal(decode_image(message, THERMAL), decode_image(message))
        assert sixteen_bit_samples(message) is None


@pytest.mark.parametrize("message", [raw(SAMPLES, "mono16"), raw(SAMPLES, "bayer_gbrg16"), png(SAMPLES)])
def test_samples_come_as_they_were_recorded(message: SimpleNamespace) -> None:
    np.testing.assert_array_equal(sixteen_bit_samples(message), SAMPLES)


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((9000, 7000), "the intensity range 9000 to 7000 is none"),
        ((7000, 7000), "the intensity range 7000 to 7000 is none"),
        ((-1, 7000), "the intensity range -1 to 7000 is none"),
        ((0, 65536), "both from 0 to 65535"),
        ((7000.0, 9000), "is no pair of whole numbers"),
        ((True, 9000), "is no pair of whole numbers"),
        ([7000], "is no pair of whole numbers"),
        ("79", "is no pair of whole numbers"),
        (None, "the intensity range None is no pair"),
    ],
)
def test_what_is_no_range_is_refused(numbers: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        IntensityRange.of(numbers)


def test_a_range_is_found_without_hot_pixels_and_without_frames_that_show_nothing() -> None:
    counts = SampleCounts()
    for frame in range(4):
        samples = np.arange(7000, 9000, dtype=np.uint16).reshape(40, 50)
        samples.flat[[0, 1]] = 0, 65535
        counts.add(samples)
        counts.add(np.full((40, 50), (0, 65535, 7500, 0)[frame], np.uint16))
    assert counts.found_range() == (7003, 8998)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.arange(7000, 9000), "uses only 9 of 256 grey levels (16-bit samples from 7002 to 8997 of 65535)"),
        (np.arange(4096), "uses only 17 of 256 grey levels (16-bit samples from 4 to 4091 of 65535)"),
        (np.arange(0, 16384, 4), "uses only 65 of 256 grey levels (16-bit samples from 16 to 16364 of 65535)"),
        (np.arange(0, 65536, 257), None),
        (np.arange(0, 32768, 8), None),
        (np.full(100, 12), None),
    ],
    ids=["thermal", "12 bits", "14 bits", "16 bits", "15 bits", "nothing"],
)
def test_few_grey_levels_are_told_with_the_range_that_was_found(samples: np.ndarray, said: str | None) -> None:
    counts = SampleCounts()
    counts.add(samples.astype(np.uint16).reshape(-1, 1))
    assert counts.few_levels() == said
