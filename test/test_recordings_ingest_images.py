"""Colour and depth come out of an ingest exactly as they were recorded."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_messages import COLOUR, DEPTH, all_bytes, read_table
from PIL import Image
from recordings_writing import START_NS, Written, colour_pixels, header, image, jpeg, jpeg_bytes, write

from mayhem_train.cli import main
from mayhem_train.recordings.depth import DepthImage
from mayhem_train.recordings.ingest.images import depth_metres
from mayhem_train.recordings.ingest.png import png_bytes
from mayhem_train.recordings.recording import Recording

PERIOD = 100_000_000
STAMPS = [START_NS + k * PERIOD for k in range(20)]


def compressed_image(topic: str, log_time_ns: int, form: str, data: bytes) -> Written:
    def make(types: Any) -> Any:
        return types.types["sensor_msgs/msg/CompressedImage"](
            header=header(types, log_time_ns), format=form, data=np.frombuffer(data, np.uint8)
        )

    return Written(topic, "sensor_msgs/msg/CompressedImage", log_time_ns, make)


def ingest(tmp_path: Path, messages: Sequence[Written], *arguments: str, form: str = "mcap") -> Path:
    """The folder of an ingested recording called "drive"."""
    path = write(tmp_path, "drive", form, messages)
    assert main(["ingest", str(path), "--out", str(tmp_path / "out"), *arguments]) == 0
    return tmp_path / "out" / "drive"


def png_layout(data: bytes) -> tuple[int, int]:
    """Bit depth and colour type, from the PNG's header."""
    return struct.unpack_from(">BB", data, 24)


@pytest.mark.parametrize("form", ["mcap", "mcap-zstd", "db3", "bag", "bag-lz4"])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_colour_as_png_is_what_was_recorded(tmp_path: Path, form: str, encoding: str) -> None:
    pictures = [colour_pixels(k, 31, 45) for k in range(3)]
    recorded = [p if encoding == "rgb8" else p[..., ::-1] for p in pictures]
    messages = [image(COLOUR, t, t, np.ascontiguousarray(p), encoding) for t, p in zip(STAMPS, recorded, strict=False)]
    folder = ingest(tmp_path, messages, form=form)
    assert sorted(all_bytes(folder / "colour")) == [f"cam-image/drive-{k:06d}.png" for k in range(3)]
    for k, picture in enumerate(pictures):
        data = (folder / "colour" / "cam-image" / f"drive-{k:06d}.png").read_bytes()
        assert png_layout(data) == (8, 2)
        assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], picture)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 2**32))
def test_every_png_decoder_reads_back_the_very_pixels(height: int, width: int, is_depth: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    pixels: np.ndarray
    if is_depth:
        pixels = generator.integers(0, 2**16, (height, width), np.uint16)
    else:
        pixels = generator.integers(0, 256, (height, width, 3), np.uint8)
    data = png_bytes(pixels)
    by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(by_opencv if is_depth else by_opencv[..., ::-1], pixels)
    by_pillow = Image.open(io.BytesIO(data))  # which checks the chunks' checksums too
    by_pillow.verify()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


def test_a_jpeg_asked_for_as_jpeg_is_copied_byte_for_byte(tmp_path: Path) -> None:
    files = [jpeg_bytes(colour_pixels(k)) for k in range(3)]
    folder = ingest(tmp_path, [jpeg(COLOUR, t, f) for t, f in zip(STAMPS, files, strict=False)], "--colour", "jpg")
    assert all_bytes(folder / "colour") == {f"cam-image/drive-{k:06d}.jpg": f for k, f in enumerate(files)}


def test_a_jpeg_asked_for_as_png_is_what_the_decoder_sees(tmp_path: Path) -> None:
    path = write(tmp_path, "other", "mcap", [jpeg(COLOUR, STAMPS[0], jpeg_bytes(colour_pixels(1)))])
    folder = ingest(tmp_path, [jpeg(COLOUR, STAMPS[0], jpeg_bytes(colour_pixels(1)))])
    found = cv2.imread(str(folder / "colour" / "cam-image" / "drive-000000.png"))
    with Recording(path) as recording:
        assert found is not None
        assert np.array_equal(found[..., ::-1], recording.read_image(COLOUR, 0))


def test_the_jpeg_quality_is_the_one_asked_for(tmp_path: Path) -> None:
    picture = cv2.GaussianBlur(colour_pixels(0, 120, 160), (0, 0), 3)
    message = image(COLOUR, STAMPS[0], STAMPS[0], picture, "rgb8")
    folder = ingest(tmp_path, [message], "--colour", "jpg", "--jpeg-quality", "41")
    expected = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 41])[1].tobytes()
    assert all_bytes(folder / "colour") == {"cam-image/drive-000000.jpg": expected}


def test_the_jpeg_quality_is_95_unless_another_is_asked_for(tmp_path: Path) -> None:
    picture = cv2.GaussianBlur(colour_pixels(0, 120, 160), (0, 0), 3)
    folder = ingest(tmp_path, [image(COLOUR, STAMPS[0], STAMPS[0], picture, "rgb8")], "--colour", "jpg")
    files = [
        cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        for quality in (94, 95, 96)
    ]
    assert [all_bytes(folder / "colour")["cam-image/drive-000000.jpg"] == file for file in files] == [
        False,
        True,
        False,
    ]


EXIF = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"  # turned by a quarter
XMP = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def test_a_copied_jpeg_has_no_orientation_that_label_tools_would_follow(tmp_path: Path) -> None:
    upright = jpeg_bytes(colour_pixels(0, 16, 24))
    tags = b"".join(b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag for tag in (EXIF, XMP))
    comment = b"\xff\xfe\0\x06kept"
    recorded = upright[:20] + tags + comment + upright[20:]
    assert Image.open(io.BytesIO(recorded)).getexif()[274] == 6
    folder = ingest(tmp_path, [jpeg(COLOUR, STAMPS[0], recorded)], "--colour", "jpg")
    written = all_bytes(folder / "colour")["cam-image/drive-000000.jpg"]
    assert written == upright[:20] + comment + upright[20:]
    assert 274 not in Image.open(io.BytesIO(written)).getexif()


def test_a_copied_jpeg_without_an_end_gets_one_and_is_counted(tmp_path: Path) -> None:
    whole = jpeg_bytes(colour_pixels(0, 16, 24))
    folder = ingest(tmp_path, [jpeg(COLOUR, STAMPS[0], whole[:-2])], "--colour", "jpg")
    assert all_bytes(folder / "colour") == {"cam-image/drive-000000.jpg": whole}
    (topic,) = json.loads((folder / "ingest.json").read_text())["topics"]
    assert topic["flaws"] == [{"index": 0, "reason": "its end marker is missing"}]


def test_a_mosaic_is_not_copied_but_written_in_colour(tmp_path: Path) -> None:
    data = jpeg_bytes(np.full((16, 24), 90, np.uint8))
    message = compressed_image(COLOUR, STAMPS[0], "bayer_rggb8; jpeg compressed ", data)
    folder = ingest(tmp_path, [message], "--colour", "jpg")
    written = all_bytes(folder / "colour")["cam-image/drive-000000.jpg"]
    assert cv2.imdecode(np.frombuffer(written, np.uint8), cv2.IMREAD_UNCHANGED).shape == (16, 24, 3)


def test_a_wrong_step_is_said_once_and_every_frame_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def make(types: Any) -> Any:
        made = image(COLOUR, STAMPS[0], STAMPS[0], colour_pixels(0), "rgb8").make(types)
        made.step = 4
        return made

    messages = [Written(COLOUR, "sensor_msgs/msg/Image", stamp, make) for stamp in STAMPS[:5]]
    folder = ingest(tmp_path, messages)
    assert f"5 images on {COLOUR} are flawed, but were decoded: ingest.json says why." in capfd.readouterr().out
    (topic,) = json.loads((folder / "ingest.json").read_text())["topics"]
    assert (topic["extracted"], topic["flawed"]) == (5, 5)
    assert topic["flaws"][0]["reason"] == "step is 4, but the 14400 bytes are rows of 240 without a gap"


@pytest.mark.parametrize("colour", ["png", "jpg"])
def test_flawed_jpegs_are_extracted_counted_and_named_whatever_the_threads(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], colour: str
) -> None:
    good = jpeg_bytes(cv2.GaussianBlur(colour_pixels(0, 480, 640), (0, 0), 2))
    flipped = bytearray(good)
    for at in range(len(good) // 2, len(good) // 2 + 100):
        flipped[at] ^= 0x55
    messages = [jpeg(COLOUR, t, bytes(flipped) if k % 4 == 1 else good) for k, t in enumerate(STAMPS)]
    path = write(tmp_path, "drive", "mcap", messages)
    manifests = set()
    for workers in ("1", "4"):
        out = tmp_path / workers
        assert main(["ingest", str(path), "--out", str(out), "--colour", colour, "--workers", workers]) == 0
        output = capfd.readouterr()
        assert output.err == ""
        assert f"5 images on {COLOUR} are flawed, but were decoded: ingest.json says why." in output.out
        manifests.add((out / "drive" / "ingest.json").read_text())
    (topic,) = json.loads(manifests.pop())["topics"]
    assert manifests == set()
    assert (topic["extracted"], topic["flawed"]) == (20, 5)
    assert [flaw["index"] for flaw in topic["flaws"]] == [1, 5, 9, 13, 17]
    assert {flaw["reason"][:17] for flaw in topic["flaws"]} == {"Corrupt JPEG data"}


@pytest.mark.parametrize("form", ["auto", "png"])
def test_integer_depth_as_png_keeps_every_millimetre(tmp_path: Path, form: str) -> None:
    pixels = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    folder = ingest(tmp_path, [image(DEPTH, STAMPS[0], STAMPS[0], pixels, "16UC1")], "--depth", form)
    data = (folder / "depth" / "cam-depth" / "drive-000000.png").read_bytes()
    assert png_layout(data) == (16, 0)
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), pixels)


def test_integer_depth_as_tiff_is_the_float_nearest_to_its_metres(tmp_path: Path) -> None:
    pixels = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    folder = ingest(tmp_path, [image(DEPTH, STAMPS[0], STAMPS[0], pixels, "16UC1")], "--depth", "tiff")
    found = cv2.imread(str(folder / "depth" / "cam-depth" / "drive-000000.tiff"), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert found.dtype == np.float32
    for value, metres in enumerate(found.reshape(-1)):
        exact = Fraction(value, 1000)
        neighbours = [np.nextafter(metres, np.float32(sign), dtype=np.float32) for sign in (-1, np.inf)]
        assert all(abs(Fraction(float(metres)) - exact) <= abs(Fraction(float(n)) - exact) for n in neighbours)


@pytest.mark.parametrize("form", ["auto", "tiff"])
def test_float_depth_as_tiff_keeps_every_bit(tmp_path: Path, form: str) -> None:
    pixels = np.random.default_rng(0).normal(2, 1, (33, 47)).astype(np.float32)
    pixels[0, :4] = [np.nan, np.inf, 0.0, 1e-40]
    folder = ingest(tmp_path, [image(DEPTH, STAMPS[0], STAMPS[0], pixels, "32FC1")], "--depth", form)
    found = cv2.imread(str(folder / "depth" / "cam-depth" / "drive-000000.tiff"), cv2.IMREAD_UNCHANGED)
    assert found is not None
    assert found.dtype == np.float32
    assert np.array_equal(found, pixels, equal_nan=True)


def test_float_depth_is_refused_as_png_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.ones((4, 4), np.float32)
    path = write(tmp_path, "drive", "mcap", [image(DEPTH, STAMPS[0], STAMPS[0], pixels, "32FC1")])
    assert main(["ingest", str(path), "--out", str(tmp_path / "out"), "--depth", "png"]) == 2
    assert "float metres that a 16-bit PNG cannot hold: pass --depth tiff or auto." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_float_images_among_integer_ones_are_left_out_of_pngs_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = [np.full((4, 4), 7, kind) for kind in (np.uint16, np.float32, np.uint16)]
    messages = [
        image(DEPTH, t, t, p, "16UC1" if p.dtype == np.uint16 else "32FC1")
        for t, p in zip(STAMPS, pixels, strict=False)
    ]
    folder = ingest(tmp_path, messages, "--depth", "png")
    assert sorted(all_bytes(folder / "depth")) == ["cam-depth/drive-000000.png", "cam-depth/drive-000002.png"]
    (topic,) = json.loads((folder / "ingest.json").read_text())["topics"]
    assert topic["skipped"][0]["index"] == 1
    assert "write it as TIFF" in topic["skipped"][0]["reason"]


def test_depth_is_told_from_colour_by_what_it_is_not_by_its_name(tmp_path: Path) -> None:
    pixels = np.full((4, 4), 300, np.uint16)
    sixteen = cv2.imencode(".png", pixels)[1].tobytes()
    messages = [
        image("/depth_cam/color", STAMPS[0], STAMPS[0], colour_pixels(0), "rgb8"),
        image("/range", STAMPS[0], STAMPS[0], pixels, "16UC1"),
        image("/depth/mono", STAMPS[0], STAMPS[0], pixels, "mono16"),
        image("/infrared", STAMPS[0], STAMPS[0], pixels, "mono16"),
        compressed_image("/a/compressedDepth", STAMPS[0], "16UC1; compressedDepth", bytes(12) + sixteen),
        compressed_image("/depth/plain", STAMPS[0], "png", sixteen),
        compressed_image("/depth/shown", STAMPS[0], "jpeg", jpeg_bytes(colour_pixels(1))),
    ]
    files = all_bytes(ingest(tmp_path, messages))
    assert {name.rpartition("/")[0] for name in files if "/" in name} == {
        "colour/depth_cam-color",
        "colour/infrared",
        "colour/depth-shown",
        "depth/range",
        "depth/depth-mono",
        "depth/a-compressedDepth",
        "depth/depth-plain",
    }
    for place in ("range", "depth-mono", "a-compressedDepth", "depth-plain"):
        data = files[f"depth/{place}/drive-000000.png"]
        assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), pixels)


def test_metres_of_float_depth_are_the_recorded_ones() -> None:
    pixels = np.array([[1.5, np.nan]], np.float32)
    assert depth_metres(DepthImage(pixels, 1.0)) is pixels


def test_a_picture_too_wide_for_jpeg_is_skipped_and_named(tmp_path: Path) -> None:
    messages = [image(COLOUR, t, t, colour_pixels(0, 1, w), "rgb8") for t, w in zip(STAMPS, (65_510, 8), strict=False)]
    folder = ingest(tmp_path, messages, "--colour", "jpg")
    (topic,) = json.loads((folder / "ingest.json").read_text())["topics"]
    assert topic["skipped"] == [{"index": 0, "reason": "OpenCV cannot write 65510x1 pixels as jpg."}]
    assert sorted(all_bytes(folder / "colour")) == ["cam-image/drive-000001.jpg"]


def test_an_undecodable_jpeg_in_the_middle_is_skipped_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = jpeg_bytes(colour_pixels(0))
    files = [good, good[: len(good) // 2], b"", good]
    for form in ("jpg", "png"):
        folder = ingest(tmp_path, [jpeg(COLOUR, t, f) for t, f in zip(STAMPS, files, strict=False)], "--colour", form)
        assert sorted(all_bytes(folder / "colour")) == [f"cam-image/drive-{k:06d}.{form}" for k in (0, 3)]
        (topic,) = json.loads((folder / "ingest.json").read_text())["topics"]
        assert (topic["messages"], topic["extracted"]) == (4, 2)
        assert [skipped["index"] for skipped in topic["skipped"]] == [1, 2]
        assert "cut off" in topic["skipped"][0]["reason"]
        rows = read_table(folder / "frames.csv")
        assert [row["frame"] for row in rows] == [f"drive-{k:06d}.png" for k in range(4)]
        assert [bool(row["file"]) for row in rows] == [True, False, False, True]
        assert all(row["stamp_ns"] for row in rows)
        assert "2 of 4 messages on /cam/image could not be extracted" in capsys.readouterr().out
        for path in (tmp_path / "out", tmp_path / "drive"):
            path.rename(path.with_name(f"{path.name}-{form}"))


def test_a_frame_of_another_size_is_written_as_it_is_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = [(60, 80), (30, 40), (60, 80), (80, 60)]
    pictures = [colour_pixels(k, *size) for k, size in enumerate(sizes)]
    folder = ingest(tmp_path, [image(COLOUR, t, t, p, "rgb8") for t, p in zip(STAMPS, pictures, strict=False)])
    for k, picture in enumerate(pictures):
        found = cv2.imread(str(folder / "colour" / "cam-image" / f"drive-{k:06d}.png"))
        assert found is not None
        assert np.array_equal(found[..., ::-1], picture)
    (topic,) = json.loads((folder / "ingest.json").read_text())["topics"]
    assert (topic["width"], topic["height"], topic["other_sizes"]) == (80, 60, 2)
    assert "2 images on /cam/image are not 80x60" in capsys.readouterr().out
