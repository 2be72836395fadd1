"""A whole scan is a whole picture; damage is told as libjpeg tells it; nothing large is decoded to find out."""

from __future__ import annotations

import os
import tempfile
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mayhem_ros.decoded_image import DecodedImage
from mayhem_ros.errors import MayhemError
from mayhem_ros.image_decoding import decode_image, decode_with_flaws

START, SCAN, END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
NO_END = ("its end marker is missing",)


def picture(seed: int = 0, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1)  # type: ignore[return-value]


def jpeg(pixels: NDArray[np.uint8], *settings: int) -> bytes:
    return bytes(cv2.imencode(".jpg", pixels, settings)[1].tobytes())


def decoded(data: bytes) -> DecodedImage:
    return decode_with_flaws(SimpleNamespace(format="jpeg", data=data))


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]  # type: ignore[return-value]


def complaints_of_libjpeg(data: bytes) -> bool:
    """Whether OpenCV's libjpeg writes a warning to standard error while it decodes."""
    with tempfile.TemporaryFile() as file:
        terminal = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
        file.seek(0)
        return b"JPEG" in file.read()


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """One of three kinds of damage within the scan; the file begins and ends as it should."""
    first = data.index(SCAN) + 20
    at = int(random.integers(first, len(data) - 60))
    match random.integers(3):
        case 0:
            return data[:at] + bytes(byte ^ 0x55 for byte in data[at : at + 30]) + data[at + 30 :]
        case 1:
            return data[:at] + data[at + 20 :]
        case _:
            return data[:at] + END


def test_the_verdicts_are_those_of_libjpegs_warnings() -> None:
    random = np.random.default_rng(0)
    verdicts = []
    for seed in range(200):
        progressive = (cv2.IMWRITE_JPEG_PROGRESSIVE, int(seed % 4 == 2))
        data = jpeg(picture(seed), cv2.IMWRITE_JPEG_QUALITY, 60 + seed % 40, *progressive)
        if seed % 2:
            data = damaged(data, random)
        image = decoded(data)
        assert image.is_damaged == complaints_of_libjpeg(data)
        assert bool(image.flaws) == image.is_damaged
        np.testing.assert_array_equal(image.pixels, pixels_of(data))
        verdicts.append(image.is_damaged)
    assert sum(verdicts[::2]) == 0
    assert sum(verdicts[1::2]) > 50  # of the others a part is still a scan, of another picture


@pytest.mark.parametrize("behind", [b"", b"\xff", bytes(50), b"\0", b"\xff" + bytes(7)])
@pytest.mark.parametrize("progressive", [0, 1])
def test_a_whole_scan_without_an_end_is_a_whole_picture(progressive: int, behind: bytes) -> None:
    whole = jpeg(picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    image = decoded(whole.removesuffix(END) + behind)
    assert (image.flaws, image.is_damaged) == (NO_END, False)
    np.testing.assert_array_equal(image.pixels, pixels_of(whole))


def test_a_picture_that_the_next_one_follows_without_an_end_between_is_whole() -> None:
    first, second = jpeg(picture(0)), jpeg(picture(1))
    image = decoded(first.removesuffix(END) + second)
    assert (image.flaws, image.is_damaged) == (NO_END, False)
    np.testing.assert_array_equal(image.pixels, pixels_of(first))


@pytest.mark.parametrize("behind", [bytes(100), b"\xff\xda garbage", SCAN * 3, jpeg(picture(1)), b"\xff\xc0\xff\xff"])
def test_what_stands_behind_the_end_is_no_flaw(behind: bytes) -> None:
    whole = jpeg(picture())
    image = decoded(whole + behind)
    assert image.flaws == ()
    np.testing.assert_array_equal(image.pixels, pixels_of(whole))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_scan_that_was_cut_off_is_refused_and_with_an_end_put_behind_it_damaged(share: float) -> None:
    cut = jpeg(picture())[: int(len(jpeg(picture())) * share)]
    with pytest.raises(MayhemError, match="is cut off: its end is missing"):
        decoded(cut)
    if SCAN in cut:
        assert decoded(cut + END).is_damaged


def test_the_end_of_a_thumbnail_is_not_the_pictures() -> None:
    whole, thumbnail = jpeg(picture(0)), jpeg(picture(1, 8, 8))
    segment = b"\xff\xe1" + (len(thumbnail) + 8).to_bytes(2, "big") + b"Exif\0\0" + thumbnail
    inside = START + segment + whole[2:]
    np.testing.assert_array_equal(decoded(inside).pixels, pixels_of(whole))
    with pytest.raises(MayhemError, match="is cut off"):
        decoded(inside[: len(segment) + 200])


def test_colours_and_proportions_that_few_cameras_use_are_decoded() -> None:
    four = cv2.cvtColor(picture(), cv2.COLOR_BGR2BGRA)
    for data in (
        jpeg(picture(), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        jpeg(picture(), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411),
        jpeg(picture(), cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        jpeg(four[..., 0]),
    ):
        assert decoded(data).flaws == ()
        np.testing.assert_array_equal(decoded(data).pixels, pixels_of(data))


def test_proportions_that_turbojpeg_does_not_know_are_left_to_opencv() -> None:
    data = bytearray(jpeg(picture(), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444))
    frame = data.index(b"\xff\xc0")
    data[frame + 11] = 0x31  # three samples of luma beside one of colour; the scan then holds too many
    np.testing.assert_array_equal(decode_image(SimpleNamespace(format="", data=bytes(data))), pixels_of(bytes(data)))


def claiming(data: bytes, height: int, width: int) -> bytes:
    """The file with another size in its frame header."""
    at = next(data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data) + 5
    return data[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[at + 4 :]


def test_a_size_beyond_the_limit_is_refused_by_the_header() -> None:
    with pytest.raises(MayhemError, match="65500x65500 pixels, more than the 50000000 that are decoded at most"):
        decoded(claiming(jpeg(picture()), 65500, 65500))
    message = SimpleNamespace(format="jpeg", data=jpeg(picture()))
    assert decode_image(message, max_pixels=48 * 64).shape == (48, 64, 3)
    with pytest.raises(MayhemError, match="64x48 pixels, more than the 3071 that"):
        decode_image(message, max_pixels=48 * 64 - 1)


def test_a_size_that_the_bytes_cannot_hold_is_refused_by_the_header() -> None:
    # 4:2:0 has six blocks in 16x16 pixels, each of two bits at least.
    with pytest.raises(MayhemError, match=r"is cut off: a picture of 7000x7000 needs at least 287328 bytes"):
        decoded(claiming(jpeg(picture()), 7000, 7000))


def test_an_empty_size_is_refused() -> None:
    with pytest.raises(MayhemError, match="is 64x0 pixels: it is empty"):
        decoded(claiming(jpeg(picture()), 0, 64))


def test_more_passes_than_any_encoder_writes_are_refused() -> None:
    data = jpeg(np.full((2000, 2000, 3), 90, np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last_scan = data[data.rindex(SCAN) : -2]
    with pytest.raises(MayhemError, match="would take 1010 passes over 2000x2000 pixels"):
        decoded(data.removesuffix(END) + 1000 * last_scan + END)


def test_bytes_that_fill_the_space_before_a_marker_are_skipped_at_once() -> None:
    data = jpeg(picture())
    filled = START + b"\xff" * 3_000_000
    np.testing.assert_array_equal(decoded(filled + data[2:]).pixels, decoded(data).pixels)
    start = time.process_time()
    with pytest.raises(MayhemError, match="is cut off: its end is missing"):
        decoded(filled)
    assert time.process_time() - start < 0.2


def test_more_segments_than_any_camera_writes_are_refused() -> None:
    data = jpeg(picture())
    with pytest.raises(MayhemError, match="no JPEG frame and scan are found"):
        decoded(START + b"\xff\xfe\0\2" * 100_000 + data[2:])
