"""Everything painted: the textures of things and walls, and the one big picture of the floor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Pyramid = tuple[Picture, Picture, Picture, Picture, Picture]

Tone = tuple[float, float, float]  # sRGB, 0 to 255

TEXTURE_SIZE = 128  # texels
FLOOR_TEXELS_PER_METRE = 40


class Texture(IntEnum):
    """The layers of the atlas."""

    PLAIN = 0
    CARTON_A = 1
    CARTON_B = 2
    CARTON_C = 3
    CARTON_D = 4
    CARTON_TOP = 5
    WRAP_A = 6
    WRAP_B = 7
    CRATE = 8
    CORRUGATED = 9
    WOOD = 10
    HAZARD = 11
    VEST = 12
    CLOTH = 13
    PANEL_WALL = 14
    BRICK_WALL = 15
    CONCRETE = 16
    SIGN_A = 17
    SIGN_B = 18
    SIGN_C = 19
    SIGN_D = 20
    ROBOT_SIDE = 21
    ROBOT_TOP = 22
    GRILLE = 23
    UPRIGHT = 24
    SACK = 25
    DRUM = 26
    TYRE = 27
    METAL = 28
    SHUTTER = 29


@dataclass(frozen=True)
class FloorPlan:
    """What is to be painted where, in metres: aisle centre lines along x, their widths, and the room's size."""

    length: float
    width: float
    aisle_ys: tuple[float, ...]
    aisle_widths: tuple[float, ...]
    cross_xs: tuple[float, float]


def paint_atlas(rng: np.random.Generator) -> Pyramid:
    """All textures, uint8 sRGB [layers, size, size, 3], at full size and four times halved."""
    layers = np.stack([_PAINTERS[texture](rng) for texture in Texture])
    levels = [layers]
    for _ in range(4):
        size = levels[-1].shape[1] // 2
        levels.append(np.stack([cv2.resize(p, (size, size), interpolation=cv2.INTER_AREA) for p in levels[-1]]))
    return levels[0], levels[1], levels[2], levels[3], levels[4]


def paint_floor(plan: FloorPlan, rng: np.random.Generator) -> Pyramid:
    """The floor seen from above, uint8 sRGB [width, length, 3] (row = y, column = x), and four halvings."""
    scale = FLOOR_TEXELS_PER_METRE
    width, length = round(plan.width * scale), round(plan.length * scale)
    base = np.array(_choice(rng, _FLOOR_COLOURS), np.float32) * rng.uniform(0.9, 1.1)
    clouds = _noise(rng, width, length, (4, 12, 40, 160), (1.0, 0.7, 0.5, 0.35))
    picture = base * (1 + rng.uniform(0.06, 0.16) * clouds[..., None])
    _tiles(picture, rng, scale)
    _wear(picture, plan, rng, scale)
    _markings(picture, plan, rng, scale)
    _stains(picture, rng, scale)
    levels = [np.clip(picture, 0, 255).astype(np.uint8)]
    for _ in range(4):
        height, across = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (across // 2, height // 2), interpolation=cv2.INTER_AREA)
        levels.append(half.astype(np.uint8))
    return levels[0], levels[1], levels[2], levels[3], levels[4]


def paint_grain(rng: np.random.Generator) -> NDArray[np.float32]:
    """A small pattern that repeats, float32 [256, 256] about 1: the fine grain of a floor seen from near."""
    grain = rng.normal(size=(256, 256)).astype(np.float32)
    wrapped = np.tile(grain, (3, 3))
    coarse = cv2.GaussianBlur(wrapped, (0, 0), 3)[256:512, 256:512]
    fine = cv2.GaussianBlur(wrapped, (0, 0), 0.8)[256:512, 256:512]
    return np.ascontiguousarray(1 + 0.05 * (coarse / coarse.std() + fine / fine.std()), np.float32)


_FLOOR_COLOURS = (
    (148, 146, 140),
    (165, 160, 150),
    (128, 130, 132),
    (120, 136, 124),
    (116, 130, 144),
    (158, 142, 128),
    (108, 106, 104),
    (176, 176, 172),
)
_LINE_COLOURS = ((222, 186, 40), (225, 225, 218), (190, 60, 45), (60, 110, 175), (230, 200, 70))


def _choice(rng: np.random.Generator, options: tuple[Tone, ...]) -> Tone:
    return options[int(rng.integers(len(options)))]


def _noise(
    rng: np.random.Generator, height: int, width: int, cells: tuple[int, ...], weights: tuple[float, ...]
) -> NDArray[np.float32]:
    """Smooth noise of several sizes, standard deviation 1; `cells` counts the coarse cells across the width."""
    total = np.zeros((height, width), np.float32)
    for count, weight in zip(cells, weights, strict=True):
        coarse = rng.normal(size=(max(2, count * height // width), count)).astype(np.float32)
        total += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return total / max(float(total.std()), 1e-6)


def _tiles(picture: NDArray[np.float32], rng: np.random.Generator, scale: int) -> None:
    """Expansion joints of slabs, or tiles of slightly different tones."""
    height, width = picture.shape[:2]
    tiled = rng.random() < 0.3
    pitch = int((rng.uniform(0.6, 1.3) if tiled else rng.uniform(3.5, 6.0)) * scale)
    if tiled:
        tones = rng.normal(1, 0.035, (height // pitch + 1, width // pitch + 1, 1)).astype(np.float32)
        picture *= np.repeat(np.repeat(tones, pitch, axis=0), pitch, axis=1)[:height, :width]
    for position in range(pitch // 2, width, pitch):
        picture[:, position : position + 1] *= 0.62
    for position in range(pitch // 2, height, pitch):
        picture[position : position + 1] *= 0.62


def _wear(picture: NDArray[np.float32], plan: FloorPlan, rng: np.random.Generator, scale: int) -> None:
    """Tyre marks along the aisles and through their corners, and scratches."""
    layer: NDArray[np.floating[Any]] = np.zeros(picture.shape[:2], np.float32)
    for y, width in zip(plan.aisle_ys, plan.aisle_widths, strict=True):
        for _ in range(int(rng.integers(3, 8))):
            x = np.linspace(rng.uniform(-5, plan.length), rng.uniform(0, plan.length + 5), 60)
            wave = y + rng.normal(0, width / 6) + rng.uniform(0, 0.5) * np.sin(x / rng.uniform(2, 5))
            for track in (0.0, rng.uniform(0.5, 0.9)):
                points = np.stack([x, wave + track], axis=1) * scale
                shade, thickness = float(rng.uniform(0.08, 0.35)), int(rng.integers(3, 8))
                cv2.polylines(layer, [points.astype(np.int32)], False, shade, thickness, cv2.LINE_AA)
        for x0 in plan.cross_xs:
            for _ in range(3):
                centre = (int((x0 + rng.normal(0, 0.6)) * scale), int((y + rng.normal(0, 0.6)) * scale))
                radius, start = int(rng.uniform(0.8, 2.2) * scale), float(rng.uniform(0, 360))
                span = float(rng.uniform(40, 140))
                cv2.ellipse(layer, centre, (radius, radius), 0, start, start + span, 0.3, 5, cv2.LINE_AA)
    layer = cv2.GaussianBlur(layer, (0, 0), 1.2) * (
        0.6 + 0.4 * np.abs(_noise(rng, layer.shape[0], layer.shape[1], (80,), (1.0,)))
    )
    picture *= 1 - np.clip(layer, 0, 0.6)[..., None]
    for _ in range(60):
        place = rng.uniform(0, [plan.length, plan.width]) * scale
        end = place + rng.normal(0, 0.5, 2) * scale
        tone = picture[int(place[1]) - 1, int(place[0]) - 1] * rng.choice([0.75, 1.2])
        cv2.line(picture, _point(place), _point(end), tone.tolist(), 1, cv2.LINE_AA)


def _markings(picture: NDArray[np.float32], plan: FloorPlan, rng: np.random.Generator, scale: int) -> None:
    """Lanes, dashes, crossings, hatched keep-clear areas, arrows, words and the codes AGVs drive by; worn in places."""
    paint = picture.copy()
    lane = _choice(rng, _LINE_COLOURS)
    second = _choice(rng, _LINE_COLOURS)
    thick = max(2, int(rng.uniform(0.06, 0.13) * scale))
    left, right = plan.cross_xs
    for y, width in zip(plan.aisle_ys, plan.aisle_widths, strict=True):
        inset = width / 2 - rng.uniform(0.25, 0.9)
        if rng.random() < 0.85:
            for side in (-inset, inset):
                start, end = (int((left + 1.2) * scale), int((y + side) * scale)), (int((right - 1.2) * scale), 0)
                cv2.line(paint, start, (end[0], start[1]), lane, thick)
        if rng.random() < 0.5:
            for x in np.arange(left, right, 1.6):
                start, end = _point(np.array([x, y]) * scale), _point(np.array([x + 0.8, y]) * scale)
                cv2.line(paint, start, end, second, thick)
        if rng.random() < 0.7:
            x = rng.uniform(left + 2, right - 2)
            for bar_y in np.arange(y - width / 2 + 0.3, y + width / 2 - 0.4, 0.7):
                corner, far = np.array([x, bar_y]) * scale, np.array([x + 1.6, bar_y + 0.35]) * scale
                cv2.rectangle(paint, _point(corner), _point(far), (225, 225, 220), -1)
        for _ in range(int(rng.integers(1, 4))):
            _hatching(paint, rng, np.array([rng.uniform(left, right), y + rng.choice([-1, 1]) * inset]), scale, second)
        for _ in range(int(rng.integers(1, 3))):
            _arrow(paint, np.array([rng.uniform(left, right), y + rng.normal(0, 0.5)]), rng.choice([-1, 1]), scale)
        for _ in range(int(rng.integers(2, 6))):
            side = int(0.18 * scale)
            x0, y0 = _point(np.array([rng.uniform(left, right), y + rng.normal(0, 0.4)]) * scale)
            code = (rng.integers(0, 2, (7, 7, 1)) * 190 + 25).astype(np.float32).repeat(3, axis=2)
            cell = cv2.resize(code, (side, side), interpolation=cv2.INTER_NEAREST)
            target = paint[y0 : y0 + side, x0 : x0 + side]
            target[:] = cell[: target.shape[0], : target.shape[1]]
        word = str(rng.choice(["STOP", "SLOW", "A1", "B2", "07", "KEEP CLEAR", "DOCK"]))
        column, row = _point(np.array([rng.uniform(left, right - 4), y]) * scale)
        patch = np.ascontiguousarray(paint[row - 32 : row + 32, column : column + 4 * scale][::-1])
        cv2.putText(patch, word, (4, 48), cv2.FONT_HERSHEY_DUPLEX, scale / 28, lane, 4, cv2.LINE_AA)
        paint[row - 32 : row + 32, column : column + 4 * scale] = patch[::-1]  # rows count along y, words down
    worn = np.clip(0.78 + 0.28 * _noise(rng, picture.shape[0], picture.shape[1], (60, 240), (1.0, 1.0)), 0.1, 0.95)
    picture += (paint - picture) * worn[..., None]


def _hatching(
    paint: NDArray[np.float32], rng: np.random.Generator, centre: NDArray[np.float64], scale: int, colour: Tone
) -> None:
    size = rng.uniform([0.8, 0.5], [2.4, 1.2])
    x0, y0 = np.maximum(_point((centre - size / 2) * scale), 0)
    x1, y1 = _point((centre + size / 2) * scale)
    patch = paint[y0:y1, x0:x1]
    rows, columns = np.mgrid[0 : patch.shape[0], 0 : patch.shape[1]]
    patch[(rows + columns) % 16 < 6] = colour
    cv2.rectangle(paint, (int(x0), int(y0)), (int(x1), int(y1)), colour, 3)


def _arrow(paint: NDArray[np.float32], place: NDArray[np.float64], direction: int, scale: int) -> None:
    outline = np.array([[0, -0.08], [0.7, -0.08], [0.7, -0.25], [1.2, 0], [0.7, 0.25], [0.7, 0.08], [0, 0.08]])
    points = ((outline * [direction, 1] + place) * scale).astype(np.int32)
    cv2.fillPoly(paint, [points], (222, 222, 215), cv2.LINE_AA)


def _stains(picture: NDArray[np.float32], rng: np.random.Generator, scale: int) -> None:
    """Dark spills, pale patches of repair and dust."""
    height, width = picture.shape[:2]
    layer = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(25, 60))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = _point(rng.uniform(0.05, 0.6, 2) * scale)
        depth = float(rng.uniform(-0.18, 0.4))
        cv2.ellipse(layer, centre, axes, float(rng.uniform(0, 180)), 0, 360, depth, -1, cv2.LINE_AA)
    layer = cv2.GaussianBlur(layer, (0, 0), 3) * (0.8 + 0.4 * _noise(rng, height, width, (120,), (1.0,)))
    picture *= 1 - np.clip(layer, -0.2, 0.6)[..., None]


def _point(position: NDArray[np.float64]) -> tuple[int, int]:
    return int(position[0]), int(position[1])


def _canvas(colour: Tone, rng: np.random.Generator, mottle: float = 6.0) -> NDArray[np.float32]:
    clouds = _noise(rng, TEXTURE_SIZE, TEXTURE_SIZE, (4, 16, 64), (1.0, 0.6, 0.5))
    return np.asarray(colour, np.float32) + mottle * clouds[..., None]


def _finished(canvas: NDArray[np.floating[Any]]) -> Picture:
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _plain(rng: np.random.Generator) -> Picture:
    return _finished(_canvas((243, 243, 243), rng, 4))


def _edged(canvas: NDArray[np.float32], shade: float = 0.8) -> NDArray[np.float32]:
    """Worn, darker rims: what tells one face of a carton from the next."""
    rim = np.ones(canvas.shape[:2], np.float32)
    cv2.rectangle(rim, (0, 0), (TEXTURE_SIZE - 1, TEXTURE_SIZE - 1), shade * 0.8, 3)
    return canvas * cv2.GaussianBlur(rim, (0, 0), 1.2)[..., None]


def _carton(rng: np.random.Generator) -> Picture:
    canvas = _canvas((226, 214, 198), rng, 5)
    rows = np.arange(TEXTURE_SIZE)[:, None, None]
    canvas -= 5 * np.sin(rows * 2.1)  # the flutes
    if rng.random() < 0.8:
        tape = int(rng.integers(50, 70))
        canvas[:, tape : tape + 13] *= np.array(_choice(rng, ((0.82, 0.74, 0.6), (1.06, 1.06, 1.06), (0.7, 0.6, 0.5))))
    if rng.random() < 0.75:
        x, y = int(rng.integers(8, 70)), int(rng.integers(20, 80))
        w, h = int(rng.integers(25, 48)), int(rng.integers(18, 34))
        cv2.rectangle(canvas, (x, y), (x + w, y + h), (244, 244, 240), -1)
        for line in range(y + 4, y + h - 3, 5):
            cv2.line(canvas, (x + 3, line), (x + int(w * rng.uniform(0.5, 0.9)), line), (60, 60, 60), 1)
    if rng.random() < 0.6:
        ink = _choice(rng, ((70, 60, 55), (40, 70, 130), (150, 45, 40), (45, 100, 60)))
        for x in (20, 96):
            cv2.arrowedLine(canvas, (x, 118), (x, 96), ink, 3, cv2.LINE_AA, 0, 0.4)
        word = str(rng.choice(["FRAGILE", "ACME", "BOLTS", "ORBIT", "THIS UP", "PARTS"]))
        cv2.putText(canvas, word, (22, int(rng.integers(18, 40))), cv2.FONT_HERSHEY_DUPLEX, 0.62, ink, 1, cv2.LINE_AA)
    return _finished(_edged(canvas))


def _carton_top(rng: np.random.Generator) -> Picture:
    canvas = _canvas((230, 219, 204), rng, 5)
    canvas[56:72] *= np.array((0.86, 0.79, 0.66))
    canvas[63:65] *= 0.6
    return _finished(_edged(canvas, 0.9))


def _wrap(rng: np.random.Generator) -> Picture:
    canvas = _canvas((205, 208, 214), rng, 16)
    for _ in range(60):
        y = int(rng.integers(TEXTURE_SIZE))
        end = (TEXTURE_SIZE, y + int(rng.normal(0, 14)))
        cv2.line(canvas, (0, y), end, _grey(float(rng.uniform(140, 255))), 1, cv2.LINE_AA)
    for y in (0, 42, 84):
        canvas[y : y + 2] *= 0.72
    canvas[:, 63:65] *= 0.78
    return _finished(_edged(canvas, 0.9))


def _crate(rng: np.random.Generator) -> Picture:
    canvas = _canvas((222, 222, 222), rng, 4)
    for y in range(14, 116, 26):
        canvas[y : y + 12, 8:120] *= 0.72
    for x in range(6, 128, 28):
        canvas[:, x : x + 4] *= 1.14
    canvas[10:20, 46:82] *= 0.25
    return _finished(_edged(canvas))


def _corrugated(rng: np.random.Generator) -> Picture:
    ridges = 22 * np.sin(np.arange(TEXTURE_SIZE) * 2 * np.pi / 16)[None, :, None]
    return _finished(_canvas((205, 206, 206), rng, 5) + ridges)


def _shutter(rng: np.random.Generator) -> Picture:
    slats = np.where(np.arange(TEXTURE_SIZE) % 16 < 2, 0.65, 1.0)[:, None, None]
    return _finished(_canvas((222, 222, 222), rng, 5) * slats)


def _wood(rng: np.random.Generator) -> Picture:
    grain = np.repeat(rng.normal(0, 11, (TEXTURE_SIZE, 1, 1)), TEXTURE_SIZE, axis=1)
    canvas = _canvas((196, 160, 112), rng, 8) + grain
    canvas[::32] *= 0.4
    return _finished(canvas)


def _hazard(rng: np.random.Generator) -> Picture:
    canvas = _canvas((232, 190, 35), rng, 6)
    rows, columns = np.mgrid[0:TEXTURE_SIZE, 0:TEXTURE_SIZE]
    canvas[(rows + columns) % 64 < 32] = (32, 31, 30)
    return _finished(canvas)


def _vest(rng: np.random.Generator) -> Picture:
    canvas = _canvas((238, 238, 238), rng, 6)
    for y in (34, 84):
        canvas[y : y + 15] = (205, 207, 210)
        canvas[y - 2 : y] *= 0.7
    canvas[:, 28:38] = (205, 207, 210)
    canvas[:, 90:100] = (205, 207, 210)
    return _finished(canvas)


def _cloth(rng: np.random.Generator) -> Picture:
    return _finished(_canvas((226, 226, 226), rng, 16))


def _panel_wall(rng: np.random.Generator) -> Picture:
    canvas = _canvas((232, 232, 230), rng, 4)
    canvas[:, :2] *= 0.7
    canvas[60:62] *= 0.85
    return _finished(canvas)


def _brick_wall(rng: np.random.Generator) -> Picture:
    canvas = _canvas((222, 216, 210), rng, 8)
    for row, y in enumerate(range(0, TEXTURE_SIZE, 16)):
        for x in range(-16 * (row % 2), TEXTURE_SIZE, 32):
            canvas[y : y + 16, max(x, 0) : max(x + 32, 0)] *= float(rng.normal(1, 0.05))
            canvas[y : y + 16, max(x, 0) : max(x, 0) + 2] *= 0.8
        canvas[y : y + 2] *= 0.8
    return _finished(canvas)


def _concrete(rng: np.random.Generator) -> Picture:
    return _finished(_canvas((205, 203, 198), rng, 12))


def _sign(rng: np.random.Generator) -> Picture:
    ground = _choice(rng, ((30, 90, 170), (225, 190, 30), (185, 40, 35), (235, 235, 235), (30, 130, 70)))
    ink = (25, 25, 25) if sum(ground) > 420 else (240, 240, 240)
    canvas = _canvas(ground, rng, 4)
    cv2.rectangle(canvas, (4, 4), (123, 123), ink, 3)
    if rng.random() < 0.5:
        cv2.fillPoly(canvas, [np.array([[64, 20], [106, 84], [22, 84]], np.int32)], ink)
    else:
        cv2.circle(canvas, (64, 52), 32, ink, 6, cv2.LINE_AA)
    word = str(rng.choice(["EXIT", "B-12", "DANGER", "AISLE 4", "DOCK", "PPE", "HALL 2"]))
    cv2.putText(canvas, word, (18, 112), cv2.FONT_HERSHEY_DUPLEX, 0.75, ink, 2, cv2.LINE_AA)
    return _finished(canvas)


def _robot_side(rng: np.random.Generator) -> Picture:
    canvas = _canvas((228, 228, 230), rng, 3)
    canvas[88:] *= 0.22  # the skirt
    canvas[44:54] = (40, 42, 45)
    cv2.circle(canvas, (20, 70), 7, (40, 40, 42), -1, cv2.LINE_AA)
    cv2.circle(canvas, (108, 70), 7, (40, 40, 42), -1, cv2.LINE_AA)
    cv2.putText(
        canvas, str(rng.choice(["AGV", "MR-7", "TUG"])), (42, 34), cv2.FONT_HERSHEY_DUPLEX, 0.7, (40, 45, 60), 2
    )
    return _finished(_edged(canvas, 0.9))


def _robot_top(rng: np.random.Generator) -> Picture:
    canvas = _canvas((190, 192, 196), rng, 5)
    cv2.rectangle(canvas, (14, 14), (113, 113), (70, 72, 75), 2)
    cv2.circle(canvas, (64, 64), 22, (60, 62, 66), -1, cv2.LINE_AA)
    return _finished(_edged(canvas, 0.9))


def _grille(rng: np.random.Generator) -> Picture:
    canvas = _canvas((70, 70, 72), rng, 3)
    canvas[np.arange(TEXTURE_SIZE) % 12 < 6] *= 0.35
    return _finished(canvas)


def _upright(rng: np.random.Generator) -> Picture:
    canvas = _canvas((230, 230, 230), rng, 4)
    for y in range(8, TEXTURE_SIZE, 16):
        canvas[y : y + 7, 30:48] *= 0.2
        canvas[y : y + 7, 80:98] *= 0.2
    return _finished(canvas)


def _sack(rng: np.random.Generator) -> Picture:
    canvas = _canvas((214, 208, 192), rng, 14)
    for y in range(0, TEXTURE_SIZE, 32):
        canvas[y : y + 4] *= 0.55
    return _finished(canvas)


def _drum(rng: np.random.Generator) -> Picture:
    canvas = _canvas((226, 226, 226), rng, 6)
    for y in (4, 42, 84, 120):
        canvas[y : y + 4] *= 1.1
        canvas[y + 4 : y + 7] *= 0.6
    return _finished(canvas)


def _tyre(rng: np.random.Generator) -> Picture:
    canvas = _canvas((48, 47, 46), rng, 4)
    canvas[:, np.arange(TEXTURE_SIZE) % 16 < 5] *= 0.6
    return _finished(canvas)


def _metal(rng: np.random.Generator) -> Picture:
    brushed = np.repeat(rng.normal(0, 7, (1, TEXTURE_SIZE, 1)), TEXTURE_SIZE, axis=0)
    return _finished(_canvas((200, 202, 206), rng, 5) + brushed)


def _grey(value: float) -> tuple[float, float, float]:
    return value, value, value


_PAINTERS = {
    Texture.PLAIN: _plain,
    Texture.CARTON_A: _carton,
    Texture.CARTON_B: _carton,
    Texture.CARTON_C: _carton,
    Texture.CARTON_D: _carton,
    Texture.CARTON_TOP: _carton_top,
    Texture.WRAP_A: _wrap,
    Texture.WRAP_B: _wrap,
    Texture.CRATE: _crate,
    Texture.CORRUGATED: _corrugated,
    Texture.WOOD: _wood,
    Texture.HAZARD: _hazard,
    Texture.VEST: _vest,
    Texture.CLOTH: _cloth,
    Texture.PANEL_WALL: _panel_wall,
    Texture.BRICK_WALL: _brick_wall,
    Texture.CONCRETE: _concrete,
    Texture.SIGN_A: _sign,
    Texture.SIGN_B: _sign,
    Texture.SIGN_C: _sign,
    Texture.SIGN_D: _sign,
    Texture.ROBOT_SIDE: _robot_side,
    Texture.ROBOT_TOP: _robot_top,
    Texture.GRILLE: _grille,
    Texture.UPRIGHT: _upright,
    Texture.SACK: _sack,
    Texture.DRUM: _drum,
    Texture.TYRE: _tyre,
    Texture.METAL: _metal,
    Texture.SHUTTER: _shutter,
}
