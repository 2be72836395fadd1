"""Colour images of 16 bits a channel, in either byte order, and Bayer images of odd sizes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mayhem_ros.image_decoding import decode_image


def message(pixels: np.ndarray, encoding: str, is_bigendian: bool = False, padding: int = 0) -> SimpleNamespace:
    """A raw image whose rows end with `padding` bytes of rubbish."""
    height, width = pixels.shape[:2]
    samples = pixels.astype(pixels.dtype.newbyteorder(">" if is_bigendian else "<"))
    rows = np.frombuffer(samples.tobytes(), np.uint8).reshape(height, -1)
    rows = np.concatenate([rows, np.full((height, padding), 0xAB, np.uint8)], axis=1)
    return SimpleNamespace(
        height=height, width=width, encoding=encoding, is_bigendian=int(is_bigendian), step=rows.shape[1],
        data=rows.reshape(-1),
    )  # fmt: skip


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [("rgb16", (0, 1, 2)), ("bgr16", (2, 1, 0)), ("rgba16", (0, 1, 2, 3)), ("bgra16", (2, 1, 0, 3))],
)
def test_every_sixteen_bit_colour_is_the_same_rgb(
    encoding: str, order: tuple[int, ...], padding: int, is_bigendian: bool
) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    rgba = np.concatenate([rgb, np.full((7, 5, 1), 9, np.uint8)], axis=-1).astype(np.uint16) * 257
    decoded = decode_image(message(rgba[..., list(order)], encoding, is_bigendian, padding))
    np.testing.assert_array_equal(decoded, rgb)


@pytest.mark.parametrize(("height", "width"), [(47, 63), (48, 63), (47, 64), (3, 3)])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_images_of_odd_sizes_keep_their_colours(pattern: str, height: int, width: int) -> None:
    colour = np.array([200, 120, 40], np.uint8)
    mosaic = np.zeros((height, width), np.uint8)
    for place, name in enumerate(pattern):
        mosaic[place // 2 :: 2, place % 2 :: 2] = colour["rgb".index(name)]
    decoded = decode_image(message(mosaic, f"bayer_{pattern}8"))
    assert decoded.shape == (height, width, 3)
    np.testing.assert_array_equal(decoded, np.broadcast_to(colour, decoded.shape))


def test_bayer_images_of_sixteen_bits_in_the_other_byte_order_are_the_same() -> None:
    mosaic = np.random.default_rng(1).integers(0, 65536, (8, 10), np.uint16)
    np.testing.assert_array_equal(
        decode_image(message(mosaic, "bayer_rggb16", True)), decode_image(message(mosaic, "bayer_rggb16"))
    )
