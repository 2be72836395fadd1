"""Forklifts with mast, forks and cage, and flat transport robots (AGVs) of varied size; x is forward."""

from __future__ import annotations

import numpy as np

from mayhem_train.recordings.warehouse.mesh import Colour, Mesh, Skin, ball, bar, block, merged, tube
from mayhem_train.recordings.warehouse.paint import Texture

_BLACK = Skin(Texture.PLAIN, (0.12, 0.12, 0.13), gloss=0.15)
_STEEL = Skin(Texture.METAL, (0.55, 0.56, 0.58), gloss=0.3)
_RUBBER = Skin(Texture.TYRE)
_FORKLIFT_COLOURS = (
    (0.95, 0.55, 0.08),
    (0.92, 0.75, 0.1),
    (0.75, 0.12, 0.1),
    (0.15, 0.5, 0.25),
    (0.12, 0.3, 0.6),
    (0.75, 0.76, 0.78),
)
_ROBOT_COLOURS = (
    (0.92, 0.92, 0.94),
    (0.95, 0.5, 0.1),
    (0.2, 0.45, 0.8),
    (0.35, 0.37, 0.4),
    (0.75, 0.8, 0.2),
    (0.2, 0.65, 0.6),
    (0.16, 0.17, 0.19),
)
SEAT_HEIGHT = 0.62  # metres: where a driver's pelvis is, less a standing person's 0.9


def forklift(rng: np.random.Generator, fork_height: float) -> Mesh:
    """A counterbalance truck about 3 m long with its forks, 1.2 m wide and 2.2 m high."""
    colour = _shade_of(rng, _FORKLIFT_COLOURS)
    paint = Skin(Texture.PLAIN, colour, gloss=0.35)
    dark = Skin(Texture.PLAIN, (0.2, 0.2, 0.22), gloss=0.1)
    width = rng.uniform(1.05, 1.2)
    roof = rng.uniform(2.05, 2.2)
    mast_height = roof + rng.uniform(0.0, 0.35)
    parts = [
        block((0.75, width, 0.62), paint, (-0.72, 0, 0.26)),  # counterweight
        block((0.55, width * 0.94, 0.3), paint, (-0.66, 0, 0.86)),
        block((0.06, width * 0.6, 0.26), Skin(Texture.GRILLE), (-1.1, 0, 0.5)),
        block((1.15, width * 0.86, 0.34), dark, (0.15, 0, 0.2)),  # chassis and step
        block((0.42, width * 0.9, 0.52), paint, (0.62, 0, 0.3)),  # dashboard
        block((0.55, width * 0.8, 0.3), paint, (-0.2, 0, 0.5)),
        block((0.46, 0.5, 0.12), _BLACK, (-0.18, 0, 0.8)),  # seat
        block((0.12, 0.48, 0.5), _BLACK, (-0.42, 0, 0.88)),
        bar((0.6, 0, 0.82), (0.4, 0, 1.1), 0.03, _BLACK),
        tube(0.17, 0.17, 0.03, _BLACK).moved((0.36, 0, 1.1)),
    ]
    for side in (-1, 1):
        y = side * width * 0.43
        parts += [
            bar((-0.55, y, 1.1), (-0.42, y, roof), 0.045, dark),
            bar((0.7, y, 0.75), (0.38, y, roof), 0.045, dark),
            block((0.95, 0.08, 0.07), dark, (0.0, y, roof)),
            block((0.08, 0.16, mast_height - 0.1), _BLACK, (0.98, side * 0.3, 0.1)),  # mast rails
            block((0.06, 0.09, mast_height - 0.25), _STEEL, (1.03, side * 0.22, 0.15)),
            block((1.1, 0.12, 0.045), _STEEL, (1.65, side * 0.24, fork_height)),  # forks
            block((0.05, 0.12, 0.55), _STEEL, (1.12, side * 0.24, fork_height)),
            _wheel(0.32, 0.24).moved((0.68, side * (width / 2 - 0.06), 0.32)),
            _wheel(0.26, 0.2).moved((-0.75, side * (width / 2 - 0.05), 0.26)),
            ball((0.05, 0.07, 0.07), Skin(Texture.PLAIN, (1, 1, 0.9), glow=0.9), (0.84, y, 1.0)),
            block((0.03, 0.09, 0.16), Skin(Texture.PLAIN, (0.9, 0.1, 0.08), glow=0.5), (-1.1, y, 0.8)),
        ]
    parts += [block((0.06, width * 0.86, 0.05), dark, (x, 0, roof + 0.02)) for x in np.linspace(-0.42, 0.42, 6)]
    parts += [block((0.06, 0.7, 0.09), _BLACK, (0.98, 0, z)) for z in (0.25, mast_height * 0.55, mast_height - 0.12)]
    parts += [block((0.05, width * 0.78, 0.08), _BLACK, (1.1, 0, fork_height + z)) for z in (0.06, 0.42)]
    parts += [bar((1.0, y, 0.3), (1.0, y, mast_height - 0.2), 0.02, _STEEL) for y in (-0.08, 0.08)]
    if rng.random() < 0.6:  # load backrest
        parts += [
            bar((1.1, y, fork_height + 0.5), (1.1, y, fork_height + 1.1), 0.02, dark) for y in (-0.4, -0.15, 0.15, 0.4)
        ]
        parts += [block((0.04, 0.86, 0.05), dark, (1.1, 0, fork_height + 1.08))]
    if rng.random() < 0.6:
        beacon = Skin(Texture.PLAIN, (1.0, 0.55, 0.1), glow=1.0)
        parts += [tube(0.05, 0.05, 0.12, beacon).moved((-0.35, 0.2, roof + 0.06))]
    parts += [block((0.02, width, 0.1), Skin(Texture.HAZARD), (-1.09, 0, 0.3), tile=0.3)]
    return merged(parts)


def agv(rng: np.random.Generator) -> tuple[Mesh, float]:
    """A transport robot, and the height of its deck; 0.7 to 1.5 m long, 0.22 to 0.45 m high without its fittings."""
    length, width, height = rng.uniform((0.75, 0.5, 0.22), (1.5, 0.9, 0.42))
    colour = _shade_of(rng, _ROBOT_COLOURS)
    side = Skin(Texture.ROBOT_SIDE, colour, gloss=0.3)
    deck = Skin(Texture.ROBOT_TOP, tuple(0.4 + 0.5 * v for v in colour), gloss=0.3)  # type: ignore[arg-type]
    strip = Skin(Texture.PLAIN, _shade_of(rng, ((0.1, 0.9, 0.4), (0.1, 0.5, 1.0), (1.0, 0.7, 0.1))), glow=0.9)
    clearance = 0.04
    parts = [
        block((length, width * 0.86, height - clearance), side, (0, 0, clearance), top=deck),
        block((length * 0.88, width, height - clearance - 0.02), side, (0, 0, clearance), top=deck),
        block((length * 1.005, width * 0.7, 0.03), strip, (0, 0, height * 0.72)),
        block((length * 0.7, width * 1.008, 0.025), strip, (0, 0, height * 0.72)),
        block((0.08, width * 0.9, 0.09), _BLACK, (length / 2, 0, clearance + 0.02)),
        block((0.08, width * 0.9, 0.09), _BLACK, (-length / 2, 0, clearance + 0.02)),
    ]
    for x, y in ((0.42, 0.4), (-0.42, -0.4)):
        parts.append(tube(0.05, 0.05, 0.07, _BLACK).moved((x * length, y * width, height)))
    fitting = rng.random()
    top = height
    if fitting < 0.25:  # roller deck
        parts += [
            bar((x, -width * 0.38, height + 0.05), (x, width * 0.38, height + 0.05), 0.03, _STEEL)
            for x in np.linspace(-0.35, 0.35, 6) * length
        ]
        parts += [block((length * 0.85, 0.04, 0.1), side, (0, s * width * 0.42, height)) for s in (-1, 1)]
        top = height + 0.09
    elif fitting < 0.5:  # a post with a display and a stop button
        parts += [
            block((0.06, 0.08, 0.55), _STEEL, (-length * 0.4, 0, height)),
            block((0.05, 0.26, 0.2), _BLACK, (-length * 0.4, 0, height + 0.5)),
            ball((0.03, 0.03, 0.03), Skin(Texture.PLAIN, (0.9, 0.1, 0.1)), (-length * 0.4, 0, height + 0.74)),
        ]
    elif fitting < 0.7:  # lifting plate
        parts.append(block((length * 0.6, width * 0.7, 0.05), _STEEL, (0, 0, height)))
        top = height + 0.05
    return merged(parts), top


def _wheel(radius: float, width: float) -> Mesh:
    """A wheel that rolls along x."""
    lie = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    hub = Skin(Texture.METAL, (0.7, 0.7, 0.7))
    return merged(
        [
            tube(radius, radius, width, _RUBBER, sides=14).moved((0, 0, -width / 2)),
            tube(radius * 0.5, radius * 0.5, width + 0.02, hub, sides=10).moved((0, 0, -width / 2 - 0.01)),
        ]
    ).moved((0, 0, 0), lie)


def _shade_of(rng: np.random.Generator, options: tuple[Colour, ...]) -> Colour:
    red, green, blue = np.clip(np.array(options[int(rng.integers(len(options)))]) * rng.uniform(0.85, 1.08), 0, 1)
    return float(red), float(green), float(blue)
