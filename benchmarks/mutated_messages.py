"""Camera messages of every kind with damage in them: bytes, headers and lengths that say what is not so."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

KINDS = ("png", "jpeg", "raw", "webp", "tiff")
_HEIGHT, _WIDTH = 480, 640
_BYTES_A_PIXEL = {"rgb8": 3, "bgra8": 4, "mono16": 2, "bayer_rggb8": 1, "yuyv": 2, "nv12": 1, "i420": 1}  # of luma


@dataclass(frozen=True)
class RawMessage:
    """The fields of a `sensor_msgs/Image`."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: bytes


@dataclass(frozen=True)
class CompressedMessage:
    """The fields of a `sensor_msgs/CompressedImage`."""

    format: str
    data: bytes


def mutated_messages(kind: str, count: int, seed: int = 0) -> Iterator[RawMessage | CompressedMessage]:
    """So many messages of a kind, each whole but for one to four changes; a seed gives the same ones again."""
    random = np.random.default_rng([seed, *kind.encode()])
    whole = _whole_messages(kind)
    for number in range(count):
        message = whole[number % len(whole)]
        for _ in range(int(random.integers(1, 5))):
            if isinstance(message, RawMessage):
                message = _changed_fields(message, random)
            elif kind == "png" and random.random() < 0.5:
                message = replace(message, data=_changed_chunks(message.data, random))
            elif kind == "jpeg" and random.random() < 0.2:
                message = replace(message, data=_claiming_another_size(message.data, random))
            else:
                message = replace(message, data=_changed_bytes(message.data, random))
        yield message


def _whole_messages(kind: str) -> list[RawMessage] | list[CompressedMessage]:
    scene = _scene()
    if kind == "raw":
        return [_raw(scene, encoding) for encoding in _BYTES_A_PIXEL]
    files = {
        "png": [(".png", scene, []), (".png", scene[..., 0].astype(np.uint16) * 257, []), (".png", scene[..., 0], [])],
        "jpeg": [
            (".jpg", scene, []),
            (".jpg", scene, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
            (".jpg", scene, [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]),
            (".jpg", scene[..., 0], []),
        ],
        "webp": [(".webp", scene, [cv2.IMWRITE_WEBP_QUALITY, 80]), (".webp", scene[:240, :320], [])],
        "tiff": [(".tiff", scene, []), (".tiff", scene[..., 0].astype(np.uint16) * 257, [])],
    }
    return [
        CompressedMessage(kind, cv2.imencode(suffix, pixels, settings)[1].tobytes())
        for suffix, pixels, settings in files[kind]
    ]


def _scene() -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def _raw(scene: NDArray[np.uint8], encoding: str) -> RawMessage:
    per_row = _BYTES_A_PIXEL[encoding] * _WIDTH
    rows = _HEIGHT * 3 // 2 if encoding in ("nv12", "i420") else _HEIGHT
    data = np.resize(scene, rows * per_row).tobytes()
    return RawMessage(_HEIGHT, _WIDTH, encoding, 0, per_row, data)


def _changed_fields(message: RawMessage, random: np.random.Generator) -> RawMessage:
    field = str(random.choice(["height", "width", "step", "encoding", "is_bigendian", "data"]))
    if field == "encoding":
        names = ["rgb8", "BGR8", "rgba16", "bayer_gbrg16", "nv24", "yv12", "yuv422p", "rgb565", "jpeg", "png", "32FC1"]
        return replace(message, encoding=str(random.choice([*names, "", "\0", "x" * 9999])))
    if field == "is_bigendian":
        return replace(message, is_bigendian=int(random.integers(0, 256)))
    if field == "data":
        return replace(message, data=_changed_bytes(message.data, random))
    return replace(message, **{field: _number(getattr(message, field), random)})


def _number(number: int, random: np.random.Generator) -> int:
    near = [number - 1, number + 1, number * 2, number // 2, number * 3, 0, 1, 2]
    return int(random.choice([*(max(0, n) for n in near), 2**16, 2**31 - 1, 2**31, 2**32 - 1, random.integers(2**32)]))


def _changed_bytes(data: bytes, random: np.random.Generator) -> bytes:
    """One change; every second one within the first bytes, where headers are."""
    changed = bytearray(data)
    within = min(len(data), 700) if random.random() < 0.5 else len(data)
    if not within:
        return b"\xff"
    at, length = int(random.integers(within)), int(random.integers(1, 40))
    match random.integers(8):
        case 0:
            changed[at] ^= 1 << int(random.integers(8))
        case 1:
            changed[at : at + length] = random.bytes(length)
        case 2:
            size = int(random.choice([1, 2, 4]))
            changed[at : at + size] = random.choice([b"\0", b"\xff", b"\x7f", b"\x80"]) * size
        case 3:
            del changed[at:]
        case 4:
            del changed[at : at + length]
        case 5:
            changed[at:at] = random.bytes(length)
        case 6:
            source = int(random.integers(len(data)))
            changed[at:at] = data[source : source + int(random.integers(1, 5000))]
        case _:
            changed[at:at] = bytes((0xFF, int(random.choice([0xC0, 0xC2, 0xC4, 0xD8, 0xD9, 0xDA, 0xDD, 0xE1, 0xFE]))))
    return bytes(changed)


def _claiming_another_size(data: bytes, random: np.random.Generator) -> bytes:
    """A JPEG with another height and width in its frame header."""
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    if at < 0:
        return data
    size = b"".join(int(2 ** random.uniform(0, 16)).to_bytes(2, "big") for _ in range(2))
    return data[: at + 5] + size + data[at + 9 :]


def _changed_chunks(data: bytes, random: np.random.Generator) -> bytes:
    """A PNG with a chunk that was changed and has a checksum that says it was not, or with one that swells."""
    chunks = list(_chunks(data))
    if not chunks:
        return data
    place = int(random.integers(len(chunks)))
    kind, content = chunks[place]
    match random.integers(5):
        case 0:
            chunks[place] = kind, _changed_bytes(content, random)
        case 1:
            size = struct.pack(">II", *(int(2 ** random.uniform(1, 32)) % 2**31 for _ in range(2)))
            chunks[0] = b"IHDR", size + chunks[0][1][8:]
        case 2:
            chunks[place:place] = [chunks[int(random.integers(len(chunks)))]]
        case 3:
            swelling = zlib.compress(bytes(2**24))
            kind = bytes(random.choice([b"zTXt", b"iCCP", b"iTXt", b"eXIf", b"acTL"]))
            chunks[1:1] = [(kind, b"name\0\0" + swelling)] * 5
        case _:
            chunks[1:1] = [(b"tEXt", b"")] * 5000
    body = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    return data[:8] + body


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length
