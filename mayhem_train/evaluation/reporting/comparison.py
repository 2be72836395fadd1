"""A frame twice as one picture of pixels: what is true on the left, what was predicted on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from mayhem_train.evaluation.reporting.pictures import BoxShape

WIDTH = 480
"""Each of the two copies of the frame is this many pixels wide."""

_GAP = 6
_PAPER, _INK = "#ffffff", "#16202b"
_FONT_SIZE = 13
_TINT = 0.45


@dataclass(frozen=True)
class Drawing:
    """What is drawn over one copy of a frame.

    Attributes:
        boxes: in the pixels of the frame's source.
        mask: uint8 [H, W] of class values, of any size that shows the whole frame; None where there is none.
        surface_colours: a mask value's colour, such as "#19d3a2"; other values are left clear.
    """

    boxes: tuple[BoxShape, ...] = ()
    mask: NDArray[np.uint8] | None = None
    surface_colours: Mapping[int, str] = field(default_factory=dict)


def draw_comparison(
    image: NDArray[np.uint8],
    source_size: tuple[int, int],
    truth: Drawing,
    prediction: Drawing,
    heading: str,
) -> NDArray[np.uint8]:
    """One picture, uint8 [h, 2 * WIDTH + gap, 3] RGB: the frame with its truth, beside it with its prediction.

    Args:
        image: uint8 [H, W, 3] RGB, the whole frame at any size and aspect.
        source_size: (height, width) of the frame in its recording, whose pixels the boxes are in.
        truth: the labels.
        prediction: what the network says.
        heading: stands above the two; wrapped where it is too long for one line.
    """
    height, width = source_size
    scale = WIDTH / width
    size = (WIDTH, max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if image.shape[1] > WIDTH else cv2.INTER_LINEAR
    frame = cv2.resize(image, size, interpolation=interpolation).astype(np.uint8)
    lines = _wrapped(heading, 2 * WIDTH + _GAP - 12)
    top = len(lines) * (_FONT_SIZE + 5) + 6
    paper = Image.new("RGB", (2 * WIDTH + _GAP, top + size[1]), _PAPER)
    draw = ImageDraw.Draw(paper)
    for number, line in enumerate(lines):
        draw.text((6, 4 + number * (_FONT_SIZE + 5)), line, fill=_INK, font=_font())
    for drawing, name, left in ((truth, "truth", 0), (prediction, "prediction", WIDTH + _GAP)):
        paper.paste(_drawn(frame, drawing, scale, name), (left, top))
    return np.asarray(paper)


def stack(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of `draw_comparison` below one another."""
    return np.concatenate(list(pictures), axis=0)


def write_png(picture: NDArray[np.uint8], path: Path) -> None:
    """Writes uint8 [H, W, 3] RGB."""
    Image.fromarray(picture).save(path, compress_level=6)


def _drawn(frame: NDArray[np.uint8], drawing: Drawing, scale: float, name: str) -> Image.Image:
    picture = frame.copy()
    if drawing.mask is not None:
        height, width = frame.shape[:2]
        mask = cv2.resize(drawing.mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        for value, colour in drawing.surface_colours.items():
            where = mask == value
            tinted = (1 - _TINT) * picture[where] + _TINT * np.array(ImageColor.getrgb(colour))
            picture[where] = tinted.round().astype(np.uint8)
            border = where & (cv2.erode(where.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
            picture[border] = ImageColor.getrgb(colour)
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    for box in drawing.boxes:
        left, top = box.x * scale, box.y * scale
        right, bottom = left + max(1.0, box.width * scale), top + max(1.0, box.height * scale)
        draw.rectangle((left, top, right, bottom), outline=box.colour, width=2)
    for box in drawing.boxes:  # after all rectangles, so that none crosses a label
        _label(draw, canvas.size, (box.x * scale, box.y * scale), box.label, box.colour)
    _label(draw, canvas.size, (canvas.size[0], canvas.size[1]), name, "#e8ecf0")
    return canvas


def _label(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], corner: tuple[float, float], text: str, colour: str
) -> None:
    """Text on its colour, above the corner where there is room and always within the picture."""
    wide = draw.textlength(text, font=_font()) + 6
    tall = _FONT_SIZE + 4
    left = min(max(corner[0], 0), max(size[0] - wide, 0))
    top = min(max(corner[1] - tall, 0), max(size[1] - tall, 0))
    draw.rectangle((left, top, left + wide, top + tall), fill=colour)
    draw.text((left + 3, top + 1), text, fill="#111111", font=_font())


def _wrapped(text: str, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _font().getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    """The font that comes with Matplotlib: class names are not only English."""
    import matplotlib  # slow to import, and only pictures need it

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), _FONT_SIZE)
