"""Raw images by every name that drivers give their encodings, planar YUV too; and a `step` that cannot be true."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_ros.image_decoding import decode_image, decode_with_flaws
from mayhem_train.recordings.depth import decode_depth

HEIGHT, WIDTH = 12, 18


def noise(channels: int, dtype: type = np.uint8) -> NDArray[np.generic]:
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, channels), dtype, endpoint=True)


def message(rows: NDArray[np.generic], encoding: str, **fields: int) -> SimpleNamespace:
    data = rows.tobytes()
    step = len(data) // HEIGHT
    return SimpleNamespace(
        **{
            "height": HEIGHT,
            "width": WIDTH,
            "encoding": encoding,
            "is_bigendian": 0,
            "step": step,
            "data": data,
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("ours", "others"),
    [
        ("rgb8", "R8G8B8 RGB888 RGB_INT8 RGB8Packed rgb24 RGB rgb RGB3"),
        ("bgr8", "8UC3 CV_8UC3 B8G8R8 BGR888 BGR_INT8 BGR8Packed bgr24 BGR bgr BGR3"),
        ("rgba8", "RGBA_INT8 R8G8B8A8 RGBA8888 rgba RGBA32 RGBx rgb0"),
        ("bgra8", "8UC4 BGRA_INT8 B8G8R8A8 BGRA8888 bgra BGRA32 BGRx bgr0"),
        ("mono8", "8UC1 L8 L_INT8 Mono8 gray GRAY8 grey Y8 Y800 mono"),
        ("mono16", "L16 L_INT16 Mono16 gray16le GRAY16_LE Y16 Mono10 mono12 Mono14 gray12le GRAY10_LE Y14"),
        ("rgb16", "RGB_INT16 R16G16B16 rgb48le"),
        ("bgr16", "16UC3 CV_16UC3 bgr48le"),
        ("bgra16", "16UC4"),
        ("bayer_rggb8", "BAYER_RGGB8 BayerRG8 rggb RGGB rggb8 SRGGB8 bayer_rggb"),
        ("bayer_bggr8", "BAYER_BGGR8 BayerBG8 BA81 bggr8 SBGGR8"),
        ("bayer_gbrg8", "BAYER_GBRG8 BayerGB8 GBRG gbrg8 SGBRG8"),
        ("bayer_grbg8", "BAYER_GRBG8 BayerGR8 GRBG grbg8 SGRBG8"),
        ("bayer_rggb16", "BayerRG16 bayer_rggb16le SRGGB16 RG16 rggb16 BayerRG10 BayerRG12 bayer_rggb12 SRGGB14"),
        ("yuv422", "UYVY uyvy422 YUV422_8_UYVY YUV422Packed"),
        ("yuv422_yuy2", "YUYV yuyv422 YUY2 YUV422_8"),
    ],
)
def test_other_names_mean_what_ros_calls_otherwise(ours: str, others: str) -> None:
    channels = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "yuv": 2}
    name = ours.rstrip("0123456789")
    samples = noise(2 if ours.startswith("yuv") else channels.get(name, 1), np.uint16 if "16" in ours else np.uint8)
    expected = decode_image(message(samples, ours))
    for other in others.split():
        np.testing.assert_array_equal(decode_image(message(samples, other)), expected, err_msg=other)


def test_five_and_six_bits_a_colour_are_decoded_in_either_byte_order() -> None:
    red, green, blue = np.moveaxis(noise(3).astype(np.uint16), -1, 0)
    words = (red >> 3 << 11) | (green >> 2 << 5) | (blue >> 3)
    expected = np.stack([red & 0xF8, green & 0xFC, blue & 0xF8], axis=-1)
    np.testing.assert_array_equal(decode_image(message(words, "rgb565")), expected)
    np.testing.assert_array_equal(decode_image(message(words.astype(">u2"), "RGB565", is_bigendian=1)), expected)
    np.testing.assert_array_equal(decode_image(message(words, "bgr565")), expected[..., ::-1])


def yuv(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float64]]:
    """Luma, a pair of colour values that is the same everywhere, and RGB by BT.601 of limited range."""
    luma = np.random.default_rng(5).integers(60, 200, (height, width), np.uint8)
    u, v = 140, 115
    red = 1.164 * (luma - 16.0) + 1.596 * (v - 128)
    green = 1.164 * (luma - 16.0) - 0.813 * (v - 128) - 0.391 * (u - 128)
    blue = 1.164 * (luma - 16.0) + 2.018 * (u - 128)
    return luma, np.array([u, v], np.uint8), np.stack([red, green, blue], axis=-1)


PLANAR = {
    "i420": (2, 2, False, "uv"), "yuv420p": (2, 2, False, "uv"), "YU12": (2, 2, False, "uv"),
    "yv12": (2, 2, False, "vu"), "nv12": (2, 2, True, "uv"), "NV21": (2, 2, True, "vu"),
    "yuv422p": (2, 1, False, "uv"), "I422": (2, 1, False, "uv"), "yv16": (2, 1, False, "vu"),
    "nv16": (2, 1, True, "uv"), "nv61": (2, 1, True, "vu"),
    "nv24": (1, 1, True, "uv"), "NV42": (1, 1, True, "vu"), "yuv444p": (1, 1, False, "uv"), "yv24": (1, 1, False, "vu"),
}  # fmt: skip


@pytest.mark.parametrize(("height", "width"), [(12, 18), (11, 18), (12, 17), (1, 1), (300, 5)])
@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", PLANAR)
def test_planes_are_decoded_whatever_the_padding_and_size(encoding: str, padding: int, height: int, width: int) -> None:
    across, down, is_interleaved, order = PLANAR[encoding]
    luma, pair, rgb = yuv(height, width)
    step = width + padding
    rows, columns = -(-height // down), -(-width // across)
    colour = dict(zip("uv", pair, strict=True))

    def plane(content: NDArray[np.uint8], stride: int) -> bytes:
        filled = np.full((len(content), stride), 0xAB, np.uint8)
        filled[:, : content.shape[1]] = content
        return filled.tobytes()

    if is_interleaved:
        pairs = np.tile(np.array([colour[name] for name in order], np.uint8), (rows, columns))
        planes = [plane(pairs, 2 * -(-step // across))]
    else:
        planes = [plane(np.full((rows, columns), colour[name], np.uint8), -(-step // across)) for name in order]
    data = plane(luma, step) + b"".join(planes)
    found = decode_with_flaws(
        SimpleNamespace(height=height, width=width, encoding=encoding, is_bigendian=0, step=step, data=data)
    )
    assert found.pixels.shape == (height, width, 3)
    assert found.pixels.flags.c_contiguous
    assert found.flaws == ()
    np.testing.assert_allclose(found.pixels.astype(int), rgb, atol=2)


@pytest.mark.parametrize("encoding", ["i420", "nv24", "yuv422p"])
def test_planes_of_another_size_are_refused(encoding: str) -> None:
    with pytest.raises(
        MayhemError, match=rf"The {encoding} image is 18x12 with step 18 and 216 bytes of data: there should be"
    ):
        decode_image(message(noise(1), encoding))


@pytest.mark.parametrize("step", [0, 4, WIDTH, WIDTH * 3 - 1, 2**31, 2**32 - 1])
def test_a_wrong_step_is_told_where_the_data_leave_no_doubt(step: int) -> None:
    rgb = noise(3)
    found = decode_with_flaws(message(rgb, "rgb8", step=step))
    np.testing.assert_array_equal(found.pixels, rgb)
    assert found.flaws == (f"step is {step}, but the 648 bytes are rows of 54 without a gap",)
    assert not found.is_damaged


def test_a_wrong_step_of_depth_is_told_too() -> None:
    depth = noise(1, np.uint16)
    found = decode_depth(message(depth, "16UC1", step=WIDTH))
    np.testing.assert_array_equal(found.pixels, depth[..., 0])
    assert found.flaws == ("step is 18, but the 432 bytes are rows of 36 without a gap",)
    assert decode_depth(message(depth, "16UC1")).flaws == ()


def test_a_wrong_step_with_other_data_is_refused() -> None:
    for step in (0, 53):
        with pytest.raises(MayhemError, match="647 bytes of data: a row needs a step of at least 54"):
            decode_image(message(noise(3), "rgb8", step=step, data=noise(3).tobytes()[:-1]))


@pytest.mark.parametrize("encoding", ["jpeg", "MJPEG", "png"])
def test_a_file_in_a_raw_image_is_decoded_as_what_it_is(encoding: str) -> None:
    import cv2

    suffix = ".png" if encoding == "png" else ".jpg"
    data = cv2.imencode(suffix, noise(3))[1].tobytes()
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(decode_image(message(noise(3), encoding, data=data)), expected)


def test_a_raw_image_beyond_the_limit_is_refused_before_its_data_are_looked_at() -> None:
    with pytest.raises(MayhemError, match="The rgb8 image is 4294967295x4294967295 pixels, more than the 50000000"):
        decode_image(message(noise(3), "rgb8", width=2**32 - 1, height=2**32 - 1, step=2**32 - 1))
    with pytest.raises(MayhemError, match="is 18x12 pixels, more than the 215"):
        decode_image(message(noise(3), "rgb8"), max_pixels=215)


@pytest.mark.parametrize("encoding", ["32FC3", "vyuy", "yuvj420p", "BayerRG12Packed", "x" * 9999])
def test_what_is_not_known_is_named_in_one_short_sentence(encoding: str) -> None:
    with pytest.raises(MayhemError, match="none of those that can be decoded") as raised:
        decode_image(message(noise(3), encoding))
    assert len(str(raised.value)) < 200
