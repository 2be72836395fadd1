"""Compressed images of every format give what the camera sent: mosaics in colour, no orientation followed."""

from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mayhem_ros.errors import MayhemError
from mayhem_ros.image_decoding import decode_image


def scene(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + 2 * x, 200 - 2 * y, 90 + x + y // 2], axis=-1).astype(np.uint8)


def mosaic(pattern: str, bits: int = 8) -> NDArray[np.generic]:
    rgb = scene()
    found = np.zeros(rgb.shape[:2], np.uint16)
    for place, colour in enumerate(pattern):
        rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
        found[rows, columns] = rgb[rows, columns, "rgb".index(colour)]
    return found.astype(np.uint8) if bits == 8 else found * 257


def encoded(suffix: str, pixels: NDArray[np.generic], *settings: int) -> bytes:
    return bytes(cv2.imencode(suffix, pixels, settings)[1].tobytes())


def decoded(format_: str, data: bytes) -> NDArray[np.uint8]:
    return decode_image(SimpleNamespace(format=format_, data=data))


def error(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    return float(np.abs(found.astype(int) - expected)[2:-2, 2:-2].mean())


LEAST_LOSS = (cv2.IMWRITE_JPEG_QUALITY, 100)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize(
    "format_",
    [
        "bayer_{}8; jpeg compressed ",
        "bayer_{}8; jpeg compressed",
        "bayer_{}8; jpeg",
        "bayer_{}8",
        "BAYER_{}8; JPEG compressed ",
        "bayer_{0}8; jpeg compressed bayer_{0}8",
        "bayer_{}16; jpeg compressed ",
    ],
)
def test_a_mosaic_in_a_jpeg_becomes_colour(pattern: str, format_: str) -> None:
    data = encoded(".jpg", mosaic(pattern), *LEAST_LOSS)
    assert error(decoded(format_.format(pattern), data), scene()) < 3


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_a_mosaic_in_a_file_without_loss_becomes_colour(suffix: str, bits: int, pattern: str) -> None:
    data = encoded(suffix, mosaic(pattern, bits))
    assert error(decoded(f"bayer_{pattern}{bits}; {suffix[1:]} compressed ", data), scene()) < 1


@pytest.mark.parametrize("quality", [101, 95])  # 101: without loss
def test_a_mosaic_in_a_file_that_knows_no_grey_becomes_colour(quality: int) -> None:
    data = encoded(".webp", mosaic("gbrg"), cv2.IMWRITE_WEBP_QUALITY, quality)
    assert error(decoded("bayer_gbrg8; webp compressed ", data), scene()) < 3
    np.testing.assert_array_equal(decoded("bayer_gbrg8; webp compressed mono8", data), decoded("webp", data))


@pytest.mark.parametrize(
    "format_",
    [
        "bayer_rggb8; jpeg compressed bgr8",
        "bayer_rggb8; jpeg compressed rgb8",
        "bayer_rggb8; jpeg compressed mono8",
        "bayer_rggb8; png compressed mono16",
        "mono8; jpeg compressed ",
        "rgb8; jpeg compressed bgr8",
        "jpeg",
        "",
    ],
)
def test_a_picture_that_was_converted_before_it_was_compressed_is_left(format_: str) -> None:
    grey = mosaic("rggb")
    expected = np.repeat(grey[..., None], 3, axis=-1)
    np.testing.assert_array_equal(decoded(format_, encoded(".png", grey)), expected)
    np.testing.assert_allclose(decoded(format_, encoded(".jpg", grey, *LEAST_LOSS)).astype(int), expected, atol=3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
def test_a_file_of_three_channels_is_no_mosaic_whatever_its_format_says(suffix: str) -> None:
    data = encoded(suffix, scene()[..., ::-1])
    np.testing.assert_array_equal(decoded("bayer_rggb8; jpeg compressed ", data), decoded("", data))


@pytest.mark.parametrize(("suffix", "format_"), [(".webp", "webp"), (".tiff", "rgb8; tiff compressed bgr8")])
def test_webp_and_tiff_are_decoded(suffix: str, format_: str) -> None:
    lossless = (cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else ()
    data = encoded(suffix, scene()[..., ::-1], *lossless)
    np.testing.assert_array_equal(decoded(format_, data), scene())


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
def test_tiff_of_every_usual_compression_is_decoded(compression: int) -> None:
    data = encoded(".tiff", scene()[..., ::-1], cv2.IMWRITE_TIFF_COMPRESSION, compression)
    np.testing.assert_array_equal(decoded("tiff", data), scene())


def test_an_alpha_channel_is_dropped() -> None:
    bgra = np.dstack([scene()[..., ::-1], np.full(scene().shape[:2], 77, np.uint8)])
    for suffix in (".png", ".tiff"):
        np.testing.assert_array_equal(decoded("", encoded(suffix, bgra)), scene())
    np.testing.assert_array_equal(decoded("", encoded(".webp", bgra, cv2.IMWRITE_WEBP_QUALITY, 101)), scene())


def test_sixteen_bits_are_scaled_as_those_of_raw_images() -> None:
    grey = np.array([[0, 128, 129, 257], [12345, 32767, 65406, 65535]], np.uint16)
    expected = np.array([[0, 0, 1, 1], [48, 127, 254, 255]], np.uint8)
    for suffix in (".png", ".tiff"):
        np.testing.assert_array_equal(decoded("", encoded(suffix, grey)), np.dstack([expected] * 3))


EXIF = b"MM\0\x2a\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"  # turned by a quarter


def turned_jpeg() -> bytes:
    jpeg, exif = encoded(".jpg", scene()[..., ::-1]), b"Exif\0\0" + EXIF
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def turned_png() -> bytes:
    png = encoded(".png", scene()[..., ::-1])
    return png[:33] + chunk(b"eXIf", EXIF) + png[33:]


def turned_webp() -> bytes:
    webp = encoded(".webp", scene()[..., ::-1], cv2.IMWRITE_WEBP_QUALITY, 101)
    height, width = scene().shape[:2]
    extended = b"VP8X" + struct.pack("<I", 10) + bytes((0x08, 0, 0, 0))
    extended += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = extended + webp[12:] + b"EXIF" + struct.pack("<I", len(EXIF)) + EXIF
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def turned_tiff() -> bytes:
    """The last entry, which must be of a higher number than 274, becomes the orientation."""
    tiff = bytearray(encoded(".tiff", scene()[..., ::-1], cv2.IMWRITE_TIFF_COMPRESSION, 1))
    start = int.from_bytes(tiff[4:8], "little")
    count = int.from_bytes(tiff[start : start + 2], "little")
    entries = [tiff[start + 2 + 12 * place : start + 14 + 12 * place] for place in range(count)]
    entries = [entry for entry in entries if int.from_bytes(entry[:2], "little") != 274]
    entries.append(bytearray(struct.pack("<HHIHH", 274, 3, 1, 3, 0)))  # upside down
    entries.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return bytes(tiff[:4] + struct.pack("<I", len(tiff)) + tiff[8:] + directory)


@pytest.mark.parametrize(
    ("turned", "suffix"), [(turned_jpeg, ".jpg"), (turned_png, ".png"), (turned_webp, ".webp"), (turned_tiff, ".tiff")]
)
def test_no_orientation_is_followed(turned, suffix: str) -> None:
    lossless = (cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else ()
    upright = encoded(suffix, scene()[..., ::-1], *lossless)
    followed = cv2.imdecode(np.frombuffer(turned(), np.uint8), cv2.IMREAD_COLOR)
    assert not np.array_equal(followed, cv2.imdecode(np.frombuffer(upright, np.uint8), cv2.IMREAD_COLOR))
    np.testing.assert_array_equal(decoded("", turned()), decoded("", upright))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_cut_off_file_is_refused(suffix: str, share: float) -> None:
    data = encoded(suffix, scene()[..., ::-1])
    with pytest.raises(MayhemError, match="cut off"):
        decoded("", data[: int(len(data) * share)])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_chunks_beside_the_picture_are_not_even_looked_at() -> None:
    png = encoded(".png", scene()[..., ::-1])
    swelling = zlib.compress(bytes(2**26))
    others = [chunk(kind, b"name\0\0" + swelling) for kind in (b"zTXt", b"iCCP", b"iTXt", b"acTL")]
    np.testing.assert_array_equal(decoded("", png[:33] + b"".join(others) + png[33:]), scene())


def header(width: int, height: int, bits: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda png: png[:33] + b"\x7f\xff\xff\xff" + png[37:], "is cut off"),
        (lambda png: png[:16] + b"\0" + png[17:20] + b"\0\0\0\x41" + png[24:], "IHDR chunk contradicts its checksum"),
        (
            lambda png: png[:8] + header(2**30, 2**30) + png[33:],
            "1073741824x1073741824 pixels, more than",
        ),
        (lambda png: png[:8] + header(64, 0) + png[33:], "is 64x0 pixels: it is empty"),
        (lambda png: png[:8] + header(1, 65_536) + png[33:], "is 1x65536 pixels, longer than any camera's"),
        (lambda png: png[:8] + header(7000, 7000, 16) + png[33:], "take 294007000 bytes when it is unpacked"),
        (lambda png: png[:8] + header(7000, 7000, interlaced=1) + png[33:], "bytes when it is unpacked"),
        (lambda png: png[:33] + chunk(b"tEXt", b"") * 2000 + png[33:], "more chunks than any camera writes"),
        (lambda png: png[:8] + png[33:], "does not begin with a PNG header"),
    ],
)
def test_what_a_png_says_of_itself_is_checked_before_it_is_decoded(change, reason: str) -> None:
    with pytest.raises(MayhemError, match=reason):
        decoded("png", change(encoded(".png", scene()[..., ::-1])))


def png_of(unpacked: bytes, level: int, length: int) -> bytes:
    """Of 600x400 pixels, its data in chunks of a length."""
    packed = zlib.compress(unpacked, level)
    chunks = [chunk(b"IDAT", packed[start : start + length]) for start in range(0, len(packed), length)]
    return encoded(".png", scene())[:8] + header(600, 400) + b"".join(chunks) + chunk(b"IEND", b"")


@pytest.mark.parametrize("length", [8192, 2**30])
def test_data_behind_the_picture_of_a_png_are_not_unpacked(length: int) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (400, 1 + 600 * 3), np.uint8)
    rows[:, 0] = 0  # each row's filter: none
    expected = rows[:, 1:].reshape(400, 600, 3)
    for behind in (b"", bytes(20_000_000)):  # a little of it harms nobody
        np.testing.assert_array_equal(decoded("png", png_of(rows.tobytes() + behind, 6, length)), expected)
    with pytest.raises(MayhemError, match="its picture is followed by more data than any encoder writes"):
        decoded("png", png_of(rows.tobytes() + bytes(200_000_000), 6, length))


def test_a_webp_or_tiff_beyond_the_limit_is_refused_by_its_header() -> None:
    for suffix in (".webp", ".tiff"):
        for lossless in ((), (cv2.IMWRITE_WEBP_QUALITY, 101)):
            message = SimpleNamespace(format="", data=encoded(suffix, scene()[..., ::-1], *lossless))
            assert decode_image(message, max_pixels=48 * 64).shape == (48, 64, 3)
            with pytest.raises(MayhemError, match="is 64x48 pixels, more than the 3071"):
                decode_image(message, max_pixels=48 * 64 - 1)


def test_a_tiff_of_floats_is_no_colour() -> None:
    with pytest.raises(MayhemError, match="is a TIFF of 1 channels of 32 bits, compression 1, which is not read"):
        decoded("", encoded(".tiff", np.ones((4, 4), np.float32)))


def test_a_tiff_that_would_take_too_much_is_refused_by_its_header() -> None:
    data = encoded(".tiff", np.zeros((4, 4, 3), np.uint16))
    sides = {tag: data.rindex(struct.pack("<HHIHH", tag, 3, 1, 4, 0)) for tag in (256, 257)}
    for tag, at in sides.items():
        data = data[:at] + struct.pack("<HHIHH", tag, 3, 1, 7000, 0) + data[at + 12 :]
    with pytest.raises(MayhemError, match="take 294000000 bytes when it is unpacked, more than the 200000000 that"):
        decoded("", data)
