"""Depth keeps its metres: every value is the recorded one, whatever wrote it."""

from __future__ import annotations

import sqlite3
import struct
from array import array
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from recordings_writing import DEPTH, START_NS, header, image, write
from recordings_writing import Written as Message
from rosbags.typesys.store import Typestore

from mayhem_ros.errors import MayhemError, UsageError
from mayhem_train.recordings.depth import decode_depth
from mayhem_train.recordings.recording import Recording
from mayhem_train.recordings.rvl import decode_rvl

# What compressed_depth_image_transport has by default: metres beyond which nothing is kept, and its quantisation.
DEPTH_MAX, QUANTISATION = 10.0, 100.0


def millimetres(height: int = 13, width: int = 17) -> NDArray[np.uint16]:
    pixels = np.random.default_rng(3).integers(1, 65536, (height, width), np.uint16)
    pixels[2:5, 3:9] = 0
    pixels[-1, -1] = 65535
    return pixels


def metres(height: int = 13, width: int = 17) -> NDArray[np.float32]:
    pixels = np.random.default_rng(4).uniform(0.3, 9.5, (height, width)).astype(np.float32)
    pixels[1, 1], pixels[2, 2] = np.nan, np.inf
    return pixels


def raw_message(pixels: NDArray[np.generic], encoding: str, padding: int, big_endian: bool) -> SimpleNamespace:
    rows = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<")).tobytes()
    size = len(rows) // len(pixels)
    padded = b"".join(rows[at : at + size] + b"\xab" * padding for at in range(0, len(rows), size))
    height, width = pixels.shape
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=size + padding,
        data=array("B", padded),
    )


def compressed(data: bytes, format_: str) -> SimpleNamespace:
    return SimpleNamespace(format=format_, data=array("B", data))


def png(pixels: NDArray[np.generic]) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def rvl(pixels: NDArray[np.uint16]) -> bytes:
    """The paper's encoder with the transport's size in front."""
    nibbles: list[int] = []

    def put(value: int) -> None:
        while True:
            value, low = value >> 3, value & 7
            nibbles.append(low | 8 if value else low)
            if not value:
                return

    values, at, previous = pixels.ravel().tolist(), 0, 0
    while at < len(values):
        zeros = next((n for n, v in enumerate(values[at:]) if v), len(values) - at)
        put(zeros)
        at += zeros
        count = next((n for n, v in enumerate(values[at:]) if not v), len(values) - at)
        put(count)
        for value in values[at : at + count]:
            difference = value - previous
            put(2 * difference if difference >= 0 else -2 * difference - 1)
            previous = value
        at += count
    nibbles += [0] * (-len(nibbles) % 8)
    words = [int("".join(f"{n:x}" for n in nibbles[i : i + 8]), 16) for i in range(0, len(nibbles), 8)]
    height, width = pixels.shape
    return struct.pack(f"<II{len(words)}I", width, height, *words)


def transported(pixels: NDArray[np.generic], form: str) -> bytes:
    """What compressed_depth_image_transport makes of an image: a header of 12 bytes, then PNG or RVL."""
    a = b = 0.0
    if pixels.dtype == np.float32:
        a = QUANTISATION * (QUANTISATION + 1)
        b = 1 - a / DEPTH_MAX
        with np.errstate(invalid="ignore"):
            pixels = np.where(pixels < DEPTH_MAX, a / pixels + b, 0)
        pixels = np.nan_to_num(pixels).astype(np.uint16)
    return struct.pack("<iff", 0, a, b) + (png(pixels) if form == "png" else rvl(pixels.astype(np.uint16)))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 2, 30])
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_millimetres_are_those_recorded(encoding: str, padding: int, big_endian: bool) -> None:
    depth = decode_depth(raw_message(millimetres(), encoding, padding, big_endian))
    assert depth.metres_per_unit == 0.001
    assert depth.pixels.dtype == np.uint16
    assert depth.pixels.dtype.isnative
    np.testing.assert_array_equal(depth.pixels, millimetres())


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_metres_are_those_recorded_with_their_nan_and_infinity(padding: int, big_endian: bool) -> None:
    depth = decode_depth(raw_message(metres(), "32FC1", padding, big_endian))
    assert depth.metres_per_unit == 1.0
    assert depth.pixels.dtype == np.float32
    assert depth.pixels.dtype.isnative
    np.testing.assert_array_equal(depth.pixels, metres())


@pytest.mark.parametrize(
    ("form", "format_"),
    [
        ("png", "16UC1; compressedDepth"),
        ("png", "16UC1; compressedDepth png"),
        ("png", "16UC1"),
        ("png", "mono16; compressedDepth png"),
        ("rvl", "16UC1; compressedDepth rvl"),
    ],
)
@pytest.mark.parametrize("pixels", [millimetres(), np.zeros((5, 7), np.uint16), np.full((1, 1), 65535, np.uint16)])
def test_compressed_millimetres_are_those_recorded(form: str, format_: str, pixels: NDArray[np.uint16]) -> None:
    depth = decode_depth(compressed(transported(pixels, form), format_))
    assert depth.metres_per_unit == 0.001
    assert depth.pixels.dtype == np.uint16
    np.testing.assert_array_equal(depth.pixels, pixels)


@pytest.mark.parametrize(
    ("form", "format_"),
    [
        ("png", "32FC1; compressedDepth"),
        ("png", "32FC1; compressedDepth png"),
        ("rvl", "32FC1; compressedDepth rvl"),
    ],
)
def test_compressed_metres_come_back_within_one_step_of_their_quantisation(form: str, format_: str) -> None:
    depth = decode_depth(compressed(transported(metres(), form), format_))
    assert depth.metres_per_unit == 1.0
    assert depth.pixels.dtype == np.float32
    measured = np.isfinite(metres())
    assert np.isnan(depth.pixels[~measured]).all()
    error = depth.pixels[measured] - metres()[measured]
    step = metres()[measured] ** 2 / (QUANTISATION * (QUANTISATION + 1))  # of depth for one of inverse depth
    assert (np.abs(error) <= 1.01 * step + 1e-5).all()
    assert error.max() > 1e-6  # it is a lossy format; what we compare is not the input itself


def test_the_quantisation_is_undone_by_the_transports_own_formula() -> None:
    quantised = np.array([[0, 1, 100, 65535]], np.uint16)
    data = struct.pack("<iff", 0, 10100.0, -1009.0) + png(quantised)
    depth = decode_depth(compressed(data, "32FC1; compressedDepth png"))
    np.testing.assert_array_equal(
        depth.pixels, np.array([[np.nan, 10100 / 1010, 10100 / 1109, 10100 / 66544]], np.float32)
    )


@pytest.mark.parametrize(
    "format_", ["16UC1; png compressed ", "mono16; png compressed", "png", "16UC1; compressedDepth"]
)
def test_a_plain_16_bit_png_is_depth_without_a_header(format_: str) -> None:
    depth = decode_depth(compressed(png(millimetres()), format_))
    np.testing.assert_array_equal(depth.pixels, millimetres())
    assert (depth.pixels.dtype, depth.metres_per_unit) == (np.uint16, 0.001)


def test_a_plain_tiff_of_metres_is_depth() -> None:
    data = bytes(cv2.imencode(".tiff", metres())[1].tobytes())
    depth = decode_depth(compressed(data, "32FC1; tiff compressed "))
    np.testing.assert_array_equal(depth.pixels, metres())
    assert (depth.pixels.dtype, depth.metres_per_unit) == (np.float32, 1.0)


@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "8UC1", "16SC1", "64FC1", ""])
def test_other_encodings_are_no_depth(encoding: str) -> None:
    message = raw_message(millimetres(), encoding, 0, False)
    with pytest.raises(MayhemError, match=f"encoding is '{encoding}', which is no depth"):
        decode_depth(message)


@pytest.mark.parametrize(
    ("data", "format_", "reason"),
    [
        (png(millimetres().astype(np.uint8)), "16UC1; compressedDepth png", "13x17 pixels of uint8, which is no depth"),
        (png(np.zeros((4, 5, 3), np.uint8)), "png", "4x5x3 pixels of uint8, which is no depth"),
        (bytes(12) + png(millimetres())[:-20], "16UC1; compressedDepth png", "cut off"),
        (transported(millimetres(), "rvl")[:-8], "16UC1; compressedDepth rvl", "13.*cut off or damaged"),
        (bytes(12) + struct.pack("<II", 2**31, 2**31), "16UC1; compressedDepth rvl", "claims 2147483648x2147483648"),
        (bytes(12), "16UC1; compressedDepth rvl", "claims 0x0 pixels"),
        (bytes(40), "16UC1; compressedDepth png", "no depth, or damaged: it starts with 00 00"),
        (b"", "16UC1; compressedDepth png", "starts with nothing"),
        (b"\xff\xd8\xff\xe0abc", "jpeg", "no depth, or damaged: it starts with ff d8"),
        (transported(millimetres(), "png"), "compressedDepth", "does not say whether it is 16UC1 or 32FC1"),
        (png(millimetres()), "32FC1; compressedDepth png", "lacks the header"),
    ],
)
def test_what_cannot_be_decoded_as_depth_says_why(data: bytes, format_: str, reason: str) -> None:
    with pytest.raises(MayhemError, match=reason):
        decode_depth(compressed(data, format_))


def test_damaged_rvl_never_reads_or_writes_beyond_its_bytes() -> None:
    whole = rvl(millimetres())
    random = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole[: random.integers(8, len(whole) + 1)])
        for at in random.integers(8, max(9, len(data)), 3):
            data[min(at, len(data) - 1)] = random.integers(0, 256)
        try:
            pixels = decode_rvl(bytes(data))
        except MayhemError:
            continue
        assert pixels.dtype == np.uint16


def test_another_message_is_no_depth() -> None:
    with pytest.raises(MayhemError, match="is no sensor_msgs/Image or CompressedImage"):
        decode_depth(SimpleNamespace(data=array("B")))


@pytest.mark.parametrize("form", ["mcap", "db3", "bag"])
def test_a_recording_gives_depth_by_topic_and_index(tmp_path: Path, form: str) -> None:
    packed = "/camera/depth/image_raw/compressedDepth"
    messages = [image(DEPTH, START_NS + i, START_NS + i, millimetres() + np.uint16(i), "16UC1") for i in range(3)]
    messages.append(_compressed_depth(packed, transported(metres(), "png"), "32FC1; compressedDepth png"))
    with Recording(write(tmp_path, "drive", form, messages)) as recording:
        for index in (2, 0, 1):
            np.testing.assert_array_equal(recording.read_depth(DEPTH, index).pixels, millimetres() + np.uint16(index))
        assert np.nanmax(recording.read_depth(packed, 0).pixels) == pytest.approx(
            np.nanmax(metres()[np.isfinite(metres())]), 0.01
        )
        assert all(recording.is_depth(topic) for topic in recording.image_topics)


def test_the_encoding_tells_depth_from_colour_and_names_only_where_it_does_not(tmp_path: Path) -> None:
    grey, tiff = millimetres(), bytes(cv2.imencode(".tiff", metres())[1].tobytes())
    colour = np.full((13, 17, 3), 90, np.uint8)
    jpeg_of_colour = bytes(cv2.imencode(".jpg", colour)[1].tobytes())
    depth = {
        "/a": image("/a", START_NS, START_NS, grey, "16UC1"),
        "/b": image("/b", START_NS, START_NS, metres(), "32FC1"),
        "/depth_camera/grey": image("/depth_camera/grey", START_NS, START_NS, grey, "mono16"),
        "/c": _compressed_depth("/c", transported(grey, "png"), "16UC1; compressedDepth png"),
        "/d": _compressed_depth("/d", tiff, "32FC1; tiff compressed "),
        "/depth/png": _compressed_depth("/depth/png", png(grey), "png"),
    }
    other = {
        "/depth_camera/rgb": image("/depth_camera/rgb", START_NS, START_NS, colour, "rgb8"),
        "/depth_camera/infra": image("/depth_camera/infra", START_NS, START_NS, colour[..., 0].copy(), "mono8"),
        "/thermal": image("/thermal", START_NS, START_NS, grey, "mono16"),
        "/depth_camera/jpeg": _compressed_depth("/depth_camera/jpeg", jpeg_of_colour, "rgb8; jpeg compressed bgr8"),
        "/depth_camera/png": _compressed_depth("/depth_camera/png", png(colour), "png"),
        "/thermal/png": _compressed_depth("/thermal/png", png(grey), "png"),
    }
    path = write(tmp_path, "drive", "mcap", [*depth.values(), *other.values()])
    with Recording(path) as recording:
        assert {topic.name: recording.is_depth(topic) for topic in recording.image_topics} == {
            **dict.fromkeys(depth, True),
            **dict.fromkeys(other, False),
        }


def test_the_colour_of_a_depth_camera_is_found_beside_its_depth(tmp_path: Path) -> None:
    colour, depth = "/depth_camera/image_raw", "/depth_camera/depth/image_raw"  # as a simulator names them
    messages = [
        image(colour, START_NS, START_NS, np.zeros((4, 5, 3), np.uint8), "rgb8"),
        image(depth, START_NS, START_NS, metres(), "32FC1"),
    ]
    with Recording(write(tmp_path, "drive", "mcap", messages)) as recording:
        assert recording.image_topic(None).name == colour


@pytest.mark.parametrize(("damaged", "chosen"), [(1, ("/cam",)), (3, ("/cam", "/near"))])
def test_a_damaged_first_message_does_not_hide_what_a_topic_holds(
    tmp_path: Path, damaged: int, chosen: tuple[str, ...]
) -> None:
    messages = [image("/cam", START_NS, START_NS, np.zeros((4, 5, 3), np.uint8), "rgb8")]
    messages += [image("/near", START_NS + i, START_NS + i, millimetres(), "16UC1") for i in range(3)]
    messages += [image("/depth", START_NS + i, START_NS + i, millimetres(), "16UC1") for i in range(3)]
    path = write(tmp_path, "drive", "db3", messages)
    with sqlite3.connect(path / "drive.db3") as database:
        rows = "SELECT m.id FROM messages m JOIN topics t ON t.id = topic_id WHERE name IN ('/near', '/depth')"
        database.execute(f"UPDATE messages SET data = x'00' WHERE timestamp < {START_NS + damaged} AND id IN ({rows})")
    with Recording(path) as recording:
        assert tuple(t.name for t in recording.image_topics if not recording.is_depth(t)) == chosen
        if damaged == 1:
            assert recording.image_topic(None).name == "/cam"
        else:  # all of /near is gone, and its name says nothing; that of /depth does
            with pytest.raises(UsageError, match=r"several cameras: choose a topic, /cam \(\S+\), /near \(\S+\)\.$"):
                recording.image_topic(None)


def test_an_image_that_is_no_depth_is_named_with_its_message(tmp_path: Path) -> None:
    path = write(tmp_path, "drive", "mcap", [image("/cam", START_NS, START_NS, np.zeros((4, 5, 3), np.uint8), "rgb8")])
    with Recording(path) as recording, pytest.raises(MayhemError, match=f"Message 0 on /cam of {path} .* is no depth"):
        recording.read_depth("/cam", 0)


def _compressed_depth(topic: str, data: bytes, format_: str) -> Message:
    def make(types: Typestore) -> object:
        return types.types["sensor_msgs/msg/CompressedImage"](
            header=header(types, START_NS), format=format_, data=np.frombuffer(data, np.uint8)
        )

    return Message(topic, "sensor_msgs/msg/CompressedImage", START_NS, make)
