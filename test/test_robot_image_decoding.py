"""Every encoding a camera sends becomes the same RGB picture; anything else is refused with what was found."""

from __future__ import annotations

from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_ros.image_decoding import decode_image


def raw_message(
    pixels: NDArray[np.generic], encoding: str, *, padding: int = 0, big_endian: bool = False
) -> SimpleNamespace:
    """A sensor_msgs/Image of `pixels` [H, W, ...], with `padding` bytes of rubbish after each row."""
    height, width = pixels.shape[:2]
    ordered = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<"))
    rows = np.frombuffer(ordered.tobytes(), np.uint8).reshape(height, -1)
    rows = np.concatenate([rows, np.full((height, padding), 0xAB, np.uint8)], axis=1)
    data = array("B")
    data.frombytes(rows.tobytes())
    return SimpleNamespace(
        height=height, width=width, encoding=encoding, is_bigendian=int(big_endian), step=rows.shape[1], data=data
    )


def compressed_message(data: bytes, format_: str = "jpeg") -> SimpleNamespace:
    return SimpleNamespace(format=format_, data=array("B", data))


def noise(height: int = 13, width: int = 17, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (height, width, channels), np.uint8)


def smooth(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """A picture whose colours change slowly, so that interpolated or subsampled colours stay near the truth."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + 2 * x, 200 - 2 * y, 90 + x + y // 2], axis=-1).astype(np.uint8)


def two_planes(rgb: NDArray[np.uint8], encoding: str, padding: int) -> SimpleNamespace:
    """BT.601, limited range: the luma rows, then for each two rows the colour of every second pixel of the first."""
    height, width = rgb.shape[:2]
    even = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), "edge").astype(float)
    red, green, blue = np.moveaxis(even, -1, 0)
    luma = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    pair = [u, v] if encoding == "nv12" else [v, u]
    colour = np.stack([plane[::2, ::2] for plane in pair], axis=-1).reshape(even.shape[0] // 2, even.shape[1])
    rows = np.round(np.concatenate([luma[:height], colour])).astype(np.uint8)
    message = raw_message(rows, encoding, padding=padding)
    message.height, message.width = height, width
    return message


ALPHA = np.full((13, 17, 1), 200, np.uint8)


@pytest.mark.parametrize("padding", [0, 1, 3, 64])
@pytest.mark.parametrize(
    ("encoding", "arrange"),
    [
        ("rgb8", lambda rgb: rgb),
        ("bgr8", lambda rgb: rgb[..., ::-1]),
        ("8UC3", lambda rgb: rgb[..., ::-1]),
        ("rgba8", lambda rgb: np.concatenate([rgb, ALPHA], axis=-1)),
        ("bgra8", lambda rgb: np.concatenate([rgb[..., ::-1], ALPHA], axis=-1)),
        ("8UC4", lambda rgb: np.concatenate([rgb[..., ::-1], ALPHA], axis=-1)),
    ],
)
def test_colour_encodings_give_the_same_rgb_whatever_the_padding(encoding, arrange, padding):
    rgb = noise()
    decoded = decode_image(raw_message(arrange(rgb), encoding, padding=padding))
    assert decoded.flags.c_contiguous
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, rgb)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_is_repeated_in_every_channel(encoding, padding):
    grey = noise(channels=1)
    np.testing.assert_array_equal(
        decode_image(raw_message(grey, encoding, padding=padding)), np.repeat(grey, 3, axis=-1)
    )


@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("big_endian", [False, True])
def test_sixteen_bit_grey_is_scaled_to_eight_in_either_byte_order(big_endian, padding):
    grey = np.array([[0, 128, 129, 257], [12345, 32767, 65406, 65535]], np.uint16)[..., None]
    decoded = decode_image(raw_message(grey, "mono16", padding=padding, big_endian=big_endian))
    expected = np.array([[0, 0, 1, 1], [48, 127, 254, 255]], np.uint8)[..., None]
    np.testing.assert_array_equal(decoded, np.repeat(expected, 3, axis=-1))


def test_sixteen_bit_colour_is_scaled_to_eight():
    rgb = noise()
    bgr16 = rgb[..., ::-1].astype(np.uint16) * 257
    np.testing.assert_array_equal(decode_image(raw_message(bgr16, "bgr16")), rgb)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_are_named_by_their_first_two_rows(pattern, bits):
    rgb = smooth()
    mosaic = np.zeros(rgb.shape[:2], np.uint16)
    for place, colour in enumerate(pattern):
        rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
        mosaic[rows, columns] = rgb[rows, columns, "rgb".index(colour)]
    message = raw_message(
        mosaic.astype(np.uint8) if bits == 8 else mosaic * 257, f"bayer_{pattern}{bits}", padding=bits // 8
    )
    inner = (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(decode_image(message)[inner].astype(int), rgb[inner].astype(int), atol=3)


@pytest.mark.parametrize("width", [64, 63, 3])
@pytest.mark.parametrize(
    ("encoding", "luma_first"),
    [
        ("yuv422", False),
        ("uyvy", False),
        ("UYVY", False),
        ("uyvy422", False),
        ("yuv422_yuy2", True),
        ("yuyv", True),
        ("yuy2", True),
        ("yuyv422", True),
        ("YUYV", True),
    ],
)
def test_packed_yuv_is_decoded_with_odd_widths_too(encoding, luma_first, width):
    rgb = smooth(48, width)
    # BT.601, limited range, the colour difference of each pixel pair sampled at its first pixel.
    red, green, blue = np.moveaxis(rgb.astype(float), -1, 0)
    luma = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    chroma = u.copy()
    chroma[:, 1::2] = v[:, 0:-1:2]
    pair = [luma, chroma] if luma_first else [chroma, luma]
    packed = np.round(np.stack(pair, axis=-1)).astype(np.uint8)
    decoded = decode_image(raw_message(packed, encoding, padding=4))
    assert decoded.shape == rgb.shape
    assert decoded.flags.c_contiguous
    np.testing.assert_allclose(decoded.astype(int), rgb.astype(int), atol=8)


def test_yvyu_is_yuyv_with_its_colours_exchanged():
    packed = noise(4, 6, 2)
    exchanged = packed.copy()
    exchanged[:, ::2, 1], exchanged[:, 1::2, 1] = packed[:, 1::2, 1], packed[:, ::2, 1]
    np.testing.assert_array_equal(
        decode_image(raw_message(packed, "yvyu")), decode_image(raw_message(exchanged, "yuyv"))
    )


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 64), (48, 63), (5, 3), (1, 1)])
@pytest.mark.parametrize("encoding", ["nv12", "nv21", "NV12"])
def test_two_planes_are_decoded_with_odd_sizes_too(encoding, height, width, padding):
    rgb = smooth(height, width)
    message = two_planes(rgb, encoding.lower(), padding)
    message.encoding = encoding
    decoded = decode_image(message)
    assert decoded.shape == rgb.shape
    assert decoded.flags.c_contiguous
    np.testing.assert_allclose(decoded.astype(int), rgb.astype(int), atol=8)


def test_two_planes_without_their_colour_are_refused():
    message = two_planes(smooth(4, 6), "nv12", 0)
    message.data = message.data[: 4 * 6]
    with pytest.raises(MayhemError, match="The nv12 image is 6x4 with step 6 and 24 bytes of data: there should be 36"):
        decode_image(message)


def test_names_of_encodings_may_be_in_capitals():
    rgb = noise()
    np.testing.assert_array_equal(decode_image(raw_message(rgb, "RGB8")), rgb)


def test_messages_of_rclpy_are_decoded():
    sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="ROS 2's messages are not installed")
    rgb = noise()
    fields = vars(raw_message(rgb[..., ::-1], "bgr8", padding=5))
    np.testing.assert_array_equal(decode_image(sensor_msgs.Image(**fields)), rgb)
    data = array("B", cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(decode_image(sensor_msgs.CompressedImage(format="png", data=data)), rgb)


def test_a_tight_rgb8_image_is_a_view_of_the_message():
    message = raw_message(noise(), "rgb8")
    assert np.shares_memory(decode_image(message), np.frombuffer(message.data, np.uint8))


def test_rosbags_messages_with_read_only_arrays_are_decoded():
    rgb = noise()
    message = raw_message(rgb[..., ::-1], "bgr8")
    message.data = np.frombuffer(message.data.tobytes(), np.uint8)
    np.testing.assert_array_equal(decode_image(message), rgb)


def test_the_last_rows_padding_may_be_missing():
    message = raw_message(noise(), "rgb8", padding=7)
    del message.data[-7:]
    np.testing.assert_array_equal(decode_image(message), noise())


@pytest.mark.parametrize(
    "format_",
    [
        "jpeg",
        "png",
        "",
        "jpg",
        "rgb8; jpeg compressed bgr8",
        "bgr8; jpeg compressed bgr8",
        "bgr8; png compressed bgr8",
        "image/jpeg",
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_bytes_say_how_an_image_is_compressed_not_the_format_string(suffix, format_):
    rgb = smooth(31, 33)
    data = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
    decoded = decode_image(compressed_message(data, format_))
    np.testing.assert_allclose(decoded.astype(int), rgb.astype(int), atol=0 if suffix == ".png" else 12)
    assert decoded.flags.c_contiguous


def test_a_grey_jpeg_becomes_rgb():
    grey = smooth()[..., 0]
    data = cv2.imencode(".jpg", grey)[1].tobytes()
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(
        decode_image(compressed_message(data, "mono8; jpeg compressed ")), np.dstack([expected] * 3)
    )


def test_the_exif_orientation_is_ignored():
    jpeg = cv2.imencode(".jpg", smooth(16, 32))[1].tobytes()
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    exif = b"Exif\x00\x00" + tiff
    rotated = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    assert cv2.imdecode(np.frombuffer(rotated, np.uint8), cv2.IMREAD_COLOR).shape == (32, 16, 3)
    np.testing.assert_array_equal(decode_image(compressed_message(rotated)), decode_image(compressed_message(jpeg)))


def test_a_jpeg_followed_by_padding_is_whole():
    jpeg = cv2.imencode(".jpg", smooth())[1].tobytes()
    np.testing.assert_array_equal(
        decode_image(compressed_message(jpeg + bytes(512))), decode_image(compressed_message(jpeg))
    )


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_depth_is_refused(encoding):
    message = raw_message(np.ones((2, 3), np.uint16 if encoding == "16UC1" else np.float32), encoding)
    with pytest.raises(MayhemError, match=f"encoding is {encoding}, which is depth"):
        decode_image(message)


@pytest.mark.parametrize("format_", ["16UC1; compressedDepth png", "32FC1; compressedDepth", "16UC1; png compressed "])
def test_compressed_depth_is_refused(format_):
    data = cv2.imencode(".png", np.ones((4, 4), np.uint16))[1].tobytes()
    with pytest.raises(MayhemError, match="which is depth"):
        decode_image(compressed_message(data, format_))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": "h264"}, "encoding is 'h264', which is none of"),
        ({"encoding": ""}, "encoding is '', which is none of"),
        ({"height": 0}, "17x0 with step 51 and 663 bytes of data: it is empty"),
        ({"step": 50, "height": 12}, "a row needs a step of at least 51"),
        ({"step": 2**31, "height": 12}, "there should be"),
        ({"height": 14}, "17x14 with step 51 and 663 bytes of data: there should be 714 bytes"),
        ({"height": 12}, "there should be 612 bytes"),
        ({"data": array("B")}, "17x13 with step 51 and 0 bytes"),
    ],
)
def test_a_description_that_does_not_fit_the_data_is_refused(change, reason):
    message = raw_message(noise(), "rgb8")
    vars(message).update(change)
    with pytest.raises(MayhemError, match=reason):
        decode_image(message)


def test_a_yuv_image_one_pixel_wide_is_refused():
    with pytest.raises(MayhemError, match="OpenCV cannot convert a 1x4 yuyv image"):
        decode_image(raw_message(noise(4, 1, 2), "yuyv"))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_cut_off_file_is_refused_not_filled_with_grey(suffix, share):
    data = cv2.imencode(suffix, noise(64, 64))[1].tobytes()
    with pytest.raises(MayhemError, match="cut off"):
        decode_image(compressed_message(data[: int(len(data) * share)]))


def test_damaged_png_data_are_refused():
    data = bytearray(cv2.imencode(".png", noise(64, 64))[1].tobytes())
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(MayhemError, match="is damaged"):
        decode_image(compressed_message(bytes(data)))


@pytest.mark.parametrize(
    ("data", "start"), [(b"", "nothing"), (b"RIFF1234WAVE", "52 49 46 46"), (b"\x00" * 20, "00 00")]
)
def test_bytes_that_are_no_image_are_refused(data, start):
    with pytest.raises(MayhemError, match=f"neither JPEG, PNG, WebP nor TIFF: it starts with {start}"):
        decode_image(compressed_message(data))


def test_another_message_is_refused():
    with pytest.raises(MayhemError, match=r"SimpleNamespace is no sensor_msgs/Image"):
        decode_image(SimpleNamespace(data=array("B")))
